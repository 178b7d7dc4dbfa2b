"""How a command row becomes an effect: lane order, handler, outcome; all inside one writer job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import frozen

from metawsm.bus import fields
from metawsm.bus.catalogue import Catalogue
from metawsm.bus.ports import Db
from metawsm.bus.specs import CommandSpec
from metawsm.bus.work import Queued, Store, Tools, Work
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import InvalidFields, NotAllowed, Rejected
from metawsm.domain.states import RESPONDERS
from metawsm.messages.codec import envelope_from, read_command, to_json


@frozen
class CommandRow:
    """A command as `forum_outbox` holds it."""

    id: int
    message_id: str
    topic: str
    key: str
    text: str
    status: str
    outcome: str | None = None
    outcome_json: str | None = None
    attempt_count: int = 0
    last_error: str | None = None
    created_at: str = ""


@frozen
class Outcome:
    """What became of a command: `applied` with the answer's status and body, or `rejected` with code and reason.

    `last_sequence` is the newest event the command made or relied on; readers that have it have read this write.
    """

    kind: str
    status: int = 0
    body: Mapping[str, Any] | None = None
    last_sequence: int = 0
    code: str = ""
    message: str = ""
    faults: Mapping[str, Any] | None = None
    details: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """The stored form: members at their defaults are left out."""
        members = {
            "kind": self.kind,
            "status": self.status,
            "body": self.body,
            "last_sequence": self.last_sequence,
            "code": self.code,
            "message": self.message,
            "faults": self.faults,
            "details": self.details,
        }
        return to_json({name: value for name, value in members.items() if value})

    @staticmethod
    def from_json(text: str) -> Outcome:
        """The outcome of a stored row."""
        return Outcome(**json.loads(text))


@frozen
class Handled:
    """One row executed: its outcome, and the outbox rows of its events."""

    row: CommandRow
    outcome: Outcome
    queued: tuple[Queued, ...]


class HandlerBug(Exception):
    """A handler failed in a way that is nobody's wish. The whole transaction must be undone."""

    def __init__(self, row: CommandRow, handler: str, cause: Exception) -> None:
        super().__init__(f"{handler} failed on {row.message_id}: {cause!r}")
        self.row = row
        self.handler = handler
        self.cause = cause


class Rows(Protocol):
    """The command rows, as the core needs them."""

    def find(self, db: Db, message_id: str) -> CommandRow | None:
        """The command of this identity, or None."""
        ...

    def insert(self, db: Db, message_id: str, topic: str, key: str, text: str, now: str) -> int:
        """Store an accepted command; return its place in the order."""
        ...

    def head(self, db: Db, key: str, upto: int) -> CommandRow | None:
        """The thread's oldest undone command up to a row."""
        ...

    def finish(self, db: Db, row_id: int, outcome: Outcome, text: str, now: str) -> bool:
        """Mark a command done; False if it was already."""
        ...

    def fail(self, db: Db, row_id: int, error: str, now: str) -> None:
        """Mark a command as dead-lettered."""
        ...


@frozen
class Dispatcher:
    """Executes command rows. `trusted` lets external messages act as human or operator."""

    catalogue: Catalogue
    rows: Rows
    store: Store
    tools: Tools
    trusted: bool = False

    def execute(self, db: Db, row: CommandRow) -> Handled:
        """Handle one undone row. Raises HandlerBug, or the driver's Unavailable; rejections are outcomes."""
        now = self.tools.now()
        spec: CommandSpec | None = None
        try:
            members, body = read_command(row.text)
            envelope = envelope_from(members)
            spec = self.catalogue.by_event_type(envelope.event_type)
            work = self._work(db, spec, envelope, body, now)
            outcome, queued = self._decide(spec, work, envelope, body)
        except Exception as error:
            raise HandlerBug(row, spec.name if spec else "decode", error) from error
        self.rows.finish(db, row.id, outcome, outcome.to_json(), now)
        return Handled(row, outcome, queued)

    def _work(self, db: Db, spec: CommandSpec, envelope: Envelope, body: Mapping[str, Any], now: str) -> Work:
        expected = body.get("expected_sequence") if spec.loads else None
        return Work(db, self.store, self.tools, envelope, expected, now)

    def _decide(
        self, spec: CommandSpec, work: Work, envelope: Envelope, body: Mapping[str, Any]
    ) -> tuple[Outcome, tuple[Queued, ...]]:
        try:
            self._check_actor(envelope)
            message = read_message(spec, body, envelope.thread_id)[0]
            answer = spec.handle(work, message)
        except Rejected as error:
            if work.dirty:  # a handler decides before it writes; half a command must never stay
                raise RuntimeError(f"{spec.name} was rejected after it had written") from error
            return rejection(error), ()
        last = max((q.sequence or 0 for q in work.queued), default=_sequence_of(answer))
        return Outcome("applied", spec.status, answer, last), tuple(work.queued)

    def _check_actor(self, envelope: Envelope) -> None:
        if envelope.actor_known_by == "redis" and envelope.actor_type in RESPONDERS and not self.trusted:
            raise NotAllowed(
                f"actor_type {envelope.actor_type} is not accepted from Redis;"
                " set forum.redis.trusted_publishers to allow it"
            )


def rejection(error: Rejected) -> Outcome:
    """The outcome of a command that the domain refused."""
    return Outcome("rejected", code=error.code, message=error.message, faults=error.fields, details=error.details)


def read_message(spec: CommandSpec, body: Mapping[str, Any], thread_id: str | None) -> list[Any]:
    """Message, attribution and expectation of a body. Raises InvalidFields naming every fault."""
    path = {name: thread_id or "" for name, rule in fields.rules_of(spec.message).items() if rule.where == "path"}
    wrong = [name for name, value in path.items() if body.get(name, value) != value]
    if wrong:
        raise InvalidFields(
            f"faulty field(s): {', '.join(wrong)}",
            fields={name: ["is given by the path, and differs"] for name in wrong},
        )
    parts = fields.split({**body, **path}, *spec.parts)
    if spec.check is not None:
        spec.check(parts[0])
    return parts


def _sequence_of(answer: Mapping[str, Any]) -> int:
    thread = answer.get("thread")
    return int(thread["last_event_sequence"]) if thread else 0
