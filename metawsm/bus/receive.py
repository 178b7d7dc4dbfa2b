"""What a delivery from Redis means: a row of ours, an external command, an old copy, or a dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
from attrs import field, frozen

from metawsm.bus.about import about
from metawsm.bus.catalogue import Catalogue
from metawsm.bus.dispatch import CommandRow, Rows, path_fields, read_message
from metawsm.bus.fields import rules_of
from metawsm.bus.fresh import Fresh
from metawsm.bus.intake import ControlThreads, Intake
from metawsm.bus.internal import is_reserved
from metawsm.bus.ports import Db, Delivery, Message
from metawsm.bus.specs import CommandSpec
from metawsm.bus.work import Store, Tools
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import InvalidFields, Undecodable
from metawsm.domain.names import text_fault
from metawsm.domain.states import OUTSIDE_ACTORS
from metawsm.messages.codec import command_json, read_command
from metawsm.messages.topics import Topics

_ATTRIBUTION = ("actor_type", "actor_name", "correlation_id", "causation_id")
_LONGEST_ID = 256  # characters
_FIELDS_KEPT = 8 * 1024  # bytes of the fields of an entry that is no message


@frozen
class DeadLetter:
    """A message that nobody can handle, with all that is known about it. Times are RFC 3339.

    `command_id` and `thread_id` are set where it is known which command it is: one that fails again opens its letter
    again.
    """

    reason: str
    handler: str
    group: str
    topic: str
    entry_id: str
    failed_at: str
    attempts: int = 1
    error: str | None = None
    traceback: str | None = None
    message_id: str | None = None
    metadata: Mapping[str, str] | None = None
    payload: bytes | None = None
    command_id: str | None = None
    thread_id: str | None = None


class DeadLetters(Protocol):
    """The one store of dead letters."""

    def insert(self, db: Db, letter: DeadLetter) -> None:
        """Store it; unique by command, else by group, topic and entry."""
        ...


@frozen
class Identity:
    """Who we are on the wire: the database's id and its epoch."""

    database_id: str
    epoch: int
    origin: str = field(init=False)
    """The value of the metadata `origin` of our messages."""

    @origin.default
    def _origin(self) -> str:
        return f"{self.database_id}/{self.epoch}"


