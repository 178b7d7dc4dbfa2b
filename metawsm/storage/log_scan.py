"""A stretch of the log by ticket, run and thread: what the stream and the pages of events read, in bounded pieces."""

from __future__ import annotations

from collections.abc import Mapping

from metawsm.bus.ports import Db, Row
from metawsm.messages.codec import EVENT_COLUMNS

# Rows looked at for one page where filters meet that share no index: the page may end here, with nothing found.
SCAN_LIMIT = 2000
_INDEXED = ("thread_id", "run_id", "ticket")  # the narrowest first: its index is used
_HEAD_SIZE = 400  # bytes of an event beside its payload


def scan(
    db: Db, filters: Mapping[str, str | None], after: int, upto: int, limit: int, most: int
) -> tuple[list[Row], int]:
    """The first rows of `forum_events` in (after, upto] that fit all filters, and the last sequence examined.

    At most `limit`, and of about `most` bytes together, but at least one if one was found.
    """
    wanted = {name: value for name in _INDEXED if (value := filters.get(name)) is not None}
    has = " AND ".join(f"{'+' if place else ''}{name} = :{name}" for place, name in enumerate(wanted))
    span = {"after": after, "upto": upto} | wanted
    last = _bound(db, next(iter(wanted)), span) if len(wanted) > 1 else upto
    sql = f"SELECT {EVENT_COLUMNS} FROM forum_events WHERE {_where(has)} ORDER BY sequence LIMIT :rows"
    found: list[Row] = []
    size = 0
    for row in db.execute(sql, span | {"upto": last, "rows": limit + 1}):
        if len(found) == limit or size >= most:
            return found, found[-1][0]
        found.append(row)
        size += wire_size(row[-1])
    return found, last


def _bound(db: Db, index: str, span: Mapping[str, str | int]) -> int:
    """Where SCAN_LIMIT rows of an index end, or the end of the stretch: read from the index alone."""
    where = _where(f"{index} = :{index}")
    sql = f"SELECT sequence FROM forum_events WHERE {where} ORDER BY sequence LIMIT 1 OFFSET {SCAN_LIMIT - 1}"
    return int(next((row[0] for row in db.execute(sql, span)), span["upto"]))


def _where(has: str) -> str:
    return f"{has and has + ' AND '}sequence > :after AND sequence <= :upto"


def wire_size(payload: str) -> int:
    """About the bytes of an event: its payload as an object, and as text with quotes and backslashes escaped."""
    return 2 * len(payload.encode()) + payload.count('"') + payload.count("\\") + _HEAD_SIZE
