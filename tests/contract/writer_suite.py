"""What every Writer must do. A subclass per implementation names its kind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import apsw
import gevent
import pytest

from metawsm.bus.ports import Db, Outcome, Writer
from metawsm.domain.errors import NotFound, OutcomeUnknown, Overloaded, Unavailable
from metawsm.storage.choose import make_writer
from metawsm.storage.group_writer import GroupWriter, WriterLimits
from tests.support.storage_lab import FailingDisk, insert, item_database, lock_held, values


class Lab:
    """One database, its writer, and what the writer complained about."""

    def __init__(self, path: Path, kind: Literal["hub", "thread"], limits: WriterLimits | None = None) -> None:
        self.path = path
        self.faults: list[tuple[str, Exception]] = []
        self.connection = item_database(path)
        self.writer: GroupWriter = make_writer(
            path,
            kind=kind,
            limits=limits,
            connection=self.connection,
            on_fault=lambda what, error: self.faults.append((what, error)),
        )
        self.port: Writer = self.writer

    def add(self, value: object) -> int:
        """Store one item and wait."""
        return self.port.run(lambda db: insert(db, value))

    def together(self, *jobs: Callable[[Db], Any]) -> list[Outcome]:
        """Hand all jobs in at once, wait for all, return their outcomes in the order of the jobs."""
        outcomes: dict[int, Outcome] = {}
        for index, job in enumerate(jobs):
            self.writer.enqueue(job, partial(outcomes.__setitem__, index))
        wait_for(lambda: len(outcomes) == len(jobs))
        return [outcomes[index] for index in range(len(jobs))]

    def values(self) -> list[object]:
        """What is stored, seen from outside."""
        return values(self.path)


def wait_for(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Let the hub run until the condition holds."""
    with gevent.Timeout(timeout):
        while not condition():
            gevent.sleep(0.002)


def fail(db: Db) -> None:
    """A job that changes something and is then refused."""
    insert(db, "half")
    raise NotFound("no such thing")


