"""How a wish becomes a durable command: checked, given an identity and a place in the order, committed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import field, frozen

from metawsm.bus.about import about
from metawsm.bus.dispatch import CommandRow, Outcome, Rows, expected_sequence, read_message
from metawsm.bus.fresh import Decoded, Fresh
from metawsm.bus.intake import ControlThreads, Intake
from metawsm.bus.ports import Db
from metawsm.bus.specs import CommandSpec
from metawsm.bus.work import Queued, Store, Tools
from metawsm.domain.envelope import Actor, Envelope
from metawsm.domain.errors import KeyReused, Overloaded
from metawsm.domain.ids import COMMAND
from metawsm.domain.values import value_class
from metawsm.messages.codec import command_json
from metawsm.messages.topics import Topics

_HEAD_FIELDS = ("actor_type", "actor_name", "correlation_id", "causation_id", "command_id")


class Keys(Protocol):
    """The idempotency keys seen in the last days."""

    def find(self, db: Db, scope: str, key: str) -> tuple[bytes, str] | None:
        """The body hash and command id stored for this key, or None."""
        ...

    def insert(self, db: Db, scope: str, key: str, body_hash: bytes, command_id: str, now: str) -> None:
        """Remember a key in the accepting commit."""
        ...


@value_class
class Prepared:
    """A checked command that waits for its commit. `key` is the idempotency key, `scope` credential and route."""

    spec: CommandSpec
    command_id: str
    message: Any
    actor: Actor
    body: dict[str, Any]
    correlation_id: str
    causation_id: str | None
    scope: str
    key: str | None
    body_hash: bytes
    expected_sequence: int | None = None


@value_class
class Accepted:
    """The command is durable. `queued` is its row, None when the key was known; then `outcome` is set if it is done."""

    command_id: str
    queued: Queued | None
    outcome: Outcome | None = None
    failed: str | None = None


@frozen
class Submitter:
    """Accepts commands. Everything it is handed is a port or plain data."""

    rows: Rows
    keys: Keys
    store: Store
    controls: ControlThreads
    tools: Tools
    topics: Topics
    fresh: Fresh = field(factory=Fresh)

    def prepare(
        self,
        spec: CommandSpec,
        body: Mapping[str, Any],
        subject: str | None,
        actor: Actor,
        scope: str,
        key: str | None,
    ) -> Prepared:
        """Check a body before anything is stored; `subject` is the id in the route. Raises InvalidFields naming every
        fault.
        """
        parts = read_message(spec, body, subject)
        message, attribution = parts[:2]
        command_id = self.tools.new_id(COMMAND)
        payload = {name: value for name, value in body.items() if name not in _HEAD_FIELDS and value is not None}
        key = key if key is not None else attribution.command_id
        return Prepared(
            spec=spec,
            command_id=command_id,
            message=message,
            actor=actor,
            body=payload,
            correlation_id=attribution.correlation_id or command_id,
            causation_id=attribution.causation_id,
            scope=scope,
            key=key,
            body_hash=_hash(body) if key is not None else b"",
            expected_sequence=expected_sequence(parts),
        )

    def accept(self, db: Db, prepared: Prepared, full: Overloaded | None = None) -> Accepted:
        """The accepting job: one row, and the key that makes a retry harmless. Raises KeyReused.

        Raises `full`, which says that there is no room, only for what is not stored yet.
        """
        now = self.tools.now()
        if prepared.key is not None:
            known = self._known(db, prepared)
            if known is not None:
                return known
        if full is not None:
            raise full
        if prepared.key is not None:
            self.keys.insert(db, prepared.scope, prepared.key, prepared.body_hash, prepared.command_id, now)
        return Accepted(prepared.command_id, self._insert(db, prepared, now))

    def _known(self, db: Db, prepared: Prepared) -> Accepted | None:
        found = self.keys.find(db, prepared.scope, str(prepared.key))
        if found is None:
            return None
        body_hash, command_id = found
        if body_hash != prepared.body_hash:
            raise KeyReused(
                f"the idempotency key {prepared.key!r} was used before with another body; use a new key for a new wish"
            )
        row = self.rows.find(db, command_id)
        if row is None:
            return None
        outcome = Outcome.from_json(row.outcome_json) if row.outcome_json else None
        return Accepted(command_id, None, outcome, row.last_error if row.status == "failed" else None)

    def _insert(self, db: Db, prepared: Prepared, now: str) -> Queued:
        spec = prepared.spec
        key = spec.key(Intake(db, self.controls, self.tools.new_id), prepared.message)
        envelope = self._envelope(db, prepared, key, now)
        text = command_json(envelope, prepared.body)
        topic = self.topics.command(spec.name)
        row_id = self.rows.insert(db, prepared.command_id, topic, key, text, now)
        row = CommandRow(row_id, prepared.command_id, topic, key, text, "pending", created_at=now)
        self.fresh.keep(row, Decoded(envelope, prepared.message, prepared.expected_sequence))
        return Queued(
            row_id, "command", prepared.command_id, topic, key, text, spec.event_type, prepared.correlation_id
        )

    def _envelope(self, db: Db, prepared: Prepared, key: str, now: str) -> Envelope:
        return Envelope(
            event_id=prepared.command_id,
            event_type=prepared.spec.event_type,
            event_version=prepared.spec.version,
            occurred_at=now,
            actor_type=prepared.actor.type,
            correlation_id=prepared.correlation_id,
            actor_name=prepared.actor.name,
            actor_known_by=prepared.actor.known_by,
            causation_id=prepared.causation_id,
            **about(self.store, db, prepared.spec, key, prepared.message),
        )


def _hash(body: Mapping[str, Any]) -> bytes:
    """Equal for equal JSON objects, whatever the order of members, at any depth."""
    said = {name: value for name, value in body.items() if name != "command_id"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("ascii")).digest()
