"""The newest events for live readers: read once from the log when the projections have applied them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

RING = 10_000  # events kept in memory


@frozen
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
    """A ring of the newest events and the listeners who hear of each batch. `load(after, upto)` reads the log."""

    def __init__(self, load: Callable[[int, int], list[TailEvent]], head: int) -> None:
        self._load = load
        self._ring: deque[TailEvent] = deque(maxlen=RING)
        self._listeners: list[Listener] = []
        self.head = head

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of every event after `head`; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def advance(self, sequence: int) -> None:
        """The projections have reached `sequence`: hand out what is new."""
        if sequence <= self.head:
            return
        if self._listeners:
            events = self._load(self.head, sequence)
            self._ring.extend(events)
            for listener in list(self._listeners):
                listener(events)
        else:
            self._ring.clear()  # nobody listens; a hole would not be seen later
        self.head = sequence

    def since(self, sequence: int) -> list[TailEvent] | None:
        """Every event after `sequence` up to the head, or None when the ring does not reach back that far."""
        if sequence >= self.head:
            return []
        if not self._ring or self._ring[0].sequence > sequence + 1:
            return None
        return [event for event in self._ring if event.sequence > sequence]
