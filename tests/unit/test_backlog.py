"""What the relay publishes next: in order, bounded by rows and by their size, from memory or from the table."""

from __future__ import annotations

import pytest

from metawsm.bus.work import Queued
from metawsm.daemon.backlog import MEMORY_CHARS, MEMORY_LIMIT, PORTION, Backlog

TABLE = 1000


def row(row_id: int, size: int = 10) -> Queued:
    """A command of `size` characters."""
    return Queued(row_id, "command", f"fcmd-{row_id}", "topic", "key", "x" * size, "name", "correlation", None)


class Table:
    """A table of a thousand pending rows of `size` characters; `asked` notes how many were wanted at once."""

    def __init__(self, size: int = 10) -> None:
        self.size = size
        self.asked: list[int] = []

    def load(self, status: str, after: int, upto: int, limit: int) -> list[Queued]:
        """The rows of a stretch."""
        self.asked.append(limit)
        return [row(n, self.size) for n in range(after + 1, min(upto, TABLE) + 1)][:limit]


def emptied(backlog: Backlog) -> Backlog:
    """Read to the end of the table, so that memory is complete."""
    while backlog.rereading:
        backlog.take(TABLE, 10**9)
    return backlog


@pytest.mark.parametrize(("limit", "max_bytes", "size"), [(256, 10**9, 10), (7, 10**9, 10), (256, 1000, 300)])
def test_the_table_is_read_in_order_and_in_bounds(limit: int, max_bytes: int, size: int) -> None:
    """Every row once, in portions, each at most `limit` rows and about `max_bytes`."""
    table, found = Table(size), []
    backlog = Backlog(table.load)
    while rows := backlog.take(limit, max_bytes):
        assert len(rows) <= limit
        assert sum(len(each.text) for each in rows[:-1]) < max_bytes
        found += [each.row_id for each in rows]
    assert found == list(range(1, TABLE + 1))
    assert max(table.asked) == PORTION


@pytest.mark.parametrize(("limit", "max_bytes", "each"), [(7, 10**9, 7), (256, 1000, 4), (256, 1, 1)])
def test_memory_is_handed_out_in_order_and_in_bounds(limit: int, max_bytes: int, each: int) -> None:
    """At most `limit` rows, ended by the one that reaches `max_bytes`, at least one; nothing twice."""
    backlog, found = emptied(Backlog(Table().load)), []
    backlog.append([row(n, 300) for n in range(100)])
    while rows := backlog.take(limit, max_bytes):
        found.append([row.row_id for row in rows])
    assert [row_id for rows in found for row_id in rows] == list(range(100))
    assert {len(rows) for rows in found[:-1]} == {each}


def test_memory_is_bounded_by_rows_and_by_size() -> None:
    """Many rows, or a few large ones: then the table is read instead."""
    for rows, size in ((MEMORY_LIMIT, 1), (64, MEMORY_CHARS // 64)):
        backlog = emptied(Backlog(Table().load))
        backlog.append([row(n, size) for n in range(rows)])
        assert not backlog.rereading
        backlog.append([row(rows)])
        assert backlog.rereading


def test_what_was_taken_makes_room() -> None:
    """Ten times as much as memory takes passes through it, a little at a time."""
    backlog = emptied(Backlog(Table().load))
    for n in range(100):
        backlog.append([row(n, MEMORY_CHARS // 10)])
        assert [each.row_id for each in backlog.take(256, 1 << 20)] == [n]
    assert not backlog.rereading
