"""Applying events to the read models: all together, in sequence order, in the transaction that moves the cursor."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NoReturn

from attrs import frozen

from metawsm.bus.fields import MAX_SEQUENCE
from metawsm.bus.fresh import FreshEvents
from metawsm.bus.ports import Db, Row
from metawsm.bus.specs import Change, Gathering, ProjectionSpec
from metawsm.domain.events import ThreadOpened
from metawsm.domain.thread import Thread, evolve
from metawsm.messages.codec import EVENT_COLUMNS, event_of_row

_SPAN = "FROM forum_events WHERE sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?"
_SIZE = "octet_length(payload_json)"
_NEXT = f"SELECT {EVENT_COLUMNS}, {_SIZE} {_SPAN}"
_NEXT_IDS = f"SELECT sequence, event_id, {_SIZE} {_SPAN}"
_ONE = f"SELECT {EVENT_COLUMNS} FROM forum_events WHERE sequence = ?"  # noqa: S608 - a constant
_CURSOR = "SELECT min(sequence), count(*) FROM projection_cursors"
_BATCH = "INSERT INTO projection_batches VALUES ('*', ?, ?, ?)"  # EVERY
_MOVE = "UPDATE projection_cursors SET sequence = ?, updated_at = ?"
_FORGET = """
DELETE FROM projection_batches WHERE (projection_name, last_sequence) IN
    (SELECT projection_name, last_sequence FROM projection_batches WHERE last_sequence < ? LIMIT ?)
