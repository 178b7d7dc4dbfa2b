"""How a command row becomes an effect: lane order, handler, outcome; all inside one writer job."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from attrs import field, frozen

from metawsm.bus import fields
from metawsm.bus.catalogue import Catalogue
from metawsm.bus.fresh import Decoded, Fresh, Said
from metawsm.bus.ports import Db
from metawsm.bus.specs import CommandSpec
from metawsm.bus.work import Queued, Store, Tools, Work
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import InvalidFields, NotAllowed, Rejected
from metawsm.domain.states import RESPONDERS
from metawsm.domain.values import value_class
from metawsm.messages.codec import envelope_from, read_command
from metawsm.messages.json_text import to_json


@value_class
class CommandRow:
    """A command as `forum_outbox` holds it. `fresh`: this very transaction has stored it."""

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
    fresh: bool = False


@value_class
class Outcome:
    """What became of a command: `applied` with the answer's status and body, or `rejected` with code and reason.

    `body_json` may hold the body's JSON, which is needed twice: for the row and for the answer. `last_sequence` is the
    newest event the command made or relied on; readers that have it have read this write.
    """

    kind: str
    status: int = 0
    body: Mapping[str, Any] | None = None
    last_sequence: int = 0
    code: str = ""
    message: str = ""
    faults: Mapping[str, Any] | None = None
    details: Mapping[str, Any] | None = None
    body_json: str | None = None

    def to_json(self) -> str:
        """The stored form. Of an outcome without a body, members at their defaults are left out."""
        if self.body:  # applied: nothing else needs an encoder
            body = self.body_json or to_json(self.body)
            sequence = self.last_sequence
            return f'{{"kind":"{self.kind}","status":{self.status},"last_sequence":{sequence},"body":{body}}}'
        members = {
            "kind": self.kind,
            "status": self.status,
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


@value_class
class Handled:
    """One row executed: its outcome, the outbox rows of its events, and whether it added jobs."""

    row: CommandRow
    outcome: Outcome
    queued: tuple[Queued, ...]
    jobs: bool = False


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

    def is_taken(self, db: Db, message_id: str) -> bool:
        """Whether any row, a command's or an event's, has this identity."""
        ...

    def insert(self, db: Db, message_id: str, topic: str, key: str, text: str, now: str) -> int:
        """Store an accepted command; return its place in the order."""
        ...

    def first_undone(self, db: Db, key: str, upto: int) -> int | None:
        """The row id of the thread's oldest undone command, up to a row."""
        ...

    def read(self, db: Db, row_id: int) -> CommandRow:
        """The command of a row that is there."""
        ...

    def finish(self, db: Db, row_id: int, outcome: Outcome, text: str, now: str) -> bool:
        """Mark a command done; False if it was already."""
        ...

    def fail(self, db: Db, row_id: int, error: str, now: str) -> None:
        """Mark a command as dead-lettered."""
        ...


@frozen
class Dispatcher:
    """Executes command rows. `trusted` lets external messages act as human or operator; `fresh` spares decoding."""

    catalogue: Catalogue
    rows: Rows
    store: Store
    tools: Tools
    trusted: bool = False
    fresh: Fresh = field(factory=Fresh)

    def execute(self, db: Db, row: CommandRow) -> Handled:
        """Handle one undone row. Raises HandlerBug, or the driver's Unavailable; rejections are outcomes."""
        now = self.tools.now()
        spec: CommandSpec | None = None
        try:
            said = self.fresh.take(row.message_id) or read_command(row.text)
            head = said.envelope if isinstance(said, Decoded) else envelope_from(said[0])
            spec = self.catalogue.by_event_type(head.event_type)
            outcome, queued, jobs = self._decide(db, spec, head, said, now)
        except Exception as error:
            raise HandlerBug(row, spec.name if spec else "decode", error) from error
        self.rows.finish(db, row.id, outcome, outcome.to_json(), now)
        return Handled(row, outcome, queued, jobs)

    def _decide(
        self, db: Db, spec: CommandSpec, head: Envelope, said: Said, now: str
    ) -> tuple[Outcome, tuple[Queued, ...], bool]:
        work = Work(db, self.store, self.tools, head, None, now)
        try:
            self._check_actor(head)
            decoded = said if isinstance(said, Decoded) else _decoded(spec, head, said[1])
            work.expected_sequence = decoded.expected_sequence
            answer = spec.handle(work, decoded.message)
        except Rejected as error:
            if work.dirty:  # a handler decides before it writes; half a command must never stay
                raise RuntimeError(f"{spec.name} was rejected after it had written") from error
            return rejection(error), (), False
        made = [row.sequence for row in work.queued if row.sequence is not None]
        last = max(made) if made else _sequence_of(answer)
        outcome = Outcome("applied", spec.status, answer, last, body_json=to_json(answer))
        return outcome, tuple(work.queued), work.jobs

    def _check_actor(self, envelope: Envelope) -> None:
        if envelope.actor_known_by == "redis" and envelope.actor_type in RESPONDERS and not self.trusted:
            raise NotAllowed(
                f"actor_type {envelope.actor_type} is not accepted from Redis;"
                " set forum.redis.trusted_publishers to allow it"
            )


def rejection(error: Rejected) -> Outcome:
    """The outcome of a command that the domain refused."""
    return Outcome("rejected", code=error.code, message=error.message, faults=error.fields, details=error.details)


def read_message(spec: CommandSpec, body: Mapping[str, Any], subject: str | None, named_by: str = "path") -> list[Any]:
    """Message, attribution and expectation of a body; `subject` is the id in the route, or wherever `named_by` says.

    Raises InvalidFields naming every fault.
    """
    path = dict.fromkeys(path_fields(spec), subject or None)
    wrong = [name for name, value in path.items() if value and body.get(name, value) != value]
    if wrong:
        raise InvalidFields(
            f"faulty field(s): {', '.join(wrong)}",
            fields={name: [f"is given by the {named_by}, and differs"] for name in wrong},
        )
    parts = fields.split({**body, **path} if path else body, *spec.parts)
    if spec.check is not None:
        spec.check(parts[0])
    return parts


def _decoded(spec: CommandSpec, head: Envelope, body: Mapping[str, Any]) -> Decoded:
    parts = read_message(spec, body, getattr(head, spec.subject))
    return Decoded(head, parts[0], expected_sequence(parts))


def expected_sequence(parts: list[Any]) -> int | None:
    """What the sender of a read message believes about its thread."""
    return parts[2].expected_sequence if len(parts) > 2 else None


@cache
def path_fields(spec: CommandSpec) -> tuple[str, ...]:
    """The fields of a command that stand in its route."""
    return tuple(name for name, rule in fields.rules_of(spec.message).items() if rule.where == "path")


def _sequence_of(answer: Mapping[str, Any]) -> int:
    thread = answer.get("thread")
    return int(thread["last_event_sequence"]) if thread else 0
