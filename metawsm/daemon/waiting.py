"""Requests that wait for their command: until it is handled and the projections have caught up (read your writes)."""

from __future__ import annotations

import heapq
import itertools
import time
from typing import Any

import gevent
from attrs import define, field
from gevent.hub import Waiter

from metawsm.bus.dispatch import Outcome

QUEUED = Outcome("queued")
TICK = 0.1  # seconds between looks at who has waited long enough


@define(eq=False)
class Ticket:
    """One waiting request, until a moment of the monotonic clock. `command_id` is final once the command is durable.

    `status` is what is known of the command: `queued`, or `applied` while the projections have to catch up.
    """

    command_id: str
    until: float
    status: str = "queued"
    _waiter: Waiter = field(factory=Waiter, init=False)

    def tell(self, told: Outcome | Exception) -> None:
        """Answer whoever waits, in the loop's next turn; once."""
        self._waiter.hub.loop.run_callback(self._waiter.switch, told)

    def wait(self) -> Outcome:
        """The outcome, QUEUED when the time is over first; raises what made the acceptance fail. Once.

        Before acceptance there is no giving up: the writer itself answers within its own bounds.
        """
        told: Outcome | Exception = self._waiter.get()
        if isinstance(told, Outcome):
            return told
        self._waiter.clear()
        try:
            raise told
        finally:
            del told  # else this frame and the error hold each other, and the request's body, until the collector comes


class Waiting:
    """All open tickets, by command; those whose command is applied, by the sequence they wait for."""

    def __init__(self) -> None:
        self._tickets: dict[str, list[Ticket]] = {}
        self._open: set[Ticket] = set()
        self._heap: list[tuple[int, int, Ticket, Outcome]] = []
        self._order = itertools.count()
        # One timer for all: one per request would cost more than the look at all of them.
        self._timer = gevent.get_hub().loop.timer(TICK, TICK)
        self.projected = 0

    def follow(self, ticket: Ticket) -> None:
        """Let the ticket hear of its command's outcome, while its time lasts."""
        self._tickets.setdefault(ticket.command_id, []).append(ticket)
        self._open.add(ticket)
        if not self._timer.active:
            self._timer.start(self._expire)

    def _expire(self) -> None:
        now = time.monotonic()
        for ticket in [t for t in self._open if t.until <= now]:
            self._answer(ticket, QUEUED)
            tickets = self._tickets.get(ticket.command_id, [])
            if ticket in tickets:
                tickets.remove(ticket)
            if not tickets:
                self._tickets.pop(ticket.command_id, None)
        if not self._open:
            self._timer.stop()

    def _answer(self, ticket: Ticket, outcome: Outcome) -> None:
        if ticket in self._open:  # else its time was over
            self._open.discard(ticket)
            ticket.tell(outcome)

    def settle(self, command_id: str, outcome: Outcome) -> None:
        """A command has its outcome; its requests go on once the projections have reached its last event."""
        for ticket in self._tickets.pop(command_id, ()):
            if outcome.last_sequence <= self.projected:
                self._answer(ticket, outcome)
            else:
                ticket.status = outcome.kind
                heapq.heappush(self._heap, (outcome.last_sequence, next(self._order), ticket, outcome))

    def projected_to(self, sequence: int) -> None:
        """The projections have applied every event up to `sequence`."""
        self.projected = sequence
        while self._heap and self._heap[0][0] <= sequence:
            _, _, ticket, outcome = heapq.heappop(self._heap)
            self._answer(ticket, outcome)

    def release_all(self, outcome: Outcome) -> None:
        """Answer everybody who waits for an outcome: the transport is away, their commands are kept."""
        for ticket in itertools.chain.from_iterable(self._tickets.values()):
            self._answer(ticket, outcome)
        self._tickets.clear()

    def facts(self) -> dict[str, Any]:
        """How many wait, for health."""
        return {"waiting_requests": len(self._open)}
