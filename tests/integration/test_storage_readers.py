"""Reading beside a writer: newest commit, one snapshot, a cap on time."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import gevent
import pytest

from metawsm.bus.ports import Db
from metawsm.domain.errors import Unavailable
from metawsm.storage.connection import Connection
from metawsm.storage.readers import Readers
from tests.support.storage_lab import insert, item_database

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Connection]:
    """A writer connection to a database with one table."""
    connection = item_database(tmp_path / "db")
    yield connection
    connection.close()


@pytest.fixture
def readers(tmp_path: Path, writer: Connection) -> Iterator[Readers]:
    """Readers of that database."""
    readers = Readers(tmp_path / "db", hub_seconds=0.1, slow_seconds=0.3)
    yield readers
    readers.close()


def total(db: Db) -> int:
    """How many items there are."""
    return int(next(iter(db.execute("SELECT count(*) FROM item")))[0])


def test_each_query_sees_the_newest_commit(writer: Connection, readers: Readers) -> None:
    """No read transaction is left open that would show an old state."""
    for number in range(5):
        assert readers.query(total) == number
        assert readers.slow(total) == number
        insert(writer, number)


def test_a_query_sees_one_snapshot(writer: Connection, readers: Readers) -> None:
    """A commit in the middle of a query does not show in its later statements."""

    def twice(db: Db) -> tuple[int, int]:
        before = total(db)
        insert(writer, "between")
        return before, total(db)

    assert readers.query(twice) == (0, 0)
    assert readers.query(total) == 1


def test_a_long_query_on_the_hub_is_cut_off(readers: Readers) -> None:
    """The cap holds, the caller hears it, and the connection is usable afterwards."""
    started = time.monotonic()
    with pytest.raises(Unavailable, match="too long"):
        readers.query(lambda db: list(db.execute(_ENDLESS)))
    assert 0.09 < time.monotonic() - started < 1
    assert readers.query(total) == 0


def test_a_long_query_in_a_thread_is_cut_off_and_the_hub_goes_on(readers: Readers) -> None:
    """While it runs the hub serves others."""
    turns = []

    def tick() -> None:
        while True:
            turns.append(time.monotonic())
            gevent.sleep(0.001)

    ticker = gevent.spawn(tick)
    with pytest.raises(Unavailable, match="too long"):
        readers.slow(lambda db: list(db.execute(_ENDLESS)))
    ticker.kill()
    assert len(turns) > 30
    assert readers.slow(total) == 0


def test_a_query_that_was_cut_off_half_read_leaves_nothing_open(writer: Connection, readers: Readers) -> None:
    """What it still read is let go of at once, or the next query in its place would find a snapshot of long ago."""
    insert(writer, "a")
    insert(writer, "b")

    def half_read(db: Db) -> object:
        rows = iter(db.execute("SELECT value FROM item"))
        next(rows)
        return list(db.execute(_ENDLESS)), rows

    gc.disable()
    try:
        with pytest.raises(Unavailable, match="too long"):
            readers.slow(half_read)
        assert readers.slow(total) == 2
    finally:
        gc.enable()


def test_more_slow_queries_than_threads_wait_their_turn(readers: Readers) -> None:
    """Ten callers share two threads; all are served."""
    callers = [gevent.spawn(readers.slow, total) for _ in range(10)]
    gevent.joinall(callers, timeout=10, raise_error=True)
    assert [caller.value for caller in callers] == [0] * 10


def test_a_reader_cannot_write(readers: Readers) -> None:
    """A query that tries to change something is refused as read-only."""
    with pytest.raises(Unavailable, match="read-only"):
        readers.query(lambda db: insert(db, "x"))


def test_a_query_may_return_a_cursor_but_nothing_else_that_reads_on(writer: Connection, readers: Readers) -> None:
    """A cursor is fetched; an iterator over a half-read statement would pin an old snapshot, so it is an error."""
    insert(writer, "a")
    insert(writer, "b")
    assert readers.query(lambda db: db.execute("SELECT value FROM item")) == [("a",), ("b",)]

    def half_read(db: Db) -> object:
        rows = iter(db.execute("SELECT value FROM item"))
        next(rows)
        return (row for row in rows)

    with pytest.raises(TypeError):
        readers.query(half_read)
    insert(writer, "c")
    assert readers.query(total) == 3


def test_the_error_of_a_query_passes_through(readers: Readers) -> None:
    """Wrong SQL is a bug and stays one."""
    with pytest.raises(apsw.SQLError):
        readers.query(lambda db: db.execute("SELECT nonsense"))
    with pytest.raises(apsw.SQLError):
        readers.slow(lambda db: db.execute("SELECT nonsense"))


def test_closed_readers_refuse(readers: Readers) -> None:
    """After close a query is told so; closing twice is fine."""
    readers.close()
    readers.close()
    with pytest.raises(Unavailable):
        readers.query(total)
    with pytest.raises(Unavailable):
        readers.slow(total)
