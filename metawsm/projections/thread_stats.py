"""forum_thread_stats: how many threads there are of each kind, and how many wait."""

from __future__ import annotations

from typing import Any

from metawsm.bus import cursors
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters
from metawsm.bus.specs import Change, Gathering, ProjectionSpec
from metawsm.bus.thread_order import BY_URGENCY, WAITING, buckets, scope_sql, scope_values
from metawsm.domain.events import Event
from metawsm.domain.thread import Thread

# Threads that are not yet due are counted up to here, then those that are; beyond both it is a lower bound.
COUNT_LIMIT = 20_000
_Kind = tuple[str, str, str, str]
_KEY = ("ticket", "run_id", "state", "priority")
_WAITING = "SELECT waiting_count FROM forum_waiting_counts WHERE ticket = ?"
_AT = ("at_ticket", "at_run", "at_state", "at_priority")
_HAS = " AND ".join(f"{name} = ?" for name in _KEY)


def schema(prefix: str) -> str:
    """Counters per kind (a missing run is ''), and waiting threads per ticket ('' = all tickets)."""
    table, waiting = f"{prefix}forum_thread_stats", f"{prefix}forum_waiting_counts"
    return f"""
CREATE TABLE {table} (
    ticket TEXT NOT NULL, run_id TEXT NOT NULL, state TEXT NOT NULL, priority TEXT NOT NULL,
    thread_count INTEGER NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (ticket, run_id, state, priority)
) WITHOUT ROWID;
CREATE INDEX {table}_run ON {table} (run_id, ticket, state, priority) WHERE run_id <> '';
CREATE TABLE {waiting} (ticket TEXT PRIMARY KEY, waiting_count INTEGER NOT NULL) WITHOUT ROWID;
"""


class _Counters(Gathering):
    """Counts a thread where it stands now, and no longer where it stood before: one statement per counter and batch."""

    def __init__(self, prefix: str) -> None:
        table, waiting = f"{prefix}forum_thread_stats", f"{prefix}forum_waiting_counts"
        self._more = (
            f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET thread_count = thread_count + excluded.thread_count, updated_at = excluded.updated_at"
        )
        self._fewer = f"UPDATE {table} SET thread_count = thread_count + ?, updated_at = ? WHERE {_HAS}"
        self._none = f"DELETE FROM {table} WHERE {_HAS} AND thread_count <= 0"
        self._wait = (
            f"INSERT INTO {waiting} VALUES (?, ?) ON CONFLICT DO UPDATE"
            " SET waiting_count = waiting_count + excluded.waiting_count"
        )
        self._nobody = f"DELETE FROM {waiting} WHERE ticket = ? AND waiting_count <= 0"
        self.begin()

    def begin(self) -> None:
        self.about: Event | None = None
        self._since: dict[_Kind | str, Event] = {}
        self._counts: dict[_Kind, int] = {}
        self._moved_at: dict[_Kind, str] = {}
        self._waits: dict[str, int] = {}

    def __call__(self, db: Db, change: Change) -> None:
        before, after = change.before, change.after
        if after is None:
            return
        old, new = None if before is None else _key(before), _key(after)
        if old != new:
            self._step(new, 1, change.event, after.updated_at)
            if old is not None:
                self._step(old, -1, change.event, after.updated_at)
        step = _waits(after) - (before is not None and _waits(before))
        if step:
            for name in (after.ticket, ""):
                self._waits[name] = self._waits.get(name, 0) + step
                self._since.setdefault(name, change.event)

    def _step(self, key: _Kind, step: int, event: Event, at: str) -> None:
        self._since.setdefault(key, event)
        self._counts[key] = self._counts.get(key, 0) + step
        self._moved_at[key] = at

    def finish(self, db: Db) -> None:
        for key, step in self._counts.items():
            self.about = self._since[key]
            if step > 0:
                db.run(self._more, (*key, step, self._moved_at[key]))
            else:
                db.run(self._fewer, (step, self._moved_at[key], *key))
                db.run(self._none, key)
        for name, step in self._waits.items():
            self.about = self._since[name]
            if step:
                db.run(self._wait, (name, step))
            if step < 0:
                db.run(self._nobody, (name,))


def _key(thread: Thread) -> _Kind:
    return thread.ticket, thread.run_id or "", thread.state, thread.priority


