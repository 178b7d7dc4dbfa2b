"""The newest events for live readers: read once from the log when the projections have applied them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import frozen

RING = 10_000  # events kept in memory
RING_CHARS = 32 * 1024 * 1024  # of their texts


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
    """A ring of the newest events and the listeners who hear of each batch.

    `load(after, upto)` reads the log: the first portion of the events there, at least one if there is any.
    """

    def __init__(self, load: Callable[[int, int], list[TailEvent]], head: int) -> None:
        self._load = load
        self._ring: deque[TailEvent] = deque()
        self._chars = 0
        self._listeners: list[Listener] = []
        self.head = head

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Hear of every event after `head`; returns what ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def advance(self, sequence: int) -> None:
        """The projections have reached `sequence`: hand out a portion of what is new. `head` says how far that was."""
        if sequence <= self.head:
            return
        if not self._listeners:
            self._ring.clear()  # nobody listens; a hole would not be seen later
            self._chars = 0
            self.head = sequence
            return
        events = self._load(self.head, sequence)
        self._keep(events)
        for listener in list(self._listeners):
            listener(events)
        self.head = events[-1].sequence if events else sequence

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
