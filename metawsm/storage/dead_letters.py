"""`dead_letters`: messages nobody could handle, kept with all that is known about them, until a person ends them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from metawsm.bus.letters import HANDLER_FAILED, PROJECTION_FAILED, REACTION_FAILED, REASONS, Person, StoredLetter
from metawsm.bus.ports import Db
from metawsm.bus.receive import DeadLetter
from metawsm.storage.schema import LARGE_LETTER

# Open letters beyond these keep what was said about them, without their payload, metadata and traceback. Large is what
# the index dead_letters_large says, 16 KiB of these three, so that all together take some 3 GB at most.
# To cut one large letter may free hundreds of pages, so only a few are in one job.
MOST_WHOLE, MOST_LARGE, LARGE_TOGETHER = 100_000, 1_000, 10
MOST_COUNTED = 10_000
# No command is larger: one row of the outbox has at most some 400 kB. Of a larger payload only the head is kept.
LARGEST_PAYLOAD, PAYLOAD_HEAD = 1024 * 1024, 64 * 1024
LONGEST_TRACEBACK, LONGEST_ERROR, LONGEST_METADATA, LONGEST_ID = 64 * 1024, 4096, 64 * 1024, 512  # characters

_COLUMNS = (
    "id, status, reason, error, traceback, attempts, handler, consumer_group, topic, entry_id, message_id,"
    " metadata_json, payload, first_failed_at, last_failed_at, command_id, thread_id, ended_at, ended_by_type,"
    " ended_by_name, cut"
)
_INSERT = """
INSERT INTO dead_letters (reason, error, traceback, attempts, handler, payload, cut, command_id, thread_id,
    last_failed_at, consumer_group, topic, entry_id, message_id, metadata_json, first_failed_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?10)
"""
_REOPEN = """
UPDATE dead_letters SET status = 'open', reason = ?1, error = ?2, traceback = ?3, attempts = attempts + ?4,
    handler = ?5, payload = coalesce(?6, payload), cut = iif(?6 IS NULL, cut, ?7),
    command_id = coalesce(?8, command_id), thread_id = coalesce(?9, thread_id), last_failed_at = ?10,
    ended_at = NULL, ended_by_type = NULL, ended_by_name = NULL
WHERE id = ?11
"""
_REPEAT = "UPDATE dead_letters SET attempts = attempts + ?, last_failed_at = ? WHERE id = ?"
_FAILED_AGAIN = """
UPDATE dead_letters SET attempts = attempts + 1, error = ?, traceback = coalesce(?, traceback), last_failed_at = ?
WHERE id = ? AND status = 'open'
"""
_END = """
UPDATE dead_letters SET status = ?, ended_at = ?, ended_by_type = ?, ended_by_name = ?,
    command_id = coalesce(?, command_id)
WHERE id = ? AND status = 'open'
"""
_OF_COMMAND = "SELECT max(id) FROM dead_letters WHERE command_id = ?"
_OF_PLACE = "SELECT id FROM dead_letters WHERE consumer_group = ? AND topic = ? AND entry_id = ?"
_MENDED = """
UPDATE dead_letters SET status = 'replayed', ended_at = ?1, ended_by_type = 'system', ended_by_name = 'rebuild'
WHERE id IN (SELECT id FROM dead_letters WHERE status = 'open' AND reason = 'projection_failed'
    AND last_failed_at < ?2 AND CAST(entry_id AS INTEGER) <= ?3 LIMIT ?4)
"""
_PRUNE = """
DELETE FROM dead_letters WHERE id IN (
    SELECT id FROM dead_letters WHERE ended_at IS NOT NULL AND ended_at < ? ORDER BY ended_at LIMIT ?)
"""
_CUT = """
UPDATE dead_letters SET payload = NULL, metadata_json = NULL, traceback = NULL, cut = 1 WHERE id IN (
    SELECT id FROM dead_letters INDEXED BY dead_letters_whole
    WHERE status = 'open' AND cut = 0 ORDER BY id DESC LIMIT ? OFFSET ?)
"""
_CUT_LARGE = f"""
UPDATE dead_letters SET payload = NULL, metadata_json = NULL, traceback = NULL, cut = 1 WHERE id IN (
    SELECT id FROM dead_letters INDEXED BY dead_letters_large
    WHERE status = 'open' AND cut = 0 AND {LARGE_LETTER} ORDER BY id DESC LIMIT ? OFFSET ?)
"""
_OPEN = """
SELECT count(*) FROM (SELECT 1 FROM dead_letters INDEXED BY dead_letters_reason
    WHERE status = 'open' AND reason = ? LIMIT ?)
