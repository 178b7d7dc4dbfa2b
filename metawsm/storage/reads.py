"""Who has seen what: the rows that say so, and the ranges that keep the unseen queue quick (see `bus.unseen`)."""

from __future__ import annotations

from typing import Any

from metawsm.bus.ports import Db
from metawsm.bus.projecting import position
from metawsm.bus.reading import Filters, Viewer
from metawsm.bus.thread_order import RANKS, buckets, by_activity, scope_sql, scope_values
from metawsm.bus.unseen import range_at, range_key
from metawsm.domain.thread import Thread

# Neighbours looked at on either side of a thread that becomes seen: bounds the work of one mark to under 2 ms.
_NEIGHBOURS = 4
_SAVE = """
INSERT INTO forum_thread_reads VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
SET last_seen_event_sequence = excluded.last_seen_event_sequence, updated_at = excluded.updated_at
"""
_OF = "viewer_type = :viewer_type AND viewer_id = :viewer_id AND scope = :scope AND priority_rank = :rank"
_DROP = f"DELETE FROM forum_seen_ranges WHERE {_OF} AND last_sequence BETWEEN :first AND :last"
_ADD = "INSERT INTO forum_seen_ranges VALUES (:viewer_type, :viewer_id, :scope, :rank, :last, :first)"
_IS_SEEN = """
SELECT 1 FROM forum_thread_views v JOIN forum_thread_reads r
    ON r.viewer_type = ? AND r.viewer_id = ? AND r.thread_id = v.thread_id
WHERE v.opened_sequence = ? AND r.last_seen_event_sequence >= v.version_sequence
"""
_ALL = buckets(None)


def save_seen(db: Db, viewer_type: str, viewer_id: str, thread: Thread, sequence: int, now: str) -> None:
    """Remember that a viewer has seen `thread` (as the state tables have it) up to `sequence`; 0 makes it unseen."""
    db.execute(_SAVE, (viewer_type, viewer_id, thread.thread_id, sequence, now))
    viewer = Viewer(viewer_type, viewer_id)
    for filters in _scopes(thread):
        key = range_key(viewer, filters, RANKS[thread.priority])
        if sequence >= thread.version_sequence:
            _cover(db, viewer, filters, key, thread.last_event_sequence)
        else:
            _uncover(db, key, thread.last_event_sequence)


def _scopes(thread: Thread) -> list[Filters]:
    scopes = [Filters(), Filters(ticket=thread.ticket)]
    return [*scopes, Filters(run_id=thread.run_id)] if thread.run_id else scopes


def _cover(db: Db, viewer: Viewer, filters: Filters, key: dict[str, Any], place: int) -> None:
    """Put the place into a range that also takes in its seen neighbours and their ranges."""
    first, last = range_at(db, key, place) or (place, place)
    # Neighbours are read from the views: beyond their position they do not know yet who stands there.
    if place <= position(db):
        first = _reach(db, viewer, filters, key, first, -1)
        last = _reach(db, viewer, filters, key, last, 1)
    db.execute(_DROP, key | {"first": first, "last": last})
    db.execute(_ADD, key | {"first": first, "last": last})


def _reach(db: Db, viewer: Viewer, filters: Filters, key: dict[str, Any], edge: int, step: int) -> int:
    """How far a range that ends at `edge` can grow in the direction of `step`."""
    sql = by_activity(scope_sql(filters), _ALL, "ASC" if step > 0 else "DESC") + " LIMIT 1"
    for _ in range(_NEIGHBOURS):
        values = scope_values(filters) | {"rank": key["rank"], "top": edge + step}
        neighbour = next(iter(db.execute(sql, values)), None)
        if neighbour is None:
            return edge
        place, thread = neighbour
        held = range_at(db, key, place)
        if held is not None:
            edge = held[0 if step < 0 else 1]
        elif any(db.execute(_IS_SEEN, (viewer.type, viewer.id, thread))):
            edge = place
        else:
            return edge
    return edge


def _uncover(db: Db, key: dict[str, Any], place: int) -> None:
    """Take the place out of the range that holds it."""
    held = range_at(db, key, place)
    if held is None:
        return
    first, last = held
    db.execute(_DROP, key | {"first": last, "last": last})
    for part in ((first, place - 1), (place + 1, last)):
        if part[0] <= part[1]:
            db.execute(_ADD, key | {"first": part[0], "last": part[1]})