def _waits(thread: Thread) -> bool:
    return thread.waiting_since is not None


SPEC = ProjectionSpec(
    name="thread_stats",
    version=1,
    tables=("forum_thread_stats", "forum_waiting_counts"),
    schema=schema,
    build=_Counters,
)


def stats(
    db: Db, ticket: str | None, run_id: str | None, limit: int, cursor: str | None, *, due: str
) -> dict[str, Any]:
    """`{stats: [...], sla: {...}, next_cursor?}`: counters by ticket, run, state, priority, and who waits.

    `due` is the moment (timestamp) up to which a wait that began is a breach.
    """
    question = cursors.fingerprint("stats", ticket, run_id)
    place = cursors.decode(cursor, question, (str,) * 4) if cursor else None
    values: dict[str, Any] = {"ticket": ticket, "run_id": run_id}
    if place:
        values |= dict(zip(_AT, place, strict=True))
    sql = _page_sql(ticket is not None, run_id is not None, place is not None)
    rows = list(db.execute(sql, values | {"limit": limit + 1}))
    told: dict[str, Any] = {"stats": [_counter(row) for row in rows[:limit]], "sla": _sla(db, ticket, run_id, due)}
    if len(rows) > limit:
        told["next_cursor"] = cursors.encode(question, rows[limit - 1][:4])
    return told


def _page_sql(of_ticket: bool, of_run: bool, onwards: bool) -> str:
    has = ["ticket = :ticket"] * of_ticket + ["run_id = :run_id AND run_id <> ''"] * of_run
    # A column that is fixed stays out of the comparison, so that the index is entered at the place itself.
    free = [n for n in range(4) if (n, True) not in ((0, of_ticket), (1, of_run))]
    if onwards:
        has.append(f"({', '.join(_KEY[n] for n in free)}) > ({', '.join(f':{_AT[n]}' for n in free)})")
    where = f"WHERE {' AND '.join(has)}" if has else ""
    return f"SELECT * FROM forum_thread_stats {where} ORDER BY {', '.join(_KEY)} LIMIT :limit"


def _counter(row: Any) -> dict[str, Any]:
    names = (*_KEY, "thread_count", "updated_at")
    return {name: value for name, value in zip(names, row, strict=True) if value != ""}


def _sla(db: Db, ticket: str | None, run_id: str | None, due: str) -> dict[str, Any]:
    filters = Filters(ticket=ticket, run_id=run_id)
    scope, values = scope_sql(filters), scope_values(filters) | {"due": due, "limit": COUNT_LIMIT}
    not_due = _one(db, _count_sql(scope, ">"), values)
    waiting = None if run_id else _one(db, _WAITING, (ticket or "",)) or 0
    if waiting is not None and not_due < COUNT_LIMIT:
        told = {"waiting_count": waiting, "breached_count": waiting - not_due}
    else:
        breached = _one(db, _count_sql(scope, "<="), values)
        told = {"waiting_count": breached + not_due if waiting is None else waiting, "breached_count": breached}
        if breached == COUNT_LIMIT or (waiting is None and not_due == COUNT_LIMIT):
            told["counts_are_lower_bounds"] = True
    since = _one(db, _oldest_sql(scope), values)
    return told | ({"oldest_waiting_since": since} if since else {})


def _one(db: Db, sql: str, values: Any) -> Any:
    for row in db.execute(sql, values):
        return row[0]
    return None


def _count_sql(scope: str, side: str) -> str:
    arms = _arms(scope, f"SELECT 1 FROM forum_thread_views WHERE {{place}} AND waiting_since {side} :due")
    return f"SELECT count(*) FROM ({' UNION ALL '.join(arms)} LIMIT :limit)"


def _oldest_sql(scope: str) -> str:
    arms = _arms(scope, "SELECT min(waiting_since) AS since FROM forum_thread_views WHERE {place}")
    return f"SELECT min(since) FROM ({' UNION ALL '.join(arms)})"


def _arms(scope: str, select: str) -> list[str]:
    places = (f"{scope}bucket = {b} AND priority_rank = {r}" for b in buckets(None, WAITING) for r in BY_URGENCY)
    return [select.format(place=f"{place} AND waiting_since IS NOT NULL") for place in places]
