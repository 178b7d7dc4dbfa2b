"""Pages of the log itself: events in order, and one thread with its posts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from metawsm.bus import cursors
from metawsm.bus.paging import portion
from metawsm.bus.ports import Db, Row
from metawsm.bus.reading import Viewer, shown
from metawsm.domain.errors import NotFound
from metawsm.messages.codec import EVENT_COLUMNS
from metawsm.messages.json_text import to_json
from metawsm.projections import thread_views
from metawsm.storage import meta, receipts
from metawsm.storage.log_scan import scan, wire_size

# UTF-8 of what makes a page long; beyond, it ends short, with at least one row.
PAGE_BYTES = 4 * 1024 * 1024
_HEAD_MEMBERS = tuple(name.strip() for name in EVENT_COLUMNS.split(","))[1:-1]
_LAST = "SELECT max(sequence) FROM forum_events"
_POSTS = """
SELECT post_id, sequence, kind, body, signal_json, actor_type, actor_name, created_at
FROM forum_posts WHERE thread_id = ? AND sequence < ? ORDER BY sequence DESC LIMIT ?
"""
_EVENTS = f"""
SELECT {EVENT_COLUMNS} FROM forum_events WHERE thread_id = ? AND sequence < ? AND sequence >= ?
ORDER BY sequence DESC
"""
_OLDER = "SELECT 1 FROM forum_posts WHERE thread_id = ? AND sequence < ? LIMIT 1"
_HEAD_SIZE = 400  # bytes of a post beside its texts
_END = 2**62


def event_object(row: Row) -> dict[str, Any]:
    """The wire form (contract, section 2) of a `forum_events` row in the order of EVENT_COLUMNS, as an object."""
    head = {name: value for name, value in zip(_HEAD_MEMBERS, row[1:-1], strict=True) if value is not None}
    return {"sequence": row[0], "envelope": head, "payload_json": row[-1], "payload": json.loads(row[-1])}


def events_page(
    db: Db, filters: Mapping[str, str | None], cursor: str | int | None, limit: int, epoch: int | None = None
) -> dict[str, Any]:
    """`{events, next_cursor, epoch}`: events after `cursor` in ascending order, by ticket, run_id and thread_id.

    `next_cursor` is the last sequence examined: the head of the log when no more match now. A cursor beyond the head,
    or of another `epoch`, gets `reset` with the reason: what the client has seen may be lost. Raises Malformed.
    """
    now = meta.epoch(db)
    return _page(db, filters, cursors.sequence(cursor), limit, now if epoch is None else epoch, now) | {"epoch": now}


def _page(db: Db, filters: Mapping[str, str | None], after: int, limit: int, epoch: int, now: int) -> dict[str, Any]:
    head = _head(db)
    if epoch != now:
        return _events([], head) | {"reset": f"a backup was restored: this is epoch {now}, the cursor is of {epoch}"}
    if after > head:  # as on the stream
        return _events([], head) | {"reset": f"cursor {after} is beyond the head {head}"}
    return _events(*scan(db, filters, after, head, limit, PAGE_BYTES))


def _events(found: list[Row], cursor: int) -> dict[str, Any]:
    return {"events": [event_object(row) for row in found], "next_cursor": cursor}


def _head(db: Db) -> int:
    return int(next((row[0] for row in db.execute(_LAST)), None) or 0)


def thread_detail(
    db: Db,
    thread_id: str,
    posts_before: int | None,
    limit: int,
    *,
    escalation_minutes: int,
    viewer: Viewer | None = None,
) -> dict[str, Any]:
    """`{thread, posts, events, posts_before?}`: the newest posts before a sequence, and all events from the oldest of
    them on, each in ascending order.

    `posts_before` is there when older ones exist: hand it back to read them. Posts and events are each at most half of
    PAGE_BYTES. Events that are more end the page, and its posts, where they end; but the newest posts come with the
    first page, and once more with their events. Raises NotFound.
    """
    thread = thread_views.finder()(db, thread_id)
    if thread is None:
        raise NotFound(f"there is no thread {thread_id}")
    before = _END if posts_before is None else posts_before
    posts = list(portion(db.execute(_POSTS, (thread_id, before, limit)), _post_size, PAGE_BYTES // 2))
    end = posts[-1][1] if posts else before
    rows = db.execute(_EVENTS, (thread_id, before, end))
    events = list(portion(rows, lambda row: wire_size(row[-1]), PAGE_BYTES // 2))
    if events and events[-1][0] > end:
        end = events[-1][0]
        beside = [post for post in posts if post[1] >= end]
        posts = beside or (posts if posts_before is None else [])
    older = any(db.execute(_OLDER, (thread_id, end)))
    told: dict[str, Any] = {
        "thread": shown(db, thread, viewer, escalation_minutes),
        "posts": [_post_object(db, row) for row in reversed(posts)],
        "events": [event_object(row) for row in reversed(events)],
    }
    return told | ({"posts_before": end} if older else {})


def _post_size(row: Row) -> int:
    return len(to_json(row[3]).encode()) + len(row[4] or "") + _HEAD_SIZE


def _post_object(db: Db, row: Row) -> dict[str, Any]:
    names = ("post_id", "sequence", "kind", "body", "signal", "actor_type", "actor_name", "created_at")
    post = {name: value for name, value in zip(names, row, strict=True) if value is not None}
    if "signal" in post:
        post["signal"] = json.loads(post["signal"])
    read_by = receipts.of_post(db, post["post_id"]) if post["kind"] != "post" else []
    return post | ({"receipts": read_by} if read_by else {})
