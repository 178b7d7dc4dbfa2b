"""Both writers keep the contract of the port."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest

from metawsm.bus.ports import Outcome
from metawsm.storage.batch import Committer, Task
from metawsm.storage.thread_writer import ThreadWriter
from tests.contract.writer_suite import Lab, WriterSuite, wait_for
from tests.support.storage_lab import insert, item_database, values


class TestHubWriter(WriterSuite):
    """Commits as callbacks of the hub."""

    kind = "hub"

    def test_a_job_that_wants_to_block_is_refused(self, lab: Lab) -> None:
        """A job may not switch greenlets; one that tries fails alone."""
        with pytest.raises(gevent.exceptions.BlockingSwitchOutError):
            lab.writer.run(lambda db: (insert(db, 1), gevent.sleep(0.01)))
        assert lab.values() == []


class TestThreadWriter(WriterSuite):
    """Commits in a thread of its own."""

    kind = "thread"

    def test_a_batch_waits_for_the_one_at_work(self, tmp_path: Path) -> None:
        """Callbacks hand in further jobs while others come from everywhere: the thread gets one batch at a time."""
        writer = WatchedWriter(Committer(item_database(tmp_path / "db"), batch_seconds=1.0))
        done: list[Outcome] = []

        def begin(left: int) -> None:
            writer.enqueue(lambda db: insert(db, left), lambda outcome: ended(left, outcome))

        def ended(left: int, outcome: Outcome) -> None:
            done.append(outcome)
            if left:
                begin(left - 1)

        def run() -> None:
            for number in range(50):
                writer.run(lambda db: insert(db, number))  # noqa: B023 - it is run before the next one
                gevent.sleep(0)

        callers = [gevent.spawn(run) for _ in range(8)]
        for _ in range(8):
            begin(50)
        wait_for(lambda: len(done) == 408)
        gevent.joinall(callers, timeout=10, raise_error=True)
        writer.close()
        assert writer.overlaps == 0
        assert len(values(tmp_path / "db")) == 808


class WatchedWriter(ThreadWriter):
    """Counts the batches that were started while another was at work."""

    at_work = False
    overlaps = 0

    def _start(self, tasks: Sequence[Task]) -> None:
        self.overlaps += self.at_work
        self.at_work = True
        super()._start(tasks)

    def _finish(self, tasks: Sequence[Task], outcomes: Sequence[Outcome] | None) -> None:
        self.at_work = False
        super()._finish(tasks, outcomes)