"""
EVERY = "*"
"""Stands for all projections where an event cannot even be read or is about a thread that was never opened."""

# Events that go through one read model before the next takes them: as many as share its code and pages while these are
# warm (a quarter less time than event by event), and few enough for the clock to be looked at often.
_CHUNK_EVENTS = 32
_CHUNK_BYTES = 8 * 1024

Skip = Collection[tuple[str, int]]


class ProjectionFailed(Exception):
    """A projection could not apply an event; nothing of the batch is kept when this leaves the transaction."""

    def __init__(self, projection: str, sequence: int, event_id: str, cause: Exception) -> None:
        super().__init__(f"projection {projection} failed on event {sequence} ({event_id}): {cause!r}")
        self.projection = projection
        self.sequence = sequence
        self.event_id = event_id
        self.cause = cause


@frozen
class Applied:
    """What a batch did: first and last sequence examined (0 when there was none), how many, whether more wait."""

    first: int
    last: int
    events: int
    more: bool


class Projector:
    """Applies events to the read models behind one table prefix. It keeps nothing between calls.

    `finder(prefix)` makes the function that finds a thread's snapshot among those read models. `is_outage(error)` tells
    a database that is full or broken, which is no fault of the event, from a projection that cannot apply it. Of an
    event in `fresh` only the identity is read.
    """

    def __init__(
        self,
        specs: Sequence[ProjectionSpec],
        finder: Callable[[str], Callable[[Db, str], Thread | None]],
        is_outage: Callable[[Exception], bool],
        prefix: str = "",
        clock: Callable[[], float] = time.perf_counter,
        fresh: FreshEvents | None = None,
    ) -> None:
        self._applies = [(spec.name, spec.build(prefix)) for spec in specs]
        self._gathering = [(name, apply) for name, apply in self._applies if isinstance(apply, Gathering)]
        self._find = finder(prefix)
        self._is_outage = is_outage
        self._clock = clock
        self._fresh = fresh
        self._next = _NEXT if fresh is None else _NEXT_IDS

    def apply_next(
        self, db: Db, now: str, limit: int = 256, budget_seconds: float = 0.005, skip: Skip = frozenset()
    ) -> Applied:
        """Apply the events after the cursor, oldest first, and move the cursor of every projection.

        Ends after `limit` events or `budget_seconds`, whichever is first, but does at least one event. Pairs
        (projection, sequence) in `skip` are left out; (EVERY, sequence) leaves the event out. Raises ProjectionFailed.
        """
        applied = self.apply_after(db, position(db), limit, budget_seconds, skip)
        if applied.events:
            db.run(_BATCH, (applied.first, applied.last, now))
            db.run(_MOVE, (applied.last, now))
        return applied

    def apply_after(
        self,
        db: Db,
        after: int,
        limit: int = 256,
        budget_seconds: float = 0.005,
        skip: Skip = frozenset(),
        up_to: int = MAX_SEQUENCE,
    ) -> Applied:
        """The same from a given sequence on, not beyond `up_to`, moving no cursor."""
        for _, gathering in self._gathering:
            gathering.begin()
        deadline = self._clock() + budget_seconds
        threads: dict[str, Thread] = {}
        first = last = events = 0
        late = False
        # Rows are read chunk by chunk: the time may be over long before the limit.
        for chunk in _chunks(db.execute(self._next, (after, up_to, limit))):
            self._apply_chunk(db, chunk, threads, skip)
            first, last, events = first or chunk[0][0], chunk[-1][0], events + len(chunk)
            late = self._clock() > deadline
            if late:
                break
        self._finish(db)
        return Applied(first, last, events, more=late or events == limit)

    def _apply_chunk(self, db: Db, chunk: Sequence[Row], threads: dict[str, Thread], skip: Skip) -> None:
        changes = [self._known(db, row, threads) for row in chunk if not skip or (EVERY, row[0]) not in skip]
        for name, apply in self._applies:
            for change in changes:
                if skip and (name, change.event.sequence) in skip:
                    continue
                try:
                    apply(db, change)
                except Exception as error:  # noqa: BLE001 - it is told which event it is about
                    self._blame(error, name, change.event.sequence, change.event.envelope.event_id)

    def _known(self, db: Db, row: Row, threads: dict[str, Thread]) -> Change:
        try:
            return self._change(db, self._told(db, row), threads)
        except Exception as error:  # noqa: BLE001 - the same
            self._blame(error, EVERY, row[0], str(row[1]))

    def _finish(self, db: Db) -> None:
        for name, gathering in self._gathering:
            try:
                gathering.finish(db)
            except Exception as error:
                if (event := gathering.about) is None:
                    raise
                self._blame(error, name, event.sequence, event.envelope.event_id)
            gathering.begin()

    def _blame(self, error: Exception, name: str, sequence: int, event_id: str) -> NoReturn:
        if self._is_outage(error):
            raise error
        raise ProjectionFailed(name, sequence, event_id, error) from error

    def _told(self, db: Db, row: Row) -> Change:
        """The event of a row, with its threads as its handler knew them."""
        told = self._fresh.take(row[0], row[1]) if self._fresh is not None else None
        if told is not None:
            return told
        whole = row[:-1] if self._fresh is None else next(iter(db.execute(_ONE, row[:1])))
        return Change(event_of_row(whole), None, None)

    def _change(self, db: Db, told: Change, threads: dict[str, Thread]) -> Change:
        """What the event makes of the thread as the read models have it, which may lack an event that was left out."""
        event, thread_id = told.event, told.event.envelope.thread_id
        if thread_id is None:
            return told
        opens = isinstance(event.fact, ThreadOpened)
        before = None if opens else threads.get(thread_id) or self._find(db, thread_id)
        # What the handler made of the same thread is what would be made of it here.
        after = told.after if told.after is not None and before == told.before else evolve(before, event)
        threads[thread_id] = after
        return Change(event, before, after)


def _chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows, as many at a time as go through the read models together.

    Use it in a loop alone: kept by a name, its cursor would stay open with an error that leaves the loop.
    """
    chunk: list[Row] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += row[-1]
        if len(chunk) == _CHUNK_EVENTS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def position(db: Db) -> int:
    """The sequence up to which every projection has been applied."""
    for sequence, count in db.execute(_CURSOR):
        if count:
            return int(sequence)
    return 0


def forget_batches(db: Db, keep: int = 100_000, limit: int = 200) -> int:
    """Delete at most `limit` rows about batches older than the newest `keep` sequences; return how many went."""
    db.run(_FORGET, (position(db) - keep, limit))
    return db.changes()
