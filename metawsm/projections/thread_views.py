"""forum_thread_views: every thread as lists and queues show it, in an order that stays quick at any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import compress
from operator import ne
from typing import Any

import attrs

from metawsm.bus import cursors
from metawsm.bus.paging import Head, Place, Stretch, read_cursor, read_page, write_cursor
from metawsm.bus.ports import Db, Row
from metawsm.bus.projecting import position
from metawsm.bus.reading import Filters, Viewer, is_unseen, shown
from metawsm.bus.specs import Change, ProjectionSpec
from metawsm.bus.thread_order import (
    BLOCKS,
    IDLE,
    RANKS,
    WAITING,
    WAITS,
    bucket_of,
    buckets,
    by_activity,
    by_wait,
    ranks,
    scope_sql,
    scope_values,
)
from metawsm.bus.unseen import not_ranged
from metawsm.domain.errors import InvalidFields, Malformed
from metawsm.domain.thread import Thread
from metawsm.domain.view import timestamp
from metawsm.messages.thread_rows import COLUMN_LIST, COLUMNS, DDL, from_row, to_row

# `opened_sequence` (of the opening event) is the row's own key: it never changes and a rebuild gives the same.
_COLUMNS = (*COLUMNS, "priority_rank", "bucket", "opened_sequence")
_THREAD_COLUMNS = DDL.replace("thread_id TEXT PRIMARY KEY", "thread_id TEXT NOT NULL UNIQUE")
_WAITS = "waiting_since IS NOT NULL"


def schema(prefix: str) -> str:
    """The table and its indexes. Those that end in a waiting time hold waiting threads only and move seldom."""
    table = f"{prefix}forum_thread_views"
    return f"""
CREATE TABLE {table} ({_THREAD_COLUMNS},
    priority_rank INTEGER NOT NULL, bucket INTEGER NOT NULL, opened_sequence INTEGER PRIMARY KEY);
CREATE INDEX {table}_all ON {table} (priority_rank, last_event_sequence);
CREATE INDEX {table}_bucket ON {table} (bucket, priority_rank, last_event_sequence);
CREATE INDEX {table}_ticket ON {table} (ticket, bucket, priority_rank, last_event_sequence);
CREATE INDEX {table}_run ON {table} (run_id, bucket, priority_rank, last_event_sequence, ticket)
    WHERE run_id IS NOT NULL;
CREATE INDEX {table}_assignee ON {table} (assignee_name, bucket, priority_rank, last_event_sequence)
    WHERE assignee_name IS NOT NULL;
CREATE INDEX {table}_assignee_ticket ON {table} (assignee_name, ticket, bucket, priority_rank, last_event_sequence)
    WHERE assignee_name IS NOT NULL;
CREATE INDEX {table}_assignee_run ON {table} (assignee_name, run_id, bucket, priority_rank, last_event_sequence, ticket)
    WHERE assignee_name IS NOT NULL AND run_id IS NOT NULL;
CREATE INDEX {table}_due ON {table} (bucket, priority_rank, waiting_since) WHERE {_WAITS};
CREATE INDEX {table}_ticket_due ON {table} (ticket, bucket, priority_rank, waiting_since) WHERE {_WAITS};
CREATE INDEX {table}_run_due ON {table} (run_id, bucket, priority_rank, waiting_since)
    WHERE run_id IS NOT NULL AND {_WAITS};
CREATE INDEX {table}_assignee_due ON {table} (assignee_name, bucket, priority_rank, waiting_since)
    WHERE assignee_name IS NOT NULL AND {_WAITS};
CREATE INDEX {table}_assignee_ticket_due ON {table} (assignee_name, ticket, bucket, priority_rank, waiting_since)
    WHERE assignee_name IS NOT NULL AND {_WAITS};
