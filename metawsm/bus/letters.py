"""Kept dead letters: what is known of them, which ones are meant, and who ends them."""

from __future__ import annotations

from attrs import field, frozen

from metawsm.bus import fields
from metawsm.domain.states import OUTSIDE_ACTORS

HANDLER_FAILED, PROJECTION_FAILED, REACTION_FAILED = "handler_failed", "projection_failed", "reaction_failed"
FOREIGN_REASONS = ("foreign", "restored")
"""Commands of another database, or of a time before a backup was restored: only a person can say that they count."""
REASONS = (
    HANDLER_FAILED, PROJECTION_FAILED, REACTION_FAILED, "malformed", "undecodable", "invalid_fields", "unreadable",
    *FOREIGN_REASONS,
)  # fmt: skip
OPEN, REPLAYED, DISCARDED = STATUSES = ("open", "replayed", "discarded")


@frozen
class EndLetter:
    """Who ends dead letters."""

    actor_type: str = fields.choice("who acts: human or operator", OUTSIDE_ACTORS, required=True)
    actor_name: str | None = fields.text("name of who acts", max_chars=128)


@frozen
class Person:
    """Who ends a letter: human or operator, a name, and how they are known (`token`, `open`)."""

    type: str
    name: str | None = None
    known_by: str = "token"


@frozen
class StoredLetter:
    """A letter as it is kept. `cut`: its payload was too much to keep whole, so it cannot be replayed from it.

    `command_id` is the command that it is about, or that a replay made of it.
    """

    id: int
    status: str
    reason: str
    error: str | None
    traceback: str | None
    attempts: int
    handler: str
    group: str
    topic: str
    entry_id: str
    message_id: str | None
    metadata_json: str | None
    payload: bytes | None
    first_failed_at: str
    last_failed_at: str
    command_id: str | None
    thread_id: str | None
    ended_at: str | None
    ended_by_type: str | None
    ended_by_name: str | None
    cut: bool = field(converter=bool)


@frozen
class LetterFilter:
    """Which letters are meant; None is any. `since` and `until` (inclusive) are about the newest failure, RFC 3339.

    `above` and `upto` bound the ids; `without` names reasons that are left out.
    """

    status: str | None = None
    reason: str | None = None
    handler: str | None = None
    topic: str | None = None
    message_id: str | None = None
    thread_id: str | None = None
    since: str | None = None
    until: str | None = None
    above: int | None = None
    upto: int | None = None
    without: tuple[str, ...] = ()
