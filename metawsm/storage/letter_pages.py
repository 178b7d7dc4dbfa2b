"""Reading dead letters: pages for lists, counts before something is done, and one letter whole."""

from __future__ import annotations

import base64
import json
from typing import Any

from attrs import asdict

from metawsm.bus import cursors
from metawsm.bus.letters import STATUSES, LetterFilter, StoredLetter
from metawsm.bus.ports import Db

_SHOWN = (
    "id", "status", "reason", "error", "attempts", "handler", "consumer_group", "topic", "entry_id", "message_id",
    "first_failed_at", "last_failed_at", "command_id", "thread_id", "ended_at", "ended_by_type", "ended_by_name", "cut",
)  # fmt: skip
_CONDITIONS = {
    "reason": "reason = ?", "handler": "handler = ?", "topic": "topic = ?",
    "message_id": "? IN (message_id, command_id)", "thread_id": "thread_id = ?", "since": "last_failed_at >= ?",
    "until": "last_failed_at <= ?", "above": "id > ?", "upto": "id <= ?",
}  # fmt: skip
_SHORT = 500  # characters of an error in a list
_END = 2**62


def letters_page(db: Db, wanted: LetterFilter, limit: int, cursor: str | None) -> dict[str, Any]:
    """`{dead_letters, next_cursor?}`: the newest first, without payloads and tracebacks. Raises Malformed."""
    question = cursors.fingerprint(wanted)
    before = cursors.decode(cursor, question, (int,))[0] if cursor else _END
    where, values = _where(wanted)
    sql = f"SELECT {', '.join(_SHOWN)} FROM dead_letters WHERE {where} AND id < ? ORDER BY id DESC LIMIT ?"
    rows = list(db.execute(sql, (*values, before, limit + 1)))
    page: dict[str, Any] = {"dead_letters": [_short(dict(zip(_SHOWN, row, strict=True))) for row in rows[:limit]]}
    return page | ({"next_cursor": cursors.encode(question, (rows[limit - 1][0],))} if len(rows) > limit else {})


def count_letters(db: Db, wanted: LetterFilter) -> int:
    """How many there are."""
    where, values = _where(wanted)
    return int(next(iter(db.execute(f"SELECT count(*) FROM dead_letters WHERE {where}", values)))[0])


def letter_ids(db: Db, wanted: LetterFilter, limit: int) -> list[int]:
    """The ids of the oldest ones, in ascending order."""
    where, values = _where(wanted)
    sql = f"SELECT id FROM dead_letters WHERE {where} ORDER BY id LIMIT ?"
    return [int(row[0]) for row in db.execute(sql, (*values, limit))]


def newest_letter(db: Db) -> int:
    """The highest id there is; 0 without any."""
    return int(next(iter(db.execute("SELECT coalesce(max(id), 0) FROM dead_letters")))[0])


def whole_letter(letter: StoredLetter) -> dict[str, Any]:
    """A letter with everything: `payload` where it is UTF-8, else `payload_base64`; `metadata` as an object."""
    told = asdict(letter)
    payload, metadata = told.pop("payload"), told.pop("metadata_json")
    try:
        told["payload"] = None if payload is None else payload.decode()
    except UnicodeDecodeError:
        told["payload_base64"] = base64.b64encode(payload).decode()
    told["metadata"] = (json.loads(metadata) if metadata else {}) | _poisoned(letter)
    told["consumer_group"] = told.pop("group")
    return _without_blanks(told)


def _poisoned(letter: StoredLetter) -> dict[str, str]:
    """What Watermill's poison queue adds to a message's metadata. Source: contract, section 3."""
    return {
        "reason_poisoned": letter.error or letter.reason,
        "topic_poisoned": letter.topic,
        "handler_poisoned": letter.handler,
        "subscriber_poisoned": letter.group,
    }


def _short(row: dict[str, Any]) -> dict[str, Any]:
    row["error"] = row["error"] and row["error"][:_SHORT]
    return _without_blanks(row)


def _without_blanks(row: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in row.items() if value is not None}
    return {**told, "cut": True} if told.pop("cut") else told


def _where(wanted: LetterFilter) -> tuple[str, list[Any]]:
    given = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    parts = [_CONDITIONS[name] for name in given]
    if wanted.status in STATUSES:  # word for word as in the partial indexes, else they are not used
        parts.append(f"status = '{wanted.status}'")
    if wanted.without:
        parts.append(f"reason NOT IN ({', '.join('?' * len(wanted.without))})")
    return " AND ".join(parts) or "1", [*given.values(), *wanted.without]