"""


def build(prefix: str) -> Callable[[Db, Change], None]:
    """Insert the row, or update the columns that changed: an index over others is not touched."""
    table = f"{prefix}forum_thread_views"
    insert = f"INSERT INTO {table} VALUES ({','.join('?' * len(_COLUMNS))})"
    updates: dict[tuple[str, ...], str] = {}

    def apply(db: Db, change: Change) -> None:
        if change.after is None:
            return
        new = _values(change.after)
        if change.before is None:
            db.run(insert, (*new, change.event.sequence))
            return
        changed = list(map(ne, _values(change.before), new))
        names = tuple(compress(_COLUMNS, changed))
        sql = updates.get(names) or updates.setdefault(names, _update(table, names))
        db.run(sql, (*compress(new, changed), change.after.thread_id))

    return apply


def _values(thread: Thread) -> list[object]:
    return [*to_row(thread), RANKS[thread.priority], bucket_of(thread)]


def _update(table: str, names: tuple[str, ...]) -> str:
    return f"UPDATE {table} SET {','.join(f'{name}=?' for name in names)} WHERE thread_id=?"


def finder(prefix: str = "") -> Callable[[Db, str], Thread | None]:
    """A function that finds a thread's newest view by id."""
    sql = f"SELECT {COLUMN_LIST} FROM {prefix}forum_thread_views WHERE thread_id = ?"

    def find(db: Db, thread_id: str) -> Thread | None:
        for row in db.execute(sql, (thread_id,)):
            return from_row(row)
        return None

    return find


SPEC = ProjectionSpec(name="thread_views", version=2, tables=("forum_thread_views",), schema=schema, build=build)

QUEUES = ("unseen", "unanswered", "mine", "breached")
SORTS = ("priority", "attention")
_BY_KEY = f"SELECT {COLUMN_LIST} FROM forum_thread_views WHERE opened_sequence = ?"
_EVER = "9999"
Fits = Callable[[Db, Thread], bool]


def list_threads(
    db: Db,
    filters: Filters,
    limit: int,
    cursor: str | None,
    *,
    escalation_minutes: int,
    now: str,
    viewer: Viewer | None = None,
    sort: str | None = None,
) -> dict[str, Any]:
    """`{threads: [view], next_cursor?}` by priority, then newest event; or by attention: breached, blocks a run, due.

    Raises Malformed for a bad cursor or sort.
    """
    if sort not in (None, *SORTS):
        raise Malformed(f"sort must be one of: {', '.join(SORTS)}")
    make = _by_attention if sort == "attention" else _by_priority
    question = cursors.fingerprint("list", filters, sort)
    page = _Pages(question, escalation_minutes, now, viewer)
    return page.read(db, limit, cursor, lambda head: make(filters, head), _everything)


def queue(
    db: Db,
    kind: str,
    filters: Filters,
    viewer: Viewer | None,
    limit: int,
    cursor: str | None,
    *,
    escalation_minutes: int,
    now: str,
) -> dict[str, Any]:
    """`{threads: [view], next_cursor?}` of a queue, by priority, then newest event (breached: longest wait).

    unseen: the newest event not by `system` is news to the viewer; unanswered: somebody has to answer; mine: assigned
    to the viewer and not closed; breached: waiting longer than allowed. Where the viewer's reading and filters on state
    or assignee meet, a page may be short and still have a `next_cursor`. Raises Malformed for a bad cursor or kind,
    InvalidFields for a missing viewer.
    """
    if kind not in QUEUES:
        raise Malformed(f"type must be one of: {', '.join(QUEUES)}")
    if viewer is None and kind in ("unseen", "mine"):
        raise InvalidFields(
            f"the queue {kind} needs viewer_type and viewer_id",
            fields={"viewer_type": ["is required"], "viewer_id": ["is required"]},
        )
    looking = viewer or Viewer("", "")
    question = cursors.fingerprint(kind, filters, looking if kind in ("unseen", "mine") else None)
    page = _Pages(question, escalation_minutes, now, viewer)
    return page.read(db, limit, cursor, lambda head: _stretches(kind, filters, looking, head), _fits(kind, looking))


