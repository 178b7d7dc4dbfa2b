"""Events go through the read models in chunks, and counters are written once for a batch: nobody can tell."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from metawsm.bus.ports import Row
from metawsm.bus.projecting import ProjectionFailed, position
from metawsm.domain import actions
from metawsm.projections import ALL
from tests.support.read_side import Forum, rows_of

COUNTERS = ("forum_thread_stats", "forum_waiting_counts")


@pytest.fixture
def forum(tmp_path: Path) -> Iterator[Forum]:
    """An empty forum."""
    made = Forum(tmp_path / "metawsm.db")
    yield made
    made.db.close()


def live(forum: Forum) -> None:
    """Threads that come, move, go back to where they were, are read and closed, on two tickets."""
    for n in range(12):
        thread = forum.open(f"MET-{n % 2}", run_id="run-1", agent_name="bob", priority=("normal", "high")[n % 3 == 0])
        for action, *args in (
            (actions.change_state, "waiting_human", None),
            (actions.post, f"word{n} more"),
            (actions.answer, "v2"),
            (actions.set_priority, "urgent"),
            (actions.set_priority, "low"),
            (actions.close, None),
        )[: n % 7]:
            forum.do(thread, action, *args)
        if n % 5 == 2:
            forum.read(thread, "bob")


def applied(path: Path, source: Path, limit: int) -> dict[str, list[Row]]:
    """The read models of the events in a database, applied so many at a time."""
    shutil.copy(source, path)
    forum = Forum(path)
    while forum.apply(limit=limit).more:
        pass
    models = forum.read_models()
    forum.db.close()
    return models


def test_batches_of_any_size_make_the_same_read_models(tmp_path: Path) -> None:
    """Rows, counters, the times on them, and the words: one event at a time, a few, more than a chunk, all."""
    forum = Forum(tmp_path / "db")
    live(forum)
    events = forum.db.execute("SELECT count(*) FROM forum_events").get
    forum.db.close()
    assert events > 40
    one, *others = (applied(tmp_path / f"{limit}", tmp_path / "db", limit) for limit in (1, 2, 7, 40, 1000))
    assert one["forum_thread_stats"] and one["forum_unread_answers"]
    for each in others:
        assert each == one


def test_a_counter_that_comes_to_nothing_within_a_batch_is_not_there(forum: Forum) -> None:
    """A question that was asked and closed within one batch waits nowhere, and is counted as closed alone."""
    forum.do(forum.open(), actions.change_state, "closed", None)
    forum.apply_all()
    assert [row[2:5] for row in rows_of(forum.db, "forum_thread_stats")] == [("closed", "normal", 1)]
    assert rows_of(forum.db, "forum_waiting_counts") == []


def test_a_counter_that_lacks_an_event_does_not_fall_below_nothing(forum: Forum) -> None:
    """Two threads leave together a place where one of them was never counted, and nobody waits there any more."""
    threads = [forum.open(), forum.open()]
    forum.apply(skip={("thread_stats", 2)})
    for thread in threads:
        forum.do(thread, actions.change_state, "closed", None)
    forum.apply_all()
    assert [row[2:5] for row in rows_of(forum.db, "forum_thread_stats")] == [("closed", "normal", 2)]
    assert rows_of(forum.db, "forum_waiting_counts") == []


def test_counters_that_cannot_be_written_blame_the_first_event_they_are_of(forum: Forum) -> None:
    """Left out, it is the next one's turn; what an attempt has counted that came to nothing is not counted twice."""
    forum.open()
    forum.apply_all()
    forum.open()
    forum.open()
    forum.db.execute("ALTER TABLE forum_waiting_counts RENAME TO away")
    for skipped, blamed in ((set(), 2), ({("thread_stats", 2)}, 3)):
        with pytest.raises(ProjectionFailed) as caught:
            forum.apply(skip=skipped)
        assert (caught.value.projection, caught.value.sequence) == ("thread_stats", blamed)
        [(event_id,)] = forum.db.execute("SELECT event_id FROM forum_events WHERE sequence = ?", (blamed,))
        assert caught.value.event_id == event_id
    assert position(forum.db) == 1
    forum.db.execute("ALTER TABLE away RENAME TO forum_waiting_counts")
    forum.apply_all()
    assert [row[4] for row in rows_of(forum.db, "forum_thread_stats")] == [3]
    assert sorted(rows_of(forum.db, "forum_waiting_counts")) == [("", 3), ("MET-1", 3)]


