"""Requests that wait for their command: until it is handled and the projections have caught up (read your writes)."""

from __future__ import annotations

import heapq
import itertools
from typing import Any

from attrs import define, field
from gevent.event import AsyncResult

from metawsm.bus.dispatch import Outcome

QUEUED = Outcome("queued")


@define(eq=False)
class Ticket:
    """One waiting request. `accepted` is set once the command is durable; `command_id` is then its final id."""

    command_id: str
    accepted: bool = False
    result: AsyncResult = field(factory=AsyncResult)

    def wait(self, seconds: float) -> Outcome | None:
        """The outcome, None when the time is over after acceptance; raises what made the acceptance fail.

        Before acceptance there is no giving up: the writer itself answers within its own bounds.
        """
        if self.result.wait(timeout=seconds) is None and not self.result.ready():
            if self.accepted:
                return None
            self.result.wait()
        outcome: Outcome = self.result.get()
        return outcome


class Waiting:
    """All open tickets, by command; those whose command is applied, by the sequence they wait for."""

    def __init__(self) -> None:
        self._tickets: dict[str, list[Ticket]] = {}
        self._heap: list[tuple[int, int, Ticket, Outcome]] = []
        self._order = itertools.count()
        self.projected = 0

    def follow(self, ticket: Ticket) -> None:
        """Let the ticket hear of its command's outcome."""
        self._tickets.setdefault(ticket.command_id, []).append(ticket)

    def forget(self, ticket: Ticket) -> None:
        """The request has been answered otherwise."""
        tickets = self._tickets.get(ticket.command_id, [])
        if ticket in tickets:
            tickets.remove(ticket)
        if not tickets:
            self._tickets.pop(ticket.command_id, None)

    def settle(self, command_id: str, outcome: Outcome) -> None:
        """A command has its outcome; its requests go on once the projections have reached its last event."""
        for ticket in self._tickets.pop(command_id, ()):
            if outcome.last_sequence <= self.projected:
                ticket.result.set(outcome)
            else:
                heapq.heappush(self._heap, (outcome.last_sequence, next(self._order), ticket, outcome))

    def projected_to(self, sequence: int) -> None:
        """The projections have applied every event up to `sequence`."""
        self.projected = sequence
        while self._heap and self._heap[0][0] <= sequence:
            _, _, ticket, outcome = heapq.heappop(self._heap)
            ticket.result.set(outcome)

    def release_all(self, outcome: Outcome) -> None:
        """Answer everybody who waits for an outcome: the transport is away, their commands are kept."""
        for tickets in list(self._tickets.values()):
            for ticket in [t for t in tickets if t.accepted]:
                ticket.result.set(outcome)
                tickets.remove(ticket)
        self._tickets = {command: tickets for command, tickets in self._tickets.items() if tickets}

    def facts(self) -> dict[str, Any]:
        """How many wait, for health."""
        return {"waiting_requests": sum(map(len, self._tickets.values())) + len(self._heap)}
