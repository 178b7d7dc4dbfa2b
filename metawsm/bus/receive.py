"""What a delivery from Redis means: a row of ours, an external command, an old copy, or a dead letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import attrs
from attrs import frozen

from metawsm.bus.catalogue import Catalogue
from metawsm.bus.dispatch import CommandRow, Rows, read_message
from metawsm.bus.intake import ControlThreads, Intake
from metawsm.bus.ports import Db, Delivery, Message
from metawsm.bus.work import Store, Tools
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import InvalidFields, Undecodable
from metawsm.domain.states import OUTSIDE_ACTORS
from metawsm.messages.codec import command_json, read_command
from metawsm.messages.topics import Topics


@frozen
class DeadLetter:
    """A message that nobody can handle, with all that is known about it. Times are RFC 3339."""

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


class DeadLetters(Protocol):
    """The one store of dead letters."""

    def insert(self, db: Db, letter: DeadLetter) -> None:
        """Store it; unique by group, topic and entry."""
        ...


@frozen
class Identity:
    """Who we are on the wire: the database's id and its epoch."""

    database_id: str
    epoch: int

    @property
    def origin(self) -> str:
        """The value of the metadata `origin` of our messages."""
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

    def receive(self, db: Db, delivery: Delivery) -> CommandRow | None:
        """The row this delivery is about, or None when it needs nothing more than an ack."""
        if delivery.trimmed:
            return None
        message = delivery.message
        if message is None:
            self._bury(db, delivery, "malformed", delivery.fault)
            return None
        origin = message.metadata.get("origin")
        try:
            if origin == self.identity.origin:
                return self.rows.find(db, message.metadata.get("message_id") or message.uuid)
            if origin is not None:
                self._bury(db, delivery, *self._stranger(origin))
                return None
            return self._external(db, delivery, message)
        except (Undecodable, InvalidFields) as error:
            self._bury(db, delivery, error.code, f"{error.message} {error.fields or ''}".strip())
            return None

    def _stranger(self, origin: str) -> tuple[str, str]:
        database, _, _ = origin.partition("/")
        if database == self.identity.database_id:
            return "restored", f"it is of {origin}, before a backup was restored; this is {self.identity.origin}"
        return "foreign", f"it is of another database, {database}; this is {self.identity.database_id}"

    def _external(self, db: Db, delivery: Delivery, message: Message) -> CommandRow | None:
        members, body = read_command(message.payload)
        place = f"{delivery.topic}/{delivery.entry_id}"
        command_id = _text(members, "event_id") or message.uuid or place
        envelope, text, thread_id = self._written(db, delivery, members, body, command_id)
        known = self.rows.find(db, command_id)
        if known is None:
            self.rows.insert(db, command_id, delivery.topic, thread_id, text, self.tools.now())
            return self.rows.find(db, command_id)
        if known.text.partition(',"payload":')[2] != text.partition(',"payload":')[2]:
            raise Undecodable(f"the identity {envelope.event_id} was used before with another payload")
        return known

    def _written(
        self, db: Db, delivery: Delivery, members: Mapping[str, Any], body: Mapping[str, Any], command_id: str
    ) -> tuple[Envelope, str, str]:
        spec = self.catalogue.by_event_type(_text(members, "event_type") or "")
        if self.topics.command(spec.name) != delivery.topic:
            raise Undecodable(f"a {spec.event_type} does not belong on {delivery.topic}")
        version = members.get("event_version", spec.version)
        if version != spec.version:
            raise Undecodable(f"version {version!r} of {spec.event_type} is not known; known is {spec.version}")
        thread_id = _text(members, "thread_id") or (body.get("thread_id") if spec.loads else None)
        message, attribution, *_ = read_message(spec, body, thread_id)
        actor_type = _text(members, "actor_type") or attribution.actor_type
        if actor_type not in OUTSIDE_ACTORS:
            raise Undecodable(f"actor_type {actor_type!r} is not one of: {', '.join(OUTSIDE_ACTORS)}")
        key = spec.key(Intake(db, self.controls, self.tools.new_id), message)
        envelope = Envelope(
            event_id=command_id,
            event_type=spec.event_type,
            event_version=spec.version,
            occurred_at=self.tools.now(),
            ticket=_text(members, "ticket") or getattr(message, "ticket", "") or "",
            actor_type=actor_type,
            correlation_id=_text(members, "correlation_id") or attribution.correlation_id or command_id,
            thread_id=key,
            run_id=_text(members, "run_id") or getattr(message, "run_id", None),
            agent_name=_text(members, "agent_name") or getattr(message, "agent_name", None),
            actor_name=_text(members, "actor_name") or attribution.actor_name,
            actor_known_by="redis",
            causation_id=_text(members, "causation_id") or attribution.causation_id,
        )
        return envelope, command_json(envelope, body), key

    def _bury(self, db: Db, delivery: Delivery, reason: str, error: str) -> None:
        self.letters.insert(db, letter_of(delivery, reason, "receive", error, self.tools.now()))


def letter_of(delivery: Delivery, reason: str, handler: str, error: str, now: str) -> DeadLetter:
    """The dead letter of a delivery."""
    message = delivery.message
    letter = DeadLetter(reason, handler, delivery.group, delivery.topic, delivery.entry_id, now, error=error)
    if message is None:
        return attrs.evolve(letter, payload=delivery.raw.get(b"payload"))
    return attrs.evolve(letter, message_id=message.uuid, metadata=dict(message.metadata), payload=message.payload)


def _text(members: Mapping[str, Any], name: str) -> str | None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise Undecodable(f"the envelope's {name} must be a string")
    return value or None
