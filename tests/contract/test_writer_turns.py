"""Between two batches the loop looks at its sockets and timers, whoever hands in the next job, and however."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import gevent
import pytest

from metawsm.storage.group_writer import WriterLimits
from tests.contract.writer_suite import Lab, wait_for
from tests.support.storage_lab import insert

MANY = 40
"""Batches, one called for by the other; fewer than the fifty callbacks that gevent runs before it looks at anything."""


class Calls:
    """Batches that go on and on, one job each; what is sent at the fifth one is seen how many batches later?"""

    def __init__(self, lab: Lab) -> None:
        self._writer = lab.writer
        self._ours, theirs = socket.socketpair()
        self._theirs = theirs
        self._watcher = gevent.get_hub().loop.io(theirs.fileno(), 1)
        self._watcher.start(self._see)
        self.ran = 0
        self.seen_after: list[int] = []

    def _see(self) -> None:
        self._watcher.stop()
        self.seen_after.append(self.ran - 5)

    def count(self, _: object = None) -> None:
        """Another batch has ended."""
        self.ran += 1
        if self.ran == 5:
            self._ours.send(b"x")

    def close(self) -> None:
        """Give everything back."""
        self._watcher.close()
        self._ours.close()
        self._theirs.close()

    def by_callback(self) -> None:
        """The end of each batch hands in the next job."""

        def ended(_: object) -> None:
            self.count()
            if self.ran < MANY:
                self._writer.enqueue(lambda db: insert(db, self.ran), ended)

        self._writer.enqueue(lambda db: insert(db, 0), ended)

    def by_greenlet(self) -> None:
        """A greenlet waits for each job and hands in the next one."""

        def go_on() -> None:
            for number in range(MANY):
                self._writer.run(lambda db: insert(db, number))  # noqa: B023 - it is run before the next one
                self.count()

        gevent.spawn(go_on)

    def by_backlog(self) -> None:
        """All jobs are there, and a batch takes one."""
        for number in range(MANY):
            self._writer.enqueue(lambda db: insert(db, number), self.count)  # noqa: B023 - any number will do


@pytest.mark.parametrize("kind", ["hub", "thread"])
@pytest.mark.parametrize("begin", [Calls.by_callback, Calls.by_greenlet, Calls.by_backlog])
def test_sockets_are_served_between_two_batches(
    begin: Callable[[Calls], None], kind: Literal["hub", "thread"], tmp_path: Path
) -> None:
    """What comes in during a batch is seen before the batch behind the next one begins."""
    lab = Lab(tmp_path / "db", kind, WriterLimits(batch_jobs=1))
    calls = Calls(lab)
    begin(calls)
    wait_for(lambda: calls.ran == MANY and bool(calls.seen_after))
    calls.close()
    lab.writer.close()
    assert calls.seen_after[0] <= 1
