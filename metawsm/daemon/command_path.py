"""From a checked command to its answer: accept durably, then wait for the outcome and the projections."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from metawsm.bus import ports
from metawsm.bus.dispatch import Handled, Outcome
from metawsm.bus.ports import Writer
from metawsm.bus.submit import Accepted, Prepared, Submitter
from metawsm.bus.work import Queued
from metawsm.daemon.waiting import QUEUED, Ticket, Waiting
from metawsm.domain.errors import OutcomeUnknown, Overloaded
from metawsm.domain.values import value_class


@value_class
class Reply:
    """A command's id, its outcome if it can be told yet, and else its status."""

    command_id: str
    outcome: Outcome | None
    status: str


class CommandPath:
    """Accepts commands and answers them.

    `publish` hands rows to the relay, `connected` says whether Redis is there, `on_doubt` is called when a commit's
    fate is not known. `undone` is how many accepted commands wait to be done; somebody recounts it now and then, since
    commands from Redis and those of an earlier process come without notice.
    """

    def __init__(
        self,
        writer: Writer,
        submitter: Submitter,
        waiting: Waiting,
        publish: Callable[[list[Queued]], None],
        connected: Callable[[], bool],
        on_doubt: Callable[[], None],
        undone_limit: int,
    ) -> None:
        self._writer = writer
        self._waiting = waiting
        self._publish = publish
        self._connected = connected
        self._on_doubt = on_doubt
        self._undone_limit = undone_limit
        self.submitter = submitter
        self.undone = 0

    def send(self, prepared: Prepared, wait: float) -> Reply:
        """Accept the command and wait up to `wait` seconds for its outcome.

        Raises Overloaded or Unavailable when nothing was stored, KeyReused, OutcomeUnknown.
        """
        full = self._full()
        if full and prepared.key is None:
            raise full
        ticket = Ticket(prepared.command_id, time.monotonic() + wait)
        accept = partial(self.submitter.accept, prepared=prepared, full=full)  # a retry of what is stored needs no room
        self._writer.enqueue(accept, partial(self._accepted, ticket))
        outcome = ticket.wait()
        return Reply(ticket.command_id, None if outcome is QUEUED else outcome, ticket.status)

    def check_room(self) -> None:
        """Raises Overloaded when as many commands as the policy allows wait to be done."""
        if full := self._full():
            raise full

    def _full(self) -> Overloaded | None:
        if self.undone < self._undone_limit:
            return None
        return Overloaded(
            f"{self.undone} commands are waiting to be done, the limit is {self._undone_limit}; nothing was stored"
        )

    def put_back(self, queued: Queued, wait: float) -> Ticket:
        """A command has taken a new position: publish it. The ticket hears its outcome for up to `wait` seconds.

        Call it right after the commit, before anything else can handle the command.
        """
        self.undone += 1
        self.submitter.fresh.take(queued.message_id)  # it may still be known in its old position
        ticket = Ticket(queued.message_id, time.monotonic() + wait)
        if wait and self._connected():
            self._waiting.follow(ticket)
        else:
            ticket.tell(QUEUED)
        self._publish([queued])
        return ticket

    def sent(self, queued: Sequence[Queued]) -> None:
        """Commands that the program itself has stored: publish them. Call it right after the commit."""
        self.undone += len(queued)
        self._publish(list(queued))

    def handled(self, handled: Handled) -> None:
        """A command has been done."""
        self.undone -= 1
        self._waiting.settle(handled.row.message_id, handled.outcome)
        self._publish(list(handled.queued))

    def failed(self, command_id: str, outcome: Outcome) -> None:
        """A command went to the dead letters."""
        self.undone -= 1
        self._waiting.settle(command_id, outcome)

    def _accepted(self, ticket: Ticket, result: ports.Outcome) -> None:
        if result.error is not None:
            self._refused(ticket, result.error)
            return
        accepted: Accepted = result.value
        ticket.command_id = accepted.command_id
        if accepted.queued is not None:
            self.undone += 1
            self._publish([accepted.queued])
        elif accepted.outcome is not None or accepted.failed is not None:
            self._waiting.follow(ticket)
            failure = Outcome("failed", code="internal", message=str(accepted.failed))
            self._waiting.settle(ticket.command_id, accepted.outcome or failure)
            return
        if self._connected() and ticket.until > time.monotonic():
            self._waiting.follow(ticket)
        else:
            ticket.tell(QUEUED)

    def _refused(self, ticket: Ticket, error: Exception) -> None:
        if isinstance(error, OutcomeUnknown):
            error.details["command_id"] = ticket.command_id
            self._on_doubt()
        ticket.tell(error)
