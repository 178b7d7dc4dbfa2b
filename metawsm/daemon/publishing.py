"""Outbox rows as messages on streams."""

from __future__ import annotations

from metawsm.bus.ports import Message, Publication
from metawsm.bus.receive import Identity
from metawsm.bus.work import Queued


def publications(row: Queued, feed: str, identity: Identity) -> list[Publication]:
    """Where a row is published: a command on its topic; an event on the feed and on its topic, with its sequence as id.

    The fixed id makes a repeated publish fail instead of duplicating.
    """
    message = Message(
        row.message_id,
        {
            "name": row.name,
            "message_id": row.message_id,
            "topic": row.topic,
            "message_key": row.key,
            "correlation_id": row.correlation_id,
            "origin": identity.origin,
        },
        row.text.encode(),
    )
    if row.sequence is None:
        return [Publication(row.topic, message)]
    entry_id = f"{row.sequence}-0"
    return [Publication(feed, message, entry_id), Publication(row.topic, message, entry_id)]