def _stretches(kind: str, filters: Filters, viewer: Viewer, head: Head) -> list[Stretch]:
    places = buckets(filters.state, WAITING)
    if kind == "unanswered":
        return [_active(filters, places, rank, head) for rank in ranks(filters.priority)]
    if kind == "breached":
        return [_waiting(filters, places, (rank,), "", head.due) for rank in ranks(filters.priority)]
    if kind == "mine":
        if filters.assignee not in (None, viewer.id):
            return []
        mine, open_ones = attrs.evolve(filters, assignee=viewer.id), buckets(filters.state, without="closed")
        return [_active(mine, open_ones, rank, head) for rank in ranks(filters.priority)]
    places = buckets(filters.state)
    return [not_ranged(filters, places, rank, head.sequence, viewer) for rank in ranks(filters.priority)]


def _fits(kind: str, viewer: Viewer) -> Fits:
    if kind == "unseen":
        return lambda db, thread: is_unseen(db, viewer, thread)
    if kind == "mine":
        return lambda _db, thread: thread.assignee_type == viewer.type
    return _everything


def _everything(_db: Db, _thread: Thread) -> bool:
    return True


def _by_priority(filters: Filters, head: Head) -> list[Stretch]:
    places = buckets(filters.state)
    return [_active(filters, places, rank, head) for rank in ranks(filters.priority)]


def _by_attention(filters: Filters, head: Head) -> list[Stretch]:
    of = ranks(filters.priority)
    idle, waits, blocks = (buckets(filters.state, (how,)) for how in (IDLE, WAITS, BLOCKS))
    return [
        *(_waiting(filters, places, of, "", head.due) for places in (blocks, waits)),
        _waiting(filters, blocks, of, head.due, _EVER),
        *(_active(filters, blocks, rank, head, "waiting_since IS NULL AND ") for rank in of),
        _waiting(filters, waits, of, head.due, _EVER),
        *(_active(filters, idle, rank, head) for rank in of),
    ]


def _active(filters: Filters, places: tuple[int, ...], rank: int, head: Head, beside: str = "") -> Stretch:
    sql = by_activity(scope_sql(filters) + beside, places)
    values = scope_values(filters) | {"rank": rank}

    def walk(db: Db, after: Place | None) -> Iterable[Row]:
        top = head.sequence if after is None else min(head.sequence, after[0] - 1)
        return db.execute(sql, values | {"top": top})

    return Stretch(walk)


def _waiting(filters: Filters, places: tuple[int, ...], of: tuple[int, ...], after: str, until: str) -> Stretch:
    sql = by_wait(scope_sql(filters, by_wait=True), places, of)
    values = scope_values(filters) | {"after": after, "until": until}

    def walk(db: Db, place: Place | None) -> Iterable[Row]:
        since, thread = place or ("", 0)
        return db.execute(sql, values | {"since": since, "id": thread})

    return Stretch(walk, by=str)


@attrs.frozen
class _Pages:
    """Reads pages that answer one question."""

    question: int
    escalation_minutes: int
    now: str
    viewer: Viewer | None

    def read(
        self, db: Db, limit: int, cursor: str | None, plan: Callable[[Head], list[Stretch]], fits: Fits
    ) -> dict[str, Any]:
        """The page from the cursor on."""
        head, begin = read_cursor(cursor, self.question) if cursor else (self._head(db), None)

        def fetch(db: Db, key: int) -> Thread | None:
            thread = from_row(_row(db, key))
            # What moved since the first page has been on an earlier page, or will be on the next first one.
            return thread if thread.last_event_sequence <= head.sequence and fits(db, thread) else None

        page = read_page(db, plan(head), begin, limit, fetch)
        told: dict[str, Any] = {
            "threads": [shown(db, thread, self.viewer, self.escalation_minutes) for thread in page.threads]
        }
        return told | ({"next_cursor": write_cursor(self.question, head, page.end)} if page.end else {})

    def _head(self, db: Db) -> Head:
        due = datetime.fromisoformat(self.now) - timedelta(minutes=self.escalation_minutes)
        return Head(position(db), timestamp(due))


def _row(db: Db, key: int) -> Row:
    return next(iter(db.execute(_BY_KEY, (key,))))