class WriterSuite:
    """The contract of the Writer port."""

    kind: Literal["hub", "thread"]

    @pytest.fixture
    def lab(self, tmp_path: Path) -> Iterator[Lab]:
        """A writer with the usual limits."""
        lab = Lab(tmp_path / "db", self.kind)
        yield lab
        lab.writer.close()

    def limited(self, tmp_path: Path, **limits: Any) -> Lab:
        """A writer with other limits; the test closes it."""
        return Lab(tmp_path / "db", self.kind, WriterLimits(**limits))

    def test_run_returns_the_value_once_it_is_stored(self, lab: Lab) -> None:
        """When run returns, another connection sees the row."""
        assert lab.add("a") == 1
        assert lab.values() == ["a"]

    def test_run_raises_the_error_of_the_job_and_undoes_it(self, lab: Lab) -> None:
        """A job that raises leaves nothing, and its own error reaches the caller."""
        with pytest.raises(NotFound, match="no such thing"):
            lab.writer.run(fail)
        assert lab.values() == []

    def test_a_cursor_is_fetched_before_the_commit(self, lab: Lab) -> None:
        """A job may return a cursor; the caller gets rows, and no snapshot stays open."""
        lab.add("a")
        assert lab.writer.run(lambda db: db.execute("SELECT value FROM item")) == [("a",)]
        assert lab.add("b") == 2

    def test_a_thousand_callers_are_stored_in_order(self, lab: Lab) -> None:
        """1,000 concurrent runs end in few commits, in the order of submission, each with its own id."""
        callers = [gevent.spawn(lab.add, number) for number in range(1000)]
        gevent.joinall(callers, timeout=20, raise_error=True)
        assert [caller.value for caller in callers] == list(range(1, 1001))
        assert lab.values() == list(range(1000))
        assert lab.writer.stats().batches < 100

    def test_callbacks_come_in_the_order_of_submission(self, lab: Lab) -> None:
        """`done` is called once per job, first come first served, also when some jobs fail."""
        told: dict[int, Outcome] = {}
        for number in range(300):
            job = fail if number % 7 == 0 else partial(insert, value=number)
            lab.writer.enqueue(job, partial(told.__setitem__, number))
        wait_for(lambda: len(told) >= 300)
        assert list(told) == list(range(300))
        assert [number for number, outcome in told.items() if outcome.error] == list(range(0, 300, 7))

    def test_a_failing_job_does_not_touch_its_neighbours(self, lab: Lab) -> None:
        """In a batch with a refused job the others are stored, and the ids stay dense."""
        outcomes = lab.together(lambda db: insert(db, "a"), fail, lambda db: insert(db, "b"))
        assert [outcome.value for outcome in outcomes] == [1, None, 2]
        assert isinstance(outcomes[1].error, NotFound)
        assert lab.values() == ["a", "b"]

    @pytest.mark.parametrize("statement", ["ROLLBACK", "COMMIT"])
    def test_a_job_that_ends_the_transaction_fails_its_batch(self, lab: Lab, statement: str) -> None:
        """Nothing of the batch is stored, not even what the job writes afterwards; the next batch works."""

        def rogue(db: Db) -> None:
            try:
                db.execute(statement)
            finally:
                insert(db, "stray")

        outcomes = lab.together(lambda db: insert(db, "a"), rogue)
        assert [type(outcome.error) for outcome in outcomes] == [Unavailable, Unavailable]
        assert outcomes[0].error is not outcomes[1].error
        assert lab.values() == []
        lab.add("after")
        assert lab.values() == ["after"]

    def test_a_job_that_ends_the_transaction_quietly_is_found_out(self, lab: Lab) -> None:
        """The jobs before it are refused with it; the one behind it runs in a transaction of its own."""
        outcomes = lab.together(
            lambda db: insert(db, "a"), lambda db: db.execute("ROLLBACK"), lambda db: insert(db, "b")
        )
        assert [type(outcome.error) for outcome in outcomes] == [Unavailable, Unavailable, type(None)]
        assert lab.values() == ["b"]

    def test_a_broken_callback_breaks_nobody_else(self, lab: Lab) -> None:
        """An error in `done` is reported; the next caller of the batch is told all the same."""
        told: list[Outcome] = []
        lab.writer.enqueue(lambda db: insert(db, 1), lambda outcome: 1 / 0)  # type: ignore[arg-type]
        lab.writer.enqueue(lambda db: insert(db, 2), told.append)
        wait_for(lambda: bool(told))
        assert told[0].value == 2
        assert [type(error) for _, error in lab.faults] == [ZeroDivisionError]

    def test_a_job_from_a_callback_is_for_the_next_batch(self, lab: Lab) -> None:
        """What `done` hands in is committed after the batch it was told about."""
        told: list[int] = []

        def then(outcome: Outcome) -> None:
            told.append(lab.writer.stats().batches)
            if len(told) < 3:
                lab.writer.enqueue(lambda db: insert(db, len(told)), then)

        lab.writer.enqueue(lambda db: insert(db, 0), then)
        wait_for(lambda: len(told) == 3)
        assert told == [1, 2, 3]

    def test_a_deferred_job_rides_on_the_next_batch(self, tmp_path: Path) -> None:
        """Bookkeeping costs no commit of its own when somebody else commits anyway."""
        lab = self.limited(tmp_path, defer_seconds=60)
        lab.writer.defer(lambda db: insert(db, "deferred"))
        lab.add("a")
        assert lab.values() == ["deferred", "a"]
        assert lab.writer.stats().batches == 1
        lab.writer.close()

    def test_a_deferred_job_alone_is_flushed(self, lab: Lab) -> None:
        """Without any other job it is stored within a moment."""
        lab.writer.defer(lambda db: insert(db, "deferred"))
        assert lab.values() == []
        wait_for(lambda: lab.values() == ["deferred"])

    def test_every_deferred_job_waits_for_company(self, tmp_path: Path) -> None:
        """Not the first one alone: a timer that went on where it had stood would fire at once for all later ones."""
        lab = self.limited(tmp_path, defer_seconds=0.3)
        for before in range(2):
            lab.writer.defer(partial(insert, value="deferred"))
            gevent.sleep(0.1)
            assert len(lab.values()) == before
            wait_for(lambda: lab.writer.stats().batches > before)  # noqa: B023 - called at once
            gevent.sleep(0.05)  # the writer on a thread hears of its commit a moment later
        lab.writer.close()

    def test_a_failing_deferred_job_is_reported_and_harmless(self, lab: Lab) -> None:
        """Its error goes to the report; the job beside it is stored."""
        lab.writer.defer(fail)
        lab.add("a")
        assert lab.values() == ["a"]
        assert [type(error) for _, error in lab.faults] == [NotFound]

    def test_a_full_queue_refuses(self, tmp_path: Path) -> None:
        """More waiting jobs than the limit are refused at once, and the waiting ones are stored."""
        lab = self.limited(tmp_path, waiting_jobs=2)
        told: list[Outcome] = []
        for number in range(2):
            lab.writer.enqueue(partial(insert, value=number), told.append)
        with pytest.raises(Overloaded):
            lab.add("too many")
        wait_for(lambda: len(told) == 2)
        assert lab.values() == [0, 1]
        lab.writer.close()

    def test_a_batch_is_bounded_in_jobs(self, lab: Lab) -> None:
        """600 jobs at once are three commits, not one."""
        lab.together(*[lambda db: insert(db, 1)] * 600)
        assert lab.writer.stats().batches == 3

    def test_a_batch_is_bounded_in_time(self, tmp_path: Path) -> None:
        """A batch whose time is over ends; the rest follows in order, and the hub ran in between."""
        lab = self.limited(tmp_path, batch_seconds=0.0)
        turns: list[int] = []
        ticker = gevent.spawn(self._tick, turns)
        try:
            outcomes = lab.together(*[lambda db: insert(db, 1)] * 50)
        finally:
            ticker.kill()
        assert [outcome.value for outcome in outcomes] == list(range(1, 51))
        assert lab.writer.stats().batches == 50
        assert len(turns) > 1
        lab.writer.close()

    @staticmethod
    def _tick(turns: list[int]) -> None:
        while True:
            turns.append(1)
            gevent.sleep(0.001)  # a loop without a pause would keep the interpreter's lock from the writer's thread

    def test_a_short_lock_of_another_process_is_waited_out(self, lab: Lab) -> None:
        """While another process holds the lock callers wait, the hub goes on, and all is stored in order afterwards."""
        turns: list[int] = []
        with lock_held(lab.path) as holder:
            callers = [gevent.spawn(lab.add, number) for number in range(10)]
            wait_for(lambda: lab.writer.stats().locked)
            ticker = gevent.spawn(self._tick, turns)
            wait_for(lambda: len(turns) > 500)
            ticker.kill()
            assert lab.writer.stats().locked
            assert not any(caller.ready() for caller in callers)
            holder.release()
        gevent.joinall(callers, timeout=5, raise_error=True)
        assert lab.values() == list(range(10))
        assert not lab.writer.stats().locked

    def test_a_long_lock_of_another_process_ends_in_unavailable(self, tmp_path: Path) -> None:
        """A job that waited its time is refused and not stored; a later one still has its own time."""
        lab = self.limited(tmp_path, lock_seconds=1.0)
        with lock_held(lab.path) as holder:
            early = gevent.spawn(lab.add, "early")
            gevent.sleep(0.7)
            late = gevent.spawn(lab.add, "late")
            early.join(5)
            assert isinstance(early.exception, Unavailable)
            assert "locked" in str(early.exception)
            assert not late.ready()
            holder.release()
        late.get(timeout=5)
        assert lab.values() == ["late"]
        lab.writer.close()

    def test_a_full_disk_fails_the_batch_and_recovers(self, lab: Lab) -> None:
        """SQLite drops the whole transaction when the disk is full: all of the batch is refused, and told so."""
        lab.connection.pragma("max_page_count", lab.connection.pragma("page_count") + 3)
        outcomes = lab.together(
            lambda db: insert(db, "a"), lambda db: insert(db, "x" * 100_000), lambda db: insert(db, "stray")
        )
        assert all(isinstance(outcome.error, Unavailable) for outcome in outcomes[:2])
        assert "disk is full" in str(outcomes[1].error)
        lab.connection.pragma("max_page_count", 10_000)
        lab.add("after")
        assert "a" not in lab.values()
        assert lab.values()[-1] == "after"

    def test_an_io_error_in_commit_that_passes_is_not_stored(self, tmp_path: Path) -> None:
        """The fsync of COMMIT fails once: the next write proves the batch gone, so the caller hears unavailable."""
        disk = FailingDisk()
        with disk.as_default():
            lab = Lab(tmp_path / "db", self.kind)
        lab.add("before")
        disk.broken = 1
        with pytest.raises(Unavailable):
            lab.add("lost")
        lab.add("after")
        assert lab.values() == ["before", "after"]
        lab.writer.close()

    def test_an_io_error_in_commit_that_stays_is_an_unknown_outcome(self, tmp_path: Path) -> None:
        """Nobody can say whether the frames survive a crash now, and the caller is told just that."""
        disk = FailingDisk()
        with disk.as_default():
            lab = Lab(tmp_path / "db", self.kind)
        disk.broken = 2
        with pytest.raises(OutcomeUnknown):
            lab.add("unknown")
        lab.add("after")
        assert lab.values() == ["after"]
        lab.writer.close()

    def test_after_an_unknown_outcome_nothing_is_tried_until_the_disk_works(self, tmp_path: Path) -> None:
        """What comes next surely is not stored, and its caller hears that, and not another unknown outcome."""
        disk = FailingDisk()
        with disk.as_default():
            lab = Lab(tmp_path / "db", self.kind)
        disk.broken = 1000
        with pytest.raises(OutcomeUnknown):
            lab.add("unknown")
        for _ in range(3):
            with pytest.raises(Unavailable):
                lab.add("refused")
        disk.broken = 0
        lab.add("after")
        assert lab.values() == ["after"]
        lab.writer.close()

    def test_a_caller_that_is_killed_breaks_nobody(self, lab: Lab) -> None:
        """A greenlet that stops waiting takes nobody with it; its job still runs."""
        killed = gevent.spawn(lab.add, "killed")
        other = gevent.spawn(lab.add, "other")
        gevent.idle()
        killed.kill(block=False)
        assert other.get(timeout=5) is not None
        assert "other" in lab.values()

    def test_callbacks_may_hand_in_the_next_jobs(self, lab: Lab) -> None:
        """Chains of jobs, each handed in by the callback of the one before, beside others: nobody is forgotten."""
        left = [50] * 8

        def slowly(db: Db) -> int:
            time.sleep(0.001)
            return insert(db, "chained")

        def told(chain: int, _: Outcome) -> None:
            left[chain] -= 1
            if left[chain]:
                lab.writer.enqueue(slowly, partial(told, chain))

        for chain in range(8):
            lab.writer.enqueue(slowly, partial(told, chain))
        others = [gevent.spawn_later(0.002 * number, lab.add, number) for number in range(100)]
        wait_for(lambda: not any(left))
        gevent.joinall(others, timeout=5)
        assert len(lab.values()) == 500
        assert lab.faults == []

    @pytest.mark.parametrize("holders", [1, 2])
    def test_a_held_writer_waits(self, lab: Lab, holders: int) -> None:
        """Nothing is committed before the last who holds it lets it go on; they need not know of each other."""
        for _ in range(holders):
            lab.writer.hold()
        caller = gevent.spawn(lab.add, "a")
        for _ in range(holders):
            gevent.sleep(0.05)
            assert not caller.ready()
            lab.writer.resume()
        assert caller.get(timeout=5) == 1

    def test_close_stores_what_waits_and_refuses_the_rest(self, lab: Lab) -> None:
        """Jobs accepted before close are on disk when it returns; later ones are refused."""
        told: list[Outcome] = []
        for number in range(600):
            lab.writer.enqueue(partial(insert, value=number), told.append)
        lab.writer.defer(lambda db: insert(db, "deferred"))
        lab.writer.close()
        assert len(told) == 600
        assert lab.values() == [*range(600), "deferred"]
        with pytest.raises(Unavailable, match="stopping"):
            lab.add("late")

    def test_close_under_a_foreign_lock_gives_up_in_time(self, lab: Lab) -> None:
        """A lock that never ends does not keep the daemon from stopping: the waiting callers are refused."""
        with lock_held(lab.path):
            caller = gevent.spawn(lab.add, "a")
            gevent.sleep(0.01)
            lab.writer.close(timeout=0.2)
            caller.join(5)
        assert isinstance(caller.exception, Unavailable)
        assert lab.values() == []

    def test_a_driver_error_that_is_a_bug_passes_through(self, lab: Lab) -> None:
        """Wrong SQL is not dressed up as an outage."""
        with pytest.raises(apsw.SQLError):
            lab.writer.run(lambda db: db.execute("SELECT nonsense"))
