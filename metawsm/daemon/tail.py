"""The newest events for live readers, handed out when the projections have applied them.

Each is read once from the log, unless it was appended just now and is known.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from metawsm.domain.values import value_class

RING = 10_000  # events kept in memory
RING_CHARS = 32 * 1024 * 1024  # of their texts
MOST_KNOWN = 256  # appended events that are not read back; more at once are read in portions


@value_class
class TailEvent:
    """One event as live readers need it: what filters look at, and its wire form."""

    sequence: int
    ticket: str
    run_id: str | None
    thread_id: str | None
    text: str


class Listener(Protocol):
    """Somebody who hears of new events; must not block or raise."""

    def __call__(self, events: Sequence[TailEvent]) -> None:
        """Take the events, oldest first."""
        ...


class Tail:
    """A ring of the newest events and the listeners who hear of each batch.

    `load(after, upto)` reads the log: the first portion of the events there, at least one if there is any.
    """

    def __init__(self, load: Callable[[int, int], list[TailEvent]], head: int) -> None:
        self._load = load
        self._ring: deque[TailEvent] = deque()
        self._chars = 0
        self._listeners: list[Listener] = []
        self._known: dict[int, TailEvent] = {}
        self.head = head

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of every event after `head`; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, event: TailEvent) -> None:
        """An event has been committed; it is handed out when the projections have reached it."""
        if self._listeners and len(self._known) < MOST_KNOWN:
            self._known[event.sequence] = event

    def advance(self, sequence: int) -> None:
        """The projections have reached `sequence`: hand out a portion of what is new. `head` says how far that was."""
        if sequence <= self.head:
            return
        if not self._listeners:
            self._ring.clear()  # nobody listens; a hole would not be seen later
            self._known.clear()
            self._chars = 0
            self.head = sequence
            return
        events = self._next(sequence)
        self._keep(events)
        for listener in list(self._listeners):
            listener(events)
        self.head = events[-1].sequence if events else sequence

    def _next(self, upto: int) -> Sequence[TailEvent]:
        """What was told, if that is all there is: only after a restore are there sequences that nobody has."""
        wanted = range(self.head + 1, upto + 1)
        known, self._known = self._known, {}
        if all(sequence in known for sequence in wanted):
            self._known = {sequence: event for sequence, event in known.items() if sequence > upto}
            return [known[sequence] for sequence in wanted]
        return self._load(self.head, upto)

    def _keep(self, events: Sequence[TailEvent]) -> None:
        self._ring.extend(events)
        self._chars += sum(len(event.text) for event in events)
        while len(self._ring) > RING or self._chars > RING_CHARS:
            self._chars -= len(self._ring.popleft().text)

    def since(self, sequence: int) -> list[TailEvent] | None:
        """Every event after `sequence` up to the head, or None when the ring does not reach back that far."""
        if sequence >= self.head:
            return []
        if not self._ring or self._ring[0].sequence > sequence + 1:
            return None
        return [event for event in self._ring if event.sequence > sequence]
