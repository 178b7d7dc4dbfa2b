"""From a checked command to its answer: accept durably, then wait for the outcome and the projections."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import frozen

from metawsm.bus import ports
from metawsm.bus.dispatch import Handled, Outcome
from metawsm.bus.ports import Writer
from metawsm.bus.submit import Accepted, Prepared, Submitter
from metawsm.bus.work import Queued
from metawsm.daemon.waiting import QUEUED, Ticket, Waiting
from metawsm.domain.errors import Overloaded


@frozen
class Reply:
    """A command's id, and its outcome if there is one yet."""

    command_id: str
    outcome: Outcome | None


class CommandPath:
    """Accepts commands and answers them. `publish` hands rows to the relay, `connected` says whether Redis is there."""

    def __init__(
        self,
        writer: Writer,
        submitter: Submitter,
        waiting: Waiting,
        publish: Callable[[list[Queued]], None],
        connected: Callable[[], bool],
        undone_limit: int,
    ) -> None:
        self._writer = writer
        self._waiting = waiting
        self._publish = publish
        self._connected = connected
        self._undone_limit = undone_limit
        self.submitter = submitter
        self.undone = 0

    def send(self, prepared: Prepared, wait: float) -> Reply:
        """Accept the command and wait up to `wait` seconds for its outcome.

        Raises Overloaded or Unavailable when nothing was stored, KeyReused, OutcomeUnknown.
        """
        if self.undone >= self._undone_limit:
            raise Overloaded(
                f"{self.undone} commands are waiting to be done, the limit is {self._undone_limit}; nothing was stored"
            )
        ticket = Ticket(prepared.command_id)
        self._writer.enqueue(partial(self.submitter.accept, prepared=prepared), partial(self._accepted, ticket))
        outcome = ticket.wait(wait)
        if outcome is None:
            self._waiting.forget(ticket)
        return Reply(ticket.command_id, None if outcome is QUEUED else outcome)

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
            ticket.result.set_exception(result.error)
            return
        accepted: Accepted = result.value
        ticket.accepted = True
        ticket.command_id = accepted.command_id
        if accepted.queued is not None:
            self.undone += 1
            self._publish([accepted.queued])
        elif accepted.outcome is not None or accepted.failed is not None:
            ticket.result.set(accepted.outcome or Outcome("failed", code="internal", message=str(accepted.failed)))
            return
        if self._connected():
            self._waiting.follow(ticket)
        else:
            ticket.result.set(QUEUED)
