"""`forum_outbox`: what was accepted and what has happened, on its way to Redis and, for commands, to its handler.

Status moves only forward: pending, sent, done or failed. Order is by id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metawsm.bus.dispatch import CommandRow, Outcome
from metawsm.bus.ports import Db
from metawsm.bus.work import Queued
from metawsm.messages.codec import event_head, read_command

_INSERT = """
INSERT INTO forum_outbox (message_id, kind, topic, message_key, payload_json, created_at, updated_at)
VALUES (?, 'command', ?, ?, ?, ?, ?)
"""
_COMMAND = (
    "id, message_id, topic, message_key, payload_json, status, outcome, outcome_json, attempt_count, last_error,"
    " created_at"
)
_FIND = f"SELECT {_COMMAND} FROM forum_outbox WHERE message_id = ? AND kind = 'command'"
_READ = f"SELECT {_COMMAND} FROM forum_outbox WHERE id = ?"
# Answered from the index of the lanes alone: its condition, word for word, need not be looked up in the row.
_FIRST = """
SELECT id FROM forum_outbox
WHERE message_key = ? AND id <= ? AND kind = 'command' AND status IN ('pending', 'sent') ORDER BY id LIMIT 1
"""
_FINISH = """
UPDATE forum_outbox SET status = 'done', outcome = ?1, outcome_json = ?2, updated_at = ?3,
    attempt_count = max(attempt_count, 1), sent_at = coalesce(sent_at, ?3)
WHERE id = ?4 AND status IN ('pending', 'sent')
"""
_FAIL = "UPDATE forum_outbox SET status = 'failed', last_error = ?, updated_at = ? WHERE id = ? AND status <> 'done'"
_SENT = """
UPDATE forum_outbox SET status = iif(kind = 'event', 'done', 'sent'), attempt_count = attempt_count + 1, sent_at = ?1,
    updated_at = ?1 WHERE id BETWEEN ?2 AND ?3 AND status = 'pending'
"""
_FAULT = """
UPDATE forum_outbox SET attempt_count = attempt_count + 1, last_error = ?, updated_at = ?
WHERE id = ? AND status = 'pending'
"""
# `<> 'done'` is what makes the index of undone rows fit.
_PENDING = """
SELECT id, kind, message_id, topic, message_key, payload_json, sequence FROM forum_outbox
WHERE status = ? AND status <> 'done' AND id > ? AND id <= ? AND (kind = 'command' OR ?) ORDER BY id LIMIT ?
"""
_COUNTS = "SELECT status, count(*) FROM forum_outbox WHERE status <> 'done' GROUP BY status"
_UNDONE = "SELECT count(*) FROM forum_outbox WHERE kind = 'command' AND status IN ('pending', 'sent')"
_OLDEST = "SELECT created_at FROM forum_outbox WHERE status = ? AND status <> 'done' ORDER BY id LIMIT 1"
_OLDEST_SENT = """
SELECT id, topic, coalesce(sent_at, created_at) FROM forum_outbox
WHERE status = 'sent' AND status <> 'done' ORDER BY id LIMIT 1
"""
_LATEST = """
SELECT id, message_id, topic, message_key, status, outcome, attempt_count, last_error, created_at, updated_at, sent_at
FROM forum_outbox ORDER BY id DESC LIMIT ?
"""
# The condition on the status is word for word that of the index, else it is not used.
_PRUNE = """
DELETE FROM forum_outbox WHERE id IN (
    SELECT id FROM forum_outbox WHERE status IN ('done', 'failed') AND updated_at < ?1 ORDER BY updated_at LIMIT ?2)
