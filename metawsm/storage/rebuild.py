"""Making the read models anew while they serve: short writer jobs that fill other tables, swap them in, clear the old.

Where a rebuild stands is a row of `metawsm_meta`, moved in the transaction of each step. So a crash or a failed commit
leaves nothing that the next step does not know how to go on from.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apsw
from attrs import asdict, evolve, frozen

from metawsm.bus.fresh import FreshEvents
from metawsm.bus.ports import Db
from metawsm.bus.projecting import Projector, Skip, position
from metawsm.bus.specs import ProjectionSpec
from metawsm.projections import ALL, thread_views
from metawsm.storage.errors import translate

STEP_SECONDS = 0.003
# So few events are applied in the step that swaps: it holds the writer longest. Each time that the end was reached with
# more, as many more are allowed: under load it would never end otherwise.
_FEW = 32
_CHUNK = 16
_MOST = 100_000
_OLD = "old_"
# Two, in turn: indexes keep their names when their table becomes the live one.
_PREFIXES = ("rebuild1_", "rebuild2_")
_SAVE = "INSERT INTO metawsm_meta VALUES ('rebuild', ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_TABLES = """
SELECT name, sql LIKE 'CREATE VIRTUAL%' FROM sqlite_schema WHERE type = 'table' AND substr(name, 1, length(?1)) = ?1
"""


def make_projector(
    prefix: str = "", specs: Sequence[ProjectionSpec] = ALL, fresh: FreshEvents | None = None
) -> Projector:
    """The projector of the read models behind a prefix (empty: the live ones)."""
    return Projector(specs, thread_views.finder, lambda error: translate(error, "") is not error, prefix, fresh=fresh)


def prepare(db: Db, now: str, specs: Sequence[ProjectionSpec] = ALL) -> bool:
    """Make the read models of a new database. True when those that are there are of another version: rebuild first."""
    if _is_current(db, specs):
        return False
    if any(db.execute("SELECT 1 FROM projection_cursors LIMIT 1")):
        return True
    for spec in specs:
        _run(db, spec.schema(""))
    _set_cursors(db, specs, 0, now)
    return False


@frozen
class Progress:
    """How far a rebuild is: events done of all, and whether it has ended with everything cleared."""

    done: int
    total: int
    finished: bool = False


@frozen
class _Plan:
    prefix: str
    versions: dict[str, int]
    sequence: int = 0
    swapped: bool = False


class Rebuild:
    """One rebuild. Hand `start` to the writer once, then `step` until it says finished; each is a short job.

    A step takes about `step_seconds`; where nobody is served yet, longer ones are several times as quick in all. Left
    over from a crash, `step` alone goes on. When a step raises ProjectionFailed, call `leave_out` and go on.
    """

    def __init__(
        self, now: Callable[[], str], specs: Sequence[ProjectionSpec] = ALL, step_seconds: float = STEP_SECONDS
    ) -> None:
        self._now = now
        self._step_seconds = step_seconds
        self._specs = specs
        self._versions = {spec.name: spec.version for spec in specs}
        self._skip: set[tuple[str, int]] = set()
        self._allowed = _FEW

    def leave_out(self, projection: str, sequence: int) -> None:
        """Do not apply this event to this projection, as it failed."""
        self._skip.add((projection, sequence))

    def start(self, db: Db) -> None:
        """Forget any rebuild that did not end."""
        db.execute("DELETE FROM metawsm_meta WHERE name = 'rebuild'")
        self._allowed = _FEW

    def is_running(self, db: Db) -> bool:
        """Whether a rebuild was begun and has not ended, for example because the process was killed."""
        return _plan(db) is not None

    def step(self, db: Db) -> Progress:
        """Do the next piece of work. Raises ProjectionFailed; nothing of the step is kept then."""
        plan = _plan(db)
        if plan is None or (plan.versions != self._versions and not plan.swapped):
            return self._begin(db)
        if plan.swapped:
            return self._finish(db, plan)
        return self._go_on(db, plan)

    def _begin(self, db: Db) -> Progress:
        if not any(_clear(db, prefix) for prefix in (*_PREFIXES, _OLD)):
            prefix = _free_prefix(db)
            for spec in self._specs:
                _run(db, spec.schema(prefix))
            _save(db, _Plan(prefix, self._versions))
        return Progress(0, _head(db))

    def _go_on(self, db: Db, plan: _Plan) -> Progress:
        # Never ahead of live tables that serve: those who wait for a sequence watch them.
        goal = position(db) if _is_current(db, self._specs) else _head(db)
        events = 0
        if plan.sequence < goal:
            projector = make_projector(plan.prefix, self._specs)
            skip: Skip = self._skip
            applied = projector.apply_after(db, plan.sequence, _MOST, self._step_seconds, skip, goal)
            events, plan = applied.events, evolve(plan, sequence=applied.last)
        if plan.sequence >= goal:
            if events <= self._allowed:
                plan = self._swap(db, plan)
            self._allowed += _FEW
        _save(db, plan)
        return Progress(plan.sequence, max(goal, _head(db)))

    def _swap(self, db: Db, plan: _Plan) -> _Plan:
        for table in (table for spec in self._specs for table in spec.tables):
            if any(db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,))):
                db.execute(f"ALTER TABLE {table} RENAME TO {_OLD}{table}")
            db.execute(f"ALTER TABLE {plan.prefix}{table} RENAME TO {table}")
        _set_cursors(db, self._specs, plan.sequence, self._now())
        return evolve(plan, swapped=True)

    def _finish(self, db: Db, plan: _Plan) -> Progress:
        finished = not _clear(db, _OLD)
        if finished:
            self.start(db)
        return Progress(plan.sequence, plan.sequence, finished)


def _plan(db: Db) -> _Plan | None:
    for (value,) in db.execute("SELECT value FROM metawsm_meta WHERE name = 'rebuild'"):
        return _Plan(**json.loads(value))
    return None


def _save(db: Db, plan: _Plan) -> None:
    db.execute(_SAVE, (json.dumps(asdict(plan)),))


def _is_current(db: Db, specs: Sequence[ProjectionSpec]) -> bool:
    rows = db.execute("SELECT projection_name, version FROM projection_cursors")
    return {str(name): int(version) for name, version in rows} == {spec.name: spec.version for spec in specs}


def _set_cursors(db: Db, specs: Iterable[ProjectionSpec], sequence: int, now: str) -> None:
    db.execute("DELETE FROM projection_cursors")
    for spec in specs:
        db.execute("INSERT INTO projection_cursors VALUES (?, ?, ?, ?)", (spec.name, spec.version, sequence, now))


def _head(db: Db) -> int:
    return next((int(row[0] or 0) for row in db.execute("SELECT max(sequence) FROM forum_events")), 0)


def _free_prefix(db: Db) -> str:
    taken = [str(name) for (name,) in db.execute("SELECT name FROM sqlite_schema")]
    return next(prefix for prefix in _PREFIXES if not any(name.startswith(prefix) for name in taken))


def _run(db: Db, script: str) -> None:
    # The connection runs all statements of a text, but looks for more only when its rows are asked for.
    for _ in db.execute(script):
        pass


def _clear(db: Db, prefix: str) -> bool:
    """Delete rows of the tables behind a prefix for a while, and drop them when empty; False when there are none left.

    A table that is dropped full frees all its pages at once, which takes seconds.
    """
    tables = list(db.execute(_TABLES, (prefix,)))
    deadline = time.perf_counter() + STEP_SECONDS
    with _Shadows(db):
        for name in (str(name) for name, is_virtual in tables if not is_virtual and not name.endswith("_config")):
            if not _empty(db, name, deadline):
                return True
    # A full-text table takes the tables inside it along.
    for name, _ in sorted(tables, key=lambda table: not table[1]):
        db.execute(f"DROP TABLE IF EXISTS {name}")
    return bool(tables)


def _empty(db: Db, table: str, deadline: float) -> bool:
    info = db.execute("SELECT name FROM pragma_table_info(?) WHERE pk ORDER BY pk", (table,))
    key = ", ".join(str(name) for (name,) in info)
    some = f"DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} LIMIT {_CHUNK})"
    while time.perf_counter() < deadline:
        db.execute(some)
        if not db.changes():
            return True
    return False


class _Shadows:
    """Allows the tables inside a full-text index to be changed: those of one that nobody reads any more."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._was = self._db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, -1)
        self._db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)

    def __exit__(self, *_: object) -> None:
        self._db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, self._was)
