"""Reading the log for the relay, the refill, the stream and debugging."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from metawsm.bus.paging import portion
from metawsm.bus.ports import Db, Row
from metawsm.bus.work import Queued
from metawsm.messages.codec import EVENT_COLUMNS, wire_event_of_row
from metawsm.messages.topics import Topics
from metawsm.storage.log_scan import scan

Wired = tuple[int, str, str | None, str | None, str]
"""An event as (sequence, ticket, run_id, thread_id, wire text)."""

CHUNK_CHARS = 4 * 1024 * 1024  # of payloads read at once for Redis
SHOWN_CHARS = 300  # of a payload, where people look
_AFTER = f"SELECT {EVENT_COLUMNS} FROM forum_events WHERE sequence > ? ORDER BY sequence LIMIT ?"
_HEAD = "SELECT coalesce(max(sequence), 0) FROM forum_events"
# `status <> 'done'` is word for word the condition of the index: without it the whole table is read at each reconnect.
OLDEST_WAITING = """
SELECT min(sequence) FROM forum_outbox WHERE status = 'pending' AND status <> 'done' AND kind = 'event'
"""
_CUT = f"iif(length(payload_json) > {SHOWN_CHARS}, substr(payload_json, 1, {SHOWN_CHARS}) || '…', payload_json)"
_AT = "SELECT occurred_at FROM forum_events WHERE sequence >= ? ORDER BY sequence LIMIT 1"


def head(db: Db) -> int:
    """The newest sequence; 0 for an empty log."""
    return int(next(iter(db.execute(_HEAD)))[0])


def matching(
    db: Db, after: int, upto: int, limit: int, most: int, filters: Mapping[str, str | None]
) -> tuple[list[Wired], int]:
    """What `scan` finds in (after, upto], as a stream needs it, and the last sequence examined."""
    rows, examined = scan(db, filters, after, upto, limit, most)
    return [_wire(row) for row in rows], examined


def _wire(row: Row) -> Wired:
    return row[0], row[7], row[6], row[5], wire_event_of_row(row)


def to_publish(db: Db, topics: Topics, after: int, limit: int) -> list[Queued]:
    """The events after a sequence as the relay publishes them, fewer if they are large; their row id is unknown (0)."""
    return [
        Queued(
            0,
            "event",
            row[1],
            topics.event(row[2]),
            row[5] or row[6] or "",
            wire_event_of_row(row),
            row[2],
            row[12],
            row[0],
        )
        for row in portion(db.execute(_AFTER, (after, limit)), lambda row: len(row[-1]), CHUNK_CHARS)
    ]


def published(db: Db) -> int:
    """The newest sequence that was in the feed before: the one ahead of the oldest event that waits, else the head."""
    waiting = next(iter(db.execute(OLDEST_WAITING)))[0]
    return head(db) if waiting is None else int(waiting) - 1


def before_window(db: Db, since: str, most: int) -> int:
    """The sequence before the first event at or after the time `since`, or before the newest `most`, the later one.

    Times are nearly in sequence order, so bisecting finds the place to within clock jumps.
    """
    low, high = max(0, head(db) - most), head(db)
    moment = datetime.fromisoformat(since)
    while low < high:
        middle = (low + high) // 2
        if datetime.fromisoformat(str(next(iter(db.execute(_AT, (middle + 1,))))[0])) < moment:
            low = middle + 1
        else:
            high = middle
    return low


def debug_rows(db: Db, query: dict[str, str], limit: int) -> dict[str, Any]:
    """The newest events (long payloads cut), threads and control threads, for GET /forum/debug."""
    where, values = _scope(query)
    shown = EVENT_COLUMNS.replace("payload_json", _CUT)
    events = db.execute(f"SELECT {shown} FROM forum_events {where} ORDER BY sequence DESC LIMIT ?", (*values, limit))
    threads = db.execute(
        "SELECT thread_id, ticket, run_id, title, state, priority, last_event_sequence, updated_at"
        f" FROM forum_threads {where} ORDER BY last_event_sequence DESC LIMIT ?",
        (*values, limit),
    )
    controls = db.execute(
        f"SELECT run_id, agent_name, ticket, thread_id FROM forum_control_threads {where} LIMIT ?", (*values, limit)
    )
    event_names = [name.strip() for name in EVENT_COLUMNS.split(",")]
    thread_names = ("thread_id", "ticket", "run_id", "title", "state", "priority", "last_event_sequence", "updated_at")
    return {
        "events": [dict(zip(event_names, row, strict=True)) for row in events],
        "threads": [dict(zip(thread_names, row, strict=True)) for row in threads],
        "control_threads": [
            dict(zip(("run_id", "agent_name", "ticket", "thread_id"), row, strict=True)) for row in controls
        ],
    }


def _scope(query: dict[str, str]) -> tuple[str, list[str]]:
    names = [name for name in ("ticket", "run_id") if query.get(name)]
    where = "WHERE " + " AND ".join(f"{name} = ?" for name in names) if names else ""
    return where, [query[name] for name in names]