"""
_LATEST_COLUMNS = (
    "id", "message_id", "topic", "message_key", "status", "outcome", "attempt_count", "last_error", "created_at",
    "updated_at", "sent_at",
)  # fmt: skip


class Outbox:
    """The table's statements, one method each. Implements `bus.dispatch.Rows`."""

    def insert(self, db: Db, message_id: str, topic: str, key: str, text: str, now: str) -> int:
        """Store an accepted command; its id is its place in the order."""
        db.run(_INSERT, (message_id, topic, key, text, now, now))
        return db.last_insert_rowid()

    def find(self, db: Db, message_id: str) -> CommandRow | None:
        """The command of this identity, or None."""
        for row in db.execute(_FIND, (message_id,)):
            return CommandRow(*row)
        return None

    def is_taken(self, db: Db, message_id: str) -> bool:
        """Whether any row, a command's or an event's, has this identity."""
        return any(db.execute("SELECT 1 FROM forum_outbox WHERE message_id = ?", (message_id,)))

    def first_undone(self, db: Db, key: str, upto: int) -> int | None:
        """The row id of the thread's oldest command that is neither done nor failed, up to the row `upto`."""
        for (row_id,) in db.execute(_FIRST, (key, upto)):
            return int(row_id)
        return None

    def read(self, db: Db, row_id: int) -> CommandRow:
        """The command of a row that is there."""
        return CommandRow(*next(iter(db.execute(_READ, (row_id,)))))

    def finish(self, db: Db, row_id: int, outcome: Outcome, text: str, now: str) -> bool:
        """Mark a command done with its outcome; False if it was done already."""
        db.run(_FINISH, (outcome.kind, text, now, row_id))
        return db.changes() == 1

    def fail(self, db: Db, row_id: int, error: str, now: str) -> None:
        """Mark a row as dead-lettered."""
        db.run(_FAIL, (error, now, row_id))

    def mark_sent(self, db: Db, row_ids: Sequence[int], now: str) -> None:
        """These rows are in Redis: commands become sent, events done. A row that is further stays so."""
        for first, last in _runs(row_ids):
            db.run(_SENT, (now, first, last))

    def note_fault(self, db: Db, row_id: int, error: str, now: str) -> None:
        """Publishing a row failed; it stays pending."""
        db.run(_FAULT, (error, now, row_id))

    def queued(self, db: Db, status: str, after: int, upto: int, limit: int, events: bool = True) -> list[Queued]:
        """Rows of a status in order, between two ids, as the relay publishes them; without `events`, commands only."""
        return [_queued(row) for row in db.execute(_PENDING, (status, after, upto, events, limit))]

    def counts(self, db: Db) -> dict[str, int]:
        """How many rows are pending, sent and failed."""
        return {"pending": 0, "sent": 0, "failed": 0} | {str(s): int(n) for s, n in db.execute(_COUNTS)}

    def undone(self, db: Db) -> int:
        """How many commands are neither done nor failed."""
        return int(next(iter(db.execute(_UNDONE)))[0])

    def oldest(self, db: Db, status: str) -> str | None:
        """When the oldest row of a status was accepted, or None."""
        return next((str(at) for (at,) in db.execute(_OLDEST, (status,))), None)

    def oldest_sent(self, db: Db) -> tuple[int, str, str] | None:
        """Row id, topic and time of publishing of the oldest command that is in Redis and not done."""
        return next(((int(row_id), str(topic), str(at)) for row_id, topic, at in db.execute(_OLDEST_SENT)), None)

    def last_id(self, db: Db) -> int:
        """The highest id there is."""
        return int(next(iter(db.execute("SELECT coalesce(max(id), 0) FROM forum_outbox")))[0])

    def latest(self, db: Db, limit: int) -> list[dict[str, Any]]:
        """The newest rows, for people."""
        return [dict(zip(_LATEST_COLUMNS, row, strict=True)) for row in db.execute(_LATEST, (limit,))]

    def prune(self, db: Db, before: str, limit: int) -> int:
        """Delete up to `limit` done and failed rows last changed before a time; return how many."""
        db.run(_PRUNE, (before, limit))
        return db.changes()


def _runs(row_ids: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each stretch of ids without a gap: one statement per stretch, not per row."""
    runs: list[tuple[int, int]] = []
    for row_id in row_ids:
        if runs and runs[-1][1] == row_id - 1:
            runs[-1] = (runs[-1][0], row_id)
        else:
            runs.append((row_id, row_id))
    return runs


def _queued(row: Sequence[Any]) -> Queued:
    row_id, kind, message_id, topic, key, text, sequence = row
    written = read_command(text) if sequence is None else None
    head = written[0] if written else event_head(text)
    name, correlation = str(head["event_type"]), str(head["correlation_id"])
    return Queued(row_id, kind, message_id, topic, key, text, name, correlation, sequence, written=written)