def test_a_read_model_that_fails_in_the_middle_of_a_chunk_is_blamed_for_that_event(forum: Forum) -> None:
    """Others before it in the chunk are not, and leaving it out keeps them."""
    for _ in range(5):
        forum.open(agent_name="bob")
    forum.db.execute("INSERT INTO forum_search_threads VALUES (3, 1)")
    with pytest.raises(ProjectionFailed) as caught:
        forum.apply()
    assert (caught.value.projection, caught.value.sequence) == ("search", 3)
    assert isinstance(caught.value.cause, apsw.ConstraintError)
    assert forum.apply(skip={("search", 3)}).last == 5
    assert len(rows_of(forum.db, "forum_thread_views")) == 5


@pytest.mark.parametrize("table", COUNTERS)
def test_only_the_event_is_blamed_whose_counter_cannot_be_written(forum: Forum, table: str) -> None:
    """Those before it in its batch stay counted; an event that counts nothing is never blamed."""
    forum.do(forum.open(), actions.post, "more")
    for ticket in ("MET-1", "MET-9", "MET-2"):
        forum.open(ticket)
    forum.db.execute(f"CREATE TRIGGER no BEFORE INSERT ON {table} WHEN NEW.ticket = 'MET-9'"
                     " BEGIN SELECT RAISE(ABORT, 'no'); END")  # fmt: skip
    with pytest.raises(ProjectionFailed) as caught:
        forum.apply()
    assert (caught.value.projection, caught.value.sequence) == ("thread_stats", 4)
    assert forum.apply(skip={("thread_stats", 4)}).last == 5
    assert [(row[0], row[4]) for row in rows_of(forum.db, "forum_thread_stats")] == [("MET-1", 2), ("MET-2", 1)]


@pytest.mark.parametrize("only", ["thread_views", "thread_stats"])
def test_a_full_disk_is_nobodys_fault(forum: Forum, only: str) -> None:
    """It comes out as what it is, whether it is met by an event or when counters are written."""
    forum.open("x" * 20_000)
    forum.db.execute(f"PRAGMA max_page_count = {forum.db.pragma('page_count')}")
    forum.db.execute("BEGIN")
    with pytest.raises(apsw.FullError):
        forum._projector.apply_next(forum.db, forum.now, skip={(spec.name, 1) for spec in ALL if spec.name != only})


def test_an_error_in_a_chunk_leaves_no_statement_open(forum: Forum) -> None:
    """Another job of the same transaction may drop a table, as a rebuild does, while the error is still about."""
    for _ in range(40):
        forum.open()
    forum.db.execute("INSERT INTO forum_search_threads VALUES (3, 1)")
    with pytest.raises(ProjectionFailed) as caught:
        forum.apply()
    forum.db.execute("DROP TABLE forum_search_threads")
    assert caught.value.sequence == 3


def test_a_counter_tells_when_it_moved_last(forum: Forum) -> None:
    """One that a thread has left, too."""
    thread = forum.open()
    forum.open()
    forum.do(thread, actions.change_state, "triaged", None)
    forum.apply_all()
    moved = forum.thread(thread).updated_at
    assert [(row[2], row[5]) for row in rows_of(forum.db, "forum_thread_stats")] == [("new", moved), ("triaged", moved)]


@pytest.mark.parametrize(
    ("body", "first", "second"), [("which one?", 32, 8), ("x" * 3_000, 3, 3), ("x" * 20_000, 1, 1)]
)
def test_the_time_is_looked_at_chunk_by_chunk(forum: Forum, body: str, first: int, second: int) -> None:
    """Some dozens of short texts are a chunk, or a few long ones. At least one is done; `more` says the rest."""
    for _ in range(40):
        forum.open(body=body)
    told = [forum.apply(budget_seconds=0) for _ in range(2)]
    assert [each.events for each in told] == [first, second]
    assert [each.last for each in told] == list(itertools.accumulate((first, second)))
    assert told[0].more is True
