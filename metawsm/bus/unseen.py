"""What a viewer has not seen, found at the same speed whether it is everything or next to nothing.

`forum_thread_reads` says what is seen. `forum_seen_ranges` only lets a walk leap: in a range of a scope (all threads,
one ticket, one run) and rank, every thread whose newest event lies there has been seen. A sequence belongs to one
thread for ever, and a thread that moves gets a higher one, so a range never becomes wrong by itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from metawsm.bus.paging import NO_ROW, Place, Stretch
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters, Viewer
from metawsm.bus.thread_order import by_activity, scope_sql, scope_values

_RANGE = """
SELECT first_sequence, last_sequence FROM forum_seen_ranges
WHERE viewer_type = :viewer_type AND viewer_id = :viewer_id AND scope = :scope AND priority_rank = :rank
    AND last_sequence >= :place
ORDER BY last_sequence LIMIT 1
"""


# Seen threads passed one by one before the walk begins anew below the range: about as many as that costs, per arm.
_PATIENCE = 6


def range_scope(filters: Filters) -> str:
    """The narrowest scope that has ranges and holds all threads of these filters."""
    if filters.run_id is not None:
        return f"run:{filters.run_id}"
    return "" if filters.ticket is None else f"ticket:{filters.ticket}"


def range_key(viewer: Viewer, filters: Filters, rank: int) -> dict[str, Any]:
    """The values that name a row of ranges."""
    return {"viewer_type": viewer.type, "viewer_id": viewer.id, "scope": range_scope(filters), "rank": rank}


def range_at(db: Db, key: dict[str, Any], place: int) -> tuple[int, int] | None:
    """The range that holds this sequence, or None."""
    for first, last in db.execute(_RANGE, key | {"place": place}):
        return (first, last) if first <= place else None
    return None


def not_ranged(filters: Filters, places: tuple[int, ...], rank: int, head: int, viewer: Viewer) -> Stretch:
    """The threads of a rank, the most recent first, without those in a range of the viewer."""
    sql = by_activity(scope_sql(filters), places)
    values = scope_values(filters) | {"rank": rank}
    key = range_key(viewer, filters, rank)
    patience = _PATIENCE * (1 + sql.count("UNION"))

    def walk(db: Db, after: Place | None) -> Iterator[Place]:
        top: int | None = head if after is None else min(head, after[0] - 1)
        while top is not None:
            top = yield from leap(db, top)

    def leap(db: Db, top: int) -> Generator[Place, None, int | None]:
        held, passed = top + 1, 0
        for place, thread in db.execute(sql, values | {"top": top}):
            if place >= held:
                passed += 1
                if passed == patience:
                    yield held, NO_ROW
                    return held - 1
            elif found := range_at(db, key, place):
                held, passed = found[0], 0
            else:
                yield place, thread
        return None

    return Stretch(walk)
