"""Between two batches the loop looks at its sockets and timers, whoever hands in the next job, and however."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import gevent
import pytest

from metawsm.storage.group_writer import WriterLimits
from tests.contract.writer_suite import Lab, wait_for
from tests.support.other import Other
from tests.support.storage_lab import insert

MANY = 40
"""Batches, one called for by the other: fewer callbacks than gevent runs before it looks even at its clock."""


class Calls:
    """Batches that go on and on, one job each, a step for each."""

    def __init__(self, lab: Lab) -> None:
        self._writer = lab.writer
        self.other = Other()

    def by_callback(self) -> None:
        """The end of each batch hands in the next job."""

        def ended(_: object) -> None:
            self.other.step()
            if self.other.steps < MANY:
                self._writer.enqueue(lambda db: insert(db, self.other.steps), ended)

        self._writer.enqueue(lambda db: insert(db, 0), ended)

    def by_greenlet(self) -> None:
        """A greenlet waits for each job and hands in the next one."""

        def go_on() -> None:
            for number in range(MANY):
                self._writer.run(lambda db: insert(db, number))  # noqa: B023 - it is run before the next one
                self.other.step()

        gevent.spawn(go_on)

    def by_backlog(self) -> None:
        """All jobs are there, and a batch takes one."""
        for number in range(MANY):
            self._writer.enqueue(lambda db: insert(db, number), self.other.step)  # noqa: B023 - any number will do


@pytest.mark.parametrize("kind", ["hub", "thread"])
@pytest.mark.parametrize("begin", [Calls.by_callback, Calls.by_greenlet, Calls.by_backlog])
def test_sockets_are_served_between_two_batches(
    begin: Callable[[Calls], None], kind: Literal["hub", "thread"], tmp_path: Path
) -> None:
    """What comes in during a batch is seen before the batch behind the next one begins."""
    lab = Lab(tmp_path / "db", kind, WriterLimits(batch_jobs=1))
    calls = Calls(lab)
    other = calls.other
    begin(calls)
    wait_for(lambda: other.steps == MANY and bool(other.seen))
    other.close()
    lab.writer.close()
    assert other.seen[0] <= 6
