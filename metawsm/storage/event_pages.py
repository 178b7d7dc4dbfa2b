"""Pages of the log itself: events in order, and one thread with its posts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from metawsm.bus import cursors
from metawsm.bus.ports import Db, Row
from metawsm.bus.reading import Viewer, shown
from metawsm.domain.errors import NotFound
from metawsm.messages.codec import EVENT_COLUMNS
from metawsm.projections import thread_views

# Rows looked at for one page: where filters meet that share no index, a page may end here.
SCAN_LIMIT = 2000
_HEAD_MEMBERS = tuple(name.strip() for name in EVENT_COLUMNS.split(","))[1:-1]
_INDEXED = ("thread_id", "run_id", "ticket")
_LAST = "SELECT max(sequence) FROM forum_events"
_POSTS = """
SELECT post_id, sequence, kind, body, signal_json, actor_type, actor_name, created_at
FROM forum_posts WHERE thread_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?
"""
_EVENTS = f"""
SELECT {EVENT_COLUMNS} FROM forum_events WHERE thread_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?
"""
_END = 2**62


def event_object(row: Row) -> dict[str, Any]:
    """The wire form (contract, section 2) of a `forum_events` row in the order of EVENT_COLUMNS, as an object."""
    head = {name: value for name, value in zip(_HEAD_MEMBERS, row[1:-1], strict=True) if value is not None}
    return {"sequence": row[0], "envelope": head, "payload_json": row[-1], "payload": json.loads(row[-1])}


def events_page(db: Db, filters: Mapping[str, str | None], cursor: str | int | None, limit: int) -> dict[str, Any]:
    """`{events, next_cursor}`: events after `cursor` in ascending order, by ticket, run_id and thread_id.

    `next_cursor` is the last sequence examined: the head of the log when no more match now. Raises Malformed.
    """
    after = cursors.sequence(cursor)
    wanted = {name: value for name in _INDEXED if (value := filters.get(name)) is not None}
    rows = list(db.execute(_page_sql(next(iter(wanted), None)), {"after": after, **_window(wanted, limit)} | wanted))
    column = {name: 1 + _HEAD_MEMBERS.index(name) for name in wanted}
    found = [row for row in rows if all(row[column[name]] == value for name, value in wanted.items())]
    return {"events": [event_object(row) for row in found[:limit]], "next_cursor": _next(db, after, rows, found, limit)}


def _window(wanted: Mapping[str, str], limit: int) -> dict[str, int]:
    return {"rows": limit + 1 if len(wanted) < 2 else SCAN_LIMIT}


def _page_sql(index: str | None) -> str:
    has = f"{index} = :{index} AND " if index else ""
    return f"SELECT {EVENT_COLUMNS} FROM forum_events WHERE {has}sequence > :after ORDER BY sequence LIMIT :rows"


def _next(db: Db, after: int, rows: list[Row], found: list[Row], limit: int) -> int:
    if len(found) > limit:
        return int(found[limit - 1][0])
    if len(rows) >= SCAN_LIMIT:
        return int(rows[-1][0])
    head = next((row[0] for row in db.execute(_LAST)), None) or 0
    return max(after, int(head))


def thread_detail(
    db: Db,
    thread_id: str,
    posts_before: int | None,
    limit: int,
    *,
    escalation_minutes: int,
    viewer: Viewer | None = None,
) -> dict[str, Any]:
    """`{thread, posts, events, posts_before?}`: the newest posts and events before a sequence, each in ascending order.

    `posts_before` is there when older posts exist: hand it back to read them. Raises NotFound.
    """
    thread = thread_views.finder()(db, thread_id)
    if thread is None:
        raise NotFound(f"there is no thread {thread_id}")
    before = _END if posts_before is None else posts_before
    posts = list(db.execute(_POSTS, (thread_id, before, limit + 1)))
    events = list(db.execute(_EVENTS, (thread_id, before, limit)))
    told: dict[str, Any] = {
        "thread": shown(db, thread, viewer, escalation_minutes),
        "posts": [_post_object(row) for row in reversed(posts[:limit])],
        "events": [event_object(row) for row in reversed(events)],
    }
    return told | ({"posts_before": posts[limit - 1][1]} if len(posts) > limit else {})


def _post_object(row: Row) -> dict[str, Any]:
    names = ("post_id", "sequence", "kind", "body", "signal", "actor_type", "actor_name", "created_at")
    post = {name: value for name, value in zip(names, row, strict=True) if value is not None}
    if "signal" in post:
        post["signal"] = json.loads(post["signal"])
    return post