"""
_OPEN_CUT = """
SELECT count(*) FROM (SELECT 1 FROM dead_letters INDEXED BY dead_letters_cut WHERE status = 'open' AND cut = 1 LIMIT ?)
"""


class DeadLetterTable:
    """The table's statements. Implements `bus.receive.DeadLetters` and `bus.replay.Letters`."""

    def insert(self, db: Db, letter: DeadLetter) -> None:
        """Store a letter, or count its repetition.

        What failed anew in our own code opens its letter again; an entry that is only delivered once more does not.
        """
        known = _known(db, letter)
        if known is None:
            metadata = _metadata(letter.metadata)
            place = (letter.group, letter.topic, letter.entry_id, _text(letter.message_id, LONGEST_ID), metadata)
            db.execute(_INSERT, (*_said(letter), *place))
        elif letter.reason in (HANDLER_FAILED, PROJECTION_FAILED, REACTION_FAILED):
            db.execute(_REOPEN, (*_said(letter), known))
        else:
            db.execute(_REPEAT, (letter.attempts, letter.failed_at, known))

    def find(self, db: Db, letter_id: int) -> StoredLetter | None:
        """The letter, or None."""
        for row in db.execute(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = ?", (letter_id,)):
            return StoredLetter(*row)
        return None

    def end(self, db: Db, letter_id: int, status: str, person: Person, now: str, command_id: str | None = None) -> None:
        """An open letter becomes `replayed` or `discarded`."""
        db.execute(_END, (status, now, person.type, person.name, command_id, letter_id))

    def failed_again(self, db: Db, letter_id: int, error: str, traceback: str | None, now: str) -> None:
        """A fresh look brought nothing: the letter stays open and says why."""
        told = (_text(error, LONGEST_ERROR), _text(traceback, LONGEST_TRACEBACK), now)
        db.execute(_FAILED_AGAIN, (*told, letter_id))

    def release(self, db: Db, row_id: int) -> None:
        """The failed outbox row goes: its command takes a new position under the same identity."""
        db.execute("DELETE FROM forum_outbox WHERE id = ? AND kind = 'command' AND status = 'failed'", (row_id,))

    def mended(self, db: Db, upto: int, before: str, now: str, limit: int) -> int:
        """A rebuild has applied all events up to a sequence: end the letters of failures before it; return how many."""
        db.execute(_MENDED, (now, before, upto, limit))
        return db.changes()

    def open_by_reason(self, db: Db) -> dict[str, int]:
        """How many wait for somebody, by reason; of each at most MOST_COUNTED, since health asks often."""
        counts = {reason: _number(db, _OPEN, reason, MOST_COUNTED) for reason in REASONS}
        return {reason: count for reason, count in counts.items() if count}

    def count_cut(self, db: Db) -> int:
        """How many open ones have lost their payload; at most MOST_COUNTED."""
        return _number(db, _OPEN_CUT, MOST_COUNTED)

    def prune(self, db: Db, before: str, limit: int) -> int:
        """Delete up to `limit` letters that ended before a time; return how many."""
        db.execute(_PRUNE, (before, limit))
        return db.changes()

    def cut(self, db: Db, limit: int, keep: int = MOST_WHOLE, keep_large: int = MOST_LARGE) -> int:
        """Open letters beyond the newest `keep`, and beyond the newest `keep_large` large ones, lose what is large.

        Returns how many did, which is at most `limit`.
        """
        db.execute(_CUT_LARGE, (min(limit, LARGE_TOGETHER), keep_large))
        done = db.changes()
        db.execute(_CUT, (limit - done, keep))
        return done + db.changes()


def _number(db: Db, sql: str, *values: object) -> int:
    return int(next(iter(db.execute(sql, values)))[0])


def _known(db: Db, letter: DeadLetter) -> int | None:
    if letter.command_id is not None:
        for (found,) in db.execute(_OF_COMMAND, (letter.command_id,)):
            if found is not None:
                return int(found)
    for (found,) in db.execute(_OF_PLACE, (letter.group, letter.topic, letter.entry_id)):
        return int(found)
    return None


def _said(letter: DeadLetter) -> tuple[object, ...]:
    """What the newest failure says, in the order of the statements."""
    payload, cut = _payload(letter.payload)
    return (
        letter.reason, _text(letter.error, LONGEST_ERROR), _text(letter.traceback, LONGEST_TRACEBACK), letter.attempts,
        letter.handler, payload, cut, letter.command_id, letter.thread_id, letter.failed_at,
    )  # fmt: skip


def _payload(payload: bytes | None) -> tuple[bytes | None, bool]:
    """The payload, or its head without half a character, and whether it was cut."""
    if payload is None or len(payload) <= LARGEST_PAYLOAD:
        return payload, False
    end = PAYLOAD_HEAD
    while end > PAYLOAD_HEAD - 4 and payload[end] & 0xC0 == 0x80:
        end -= 1
    return payload[:end], True


def _metadata(metadata: Mapping[str, str] | None) -> str | None:
    text = None if metadata is None else json.dumps(dict(metadata))
    return None if text is None or len(text) > LONGEST_METADATA else text


def _text(text: str | None, most: int) -> str | None:
    """A text that the database takes, whatever a message put into it: its end says most about a traceback."""
    if text is None:
        return None
    clean = text.encode("utf-8", "backslashreplace").decode()
    return clean if len(clean) <= most else f"{clean[: most // 2]} ... {clean[-most // 2 :]}"