@frozen
class Receiver:
    """Turns deliveries into command rows. `receive` is a writer job."""

    catalogue: Catalogue
    rows: Rows
    letters: DeadLetters
    store: Store
    controls: ControlThreads
    tools: Tools
    topics: Topics
    identity: Identity
    fresh: Fresh = field(factory=Fresh)

    def receive(self, db: Db, delivery: Delivery) -> CommandRow | DeadLetter | None:
        """The row this delivery is about, the letter it became, or None when it needs nothing more than an ack."""
        if delivery.trimmed:
            return None
        message = delivery.message
        if message is None:
            return self._bury(db, delivery, "malformed", delivery.fault)
        origin = message.metadata.get("origin")
        try:
            if origin == self.identity.origin:
                command_id = message.metadata.get("message_id") or message.uuid
                return self.fresh.row(command_id) or self.rows.find(db, command_id)
            if origin is not None:
                return self._other_origin(db, delivery, message, origin)
            return self.external(db, delivery, message)
        except (Undecodable, InvalidFields) as error:
            return self._bury(db, delivery, error.code, told(error))

    def _other_origin(self, db: Db, delivery: Delivery, message: Message, origin: str) -> CommandRow | DeadLetter:
        """A command that a backup still holds is done from its row; what only the time after it knew is buried."""
        of_ours = origin.partition("/")[0] == self.identity.database_id
        row = self.rows.find(db, message.metadata.get("message_id") or message.uuid) if of_ours else None
        return row or self._bury(db, delivery, *self._stranger(origin))

    def _stranger(self, origin: str) -> tuple[str, str]:
        database, _, epoch = origin.partition("/")
        if database != self.identity.database_id:
            return "foreign", f"it is of another database, {database}; this is {self.identity.database_id}"
        earlier = epoch.isdecimal() and len(epoch) < 20 and int(epoch) < self.identity.epoch
        when = "before a backup was restored" if earlier else "an epoch that this database has not had"
        return "restored", f"it is of {origin}, {when}; this is {self.identity.origin}"

    def external(self, db: Db, delivery: Delivery, message: Message, known_by: str = "redis") -> CommandRow | None:
        """The row of somebody else's command, whatever its origin: the stored one, or a new one.

        `known_by` says how its actor is known. Raises Undecodable, InvalidFields.
        """
        members, body = read_command(message.payload)
        place = f"{delivery.topic}/{delivery.entry_id}"
        command_id = _text(members, "event_id") or message.uuid or place
        if fault := text_fault(command_id):
            raise Undecodable(f"the command's identity {fault}")
        if len(command_id) > _LONGEST_ID:
            raise Undecodable(f"the command's identity must be at most {_LONGEST_ID} characters")
        if is_reserved(command_id, self.catalogue):
            raise Undecodable(f"the identity {command_id} is one that this program gives to its own commands")
        known = self.rows.find(db, command_id)
        if known is None and self.rows.is_taken(db, command_id):
            raise Undecodable(f"the identity {command_id} is that of an event")
        if known is not None:
            if read_command(known.text)[1] != body:
                raise Undecodable(f"the identity {command_id} was used before with another payload")
            return known
        envelope = self._envelope(db, delivery, members, body, command_id, known_by)
        text, key = command_json(envelope, body), str(envelope.thread_id or envelope.run_id)
        self.rows.insert(db, command_id, delivery.topic, key, text, self.tools.now())
        stored = self.rows.find(db, command_id)
        return stored and attrs.evolve(stored, fresh=True)

    def _envelope(
        self,
        db: Db,
        delivery: Delivery,
        members: Mapping[str, Any],
        body: Mapping[str, Any],
        command_id: str,
        known_by: str,
    ) -> Envelope:
        """The envelope as we write it: nothing of the publisher's is taken over unchecked."""
        spec = self.catalogue.by_event_type(_text(members, "event_type") or "")
        if spec.internal:
            raise Undecodable(f"a {spec.event_type} is never taken from other programs")
        if self.topics.command(spec.name) != delivery.topic:
            raise Undecodable(f"a {spec.event_type} does not belong on {delivery.topic}")
        version = members.get("event_version", spec.version)
        if type(version) is not int or version != spec.version:
            raise Undecodable(f"version {version!r} of {spec.event_type} is not known; known is {spec.version}")
        subject = _text(members, spec.subject) or (
            body.get(spec.subject) if spec.subject in path_fields(spec) else None
        )
        given = {name: text for name in _ATTRIBUTION if (text := _text(members, name)) is not None}
        body = _with_subject(spec, {**body, **given}, subject)
        message, attribution, *_ = read_message(spec, body, subject, "envelope")
        if attribution.actor_type is None:
            raise Undecodable(f"actor_type is required; it is one of: {', '.join(OUTSIDE_ACTORS)}")
        key = spec.key(Intake(db, self.controls, self.tools.new_id), message)
        return Envelope(
            event_id=command_id,
            event_type=spec.event_type,
            event_version=spec.version,
            occurred_at=self.tools.now(),
            actor_type=attribution.actor_type,
            correlation_id=attribution.correlation_id or command_id,
            actor_name=attribution.actor_name,
            actor_known_by=known_by,
            causation_id=attribution.causation_id,
            **about(self.store, db, spec, key, message),
        )

    def _bury(self, db: Db, delivery: Delivery, reason: str, error: str) -> DeadLetter:
        letter = letter_of(delivery, reason, "receive", error, self.tools.now())
        self.letters.insert(db, letter)
        return letter


def told(error: Undecodable | InvalidFields) -> str:
    """What is wrong with a message, in one sentence: each field with its faults, if it is about fields."""
    faults = [f"{name} {text}" for name, texts in error.fields.items() for text in texts]
    return f"invalid values: {'; '.join(faults)}" if faults else error.message


def _with_subject(spec: CommandSpec, body: dict[str, Any], subject: str | None) -> dict[str, Any]:
    """A publisher that names the new thread or run in the envelope alone means that name."""
    if subject is None or spec.subject in path_fields(spec) or spec.subject not in rules_of(spec.message):
        return body
    return {spec.subject: subject, **body}


def letter_of(delivery: Delivery, reason: str, handler: str, error: str, now: str) -> DeadLetter:
    """The dead letter of a delivery. Of an entry that is no message the other fields are kept as metadata."""
    message = delivery.message
    letter = DeadLetter(reason, handler, delivery.group, delivery.topic, delivery.entry_id, now, error=error)
    if message is None:
        return attrs.evolve(letter, metadata=_fields(delivery.raw) or None, payload=delivery.raw.get(b"payload"))
    return attrs.evolve(letter, message_id=message.uuid, metadata=dict(message.metadata), payload=message.payload)


def _fields(raw: Mapping[bytes, bytes]) -> dict[str, str]:
    """The fields as text, each byte that is no UTF-8 as `\\xff`; those beyond the bound are cut and left out."""
    kept, left = {}, _FIELDS_KEPT
    for name, value in raw.items():
        if name != b"payload" and left > 0:
            kept[_shown(name, left)] = _shown(value, max(left - len(name), 0))
            left -= len(name) + len(value) + 4  # a field without text has its quotes, too
    return kept


def _shown(part: bytes, most: int) -> str:
    text = part[:most].decode("utf-8", "backslashreplace")
    return text if len(part) <= most else f"{text}..."


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise Undecodable(f"the envelope's {name} must be a string")
    return value or None
