"""The writer for slow disks: a batch runs in an operating system thread while the hub serves others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from metawsm.bus.ports import Outcome
from metawsm.storage.batch import Committer, Task
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.threads import Threads


class ThreadWriter(GroupWriter):
    """Commits in one thread of its own, a batch at a time. A job runs there, see `Writer`."""

    kind = "thread"

    def __init__(self, committer: Committer, **options: Any) -> None:
        super().__init__(committer, **options)
        self._thread = Threads(1)

    def _start(self, tasks: Sequence[Task]) -> None:
        def committed(result: Outcome) -> None:
            if result.error is not None:
                self._escaped(tasks, result.error)
            else:
                self._finish(tasks, result.value)

        self._thread.start(lambda: self._committer.commit(tasks), committed)

    def _release(self) -> None:
        self._thread.close()
        super()._release()
