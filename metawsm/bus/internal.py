"""Commands that the program sends to itself: outcomes of jobs, reactions to events, what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from metawsm.bus.about import about
from metawsm.bus.catalogue import Catalogue
from metawsm.bus.dispatch import Rows, read_message
from metawsm.bus.intake import ControlThreads, Intake
from metawsm.bus.ports import Db
from metawsm.bus.work import Queued, Store, Tools
from metawsm.domain.envelope import Envelope
from metawsm.messages.codec import command_json
from metawsm.messages.topics import Topics

RESERVED = ("job", "seen", "sla")
"""Beginnings of the ids of such commands, beside the names of commands, up to the first colon."""


def is_reserved(command_id: str, catalogue: Catalogue) -> bool:
    """Whether an id may only be given by the program: who takes it first would keep the real command from its row."""
    head, colon, _ = command_id.partition(":")
    return bool(colon) and (head in RESERVED or f"forum.commands.{head}" in catalogue.types)


@frozen
class Internal:
    """Stores commands whose actor is `system`, inside somebody else's transaction."""

    catalogue: Catalogue
    rows: Rows
    store: Store
    controls: ControlThreads
    tools: Tools
    topics: Topics

    def insert(
        self, db: Db, name: str, body: Mapping[str, Any], command_id: str, cause: Envelope | None = None
    ) -> Queued | None:
        """Store a command under an id that says what it is about; None when it has been stored before.

        `cause` is the head of the event that led to it. Raises InvalidFields: that is a bug of the caller.
        """
        if self.rows.is_taken(db, command_id):
            return None
        spec = self.catalogue.named(name)
        message = read_message(spec, body, body.get(spec.subject))[0]
        key = spec.key(Intake(db, self.controls, self.tools.new_id), message)
        now = self.tools.now()
        envelope = Envelope(
            event_id=command_id,
            event_type=spec.event_type,
            event_version=spec.version,
            occurred_at=now,
            actor_type="system",
            actor_known_by="system",
            correlation_id=cause.correlation_id if cause else command_id,
            causation_id=cause.event_id if cause else None,
            **about(self.store, db, spec, key, message),
        )
        text, topic = command_json(envelope, body), self.topics.command(spec.name)
        row_id = self.rows.insert(db, command_id, topic, key, text, now)
        return Queued(row_id, "command", command_id, topic, key, text, spec.event_type, envelope.correlation_id)
