"""The queue in front of the committer: who waits, when a batch starts, who is told. Shared by both writers.

Everything here runs on the thread of the gevent hub that made the writer. States: idle; armed (a batch is scheduled
or under way, or the writer waits for another process's lock); closed.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import Any, TypeVar

import gevent
from attrs import frozen
from gevent.event import Event
from gevent.hub import Waiter

from metawsm.bus.ports import Db, Outcome
from metawsm.domain.errors import OutcomeUnknown, Overloaded, Unavailable
from metawsm.storage.batch import Committer, Task

T = TypeVar("T")
OnFault = Callable[[str, Exception], None]
OnWal = Callable[[int], None]

_LOG = logging.getLogger(__name__)


@frozen
class WriterLimits:
    """The bounds of a writer. Seconds, unless the name says jobs.

    A batch ends at `batch_jobs` or after `batch_seconds`; the rest waits for the next turn of the loop. While another
    process holds the lock a job waits `lock_seconds` at most. `waiting_jobs` bounds the queue.
    """

    batch_jobs: int = 256
    batch_seconds: float = 0.020
    defer_seconds: float = 0.005
    lock_seconds: float = 10.0
    first_retry_seconds: float = 0.002
    last_retry_seconds: float = 0.100
    waiting_jobs: int = 20_000


@frozen
class WriterStats:
    """A snapshot for health and metrics. Times in milliseconds.

    `locked`: another process held the lock at the last try; `newest_lost`: the last batch could not be stored.
    """

    kind: str
    batches: int
    jobs: int
    failed_jobs: int
    repeated: int
    lost_batches: int
    newest_lost: bool
    queued: int
    last_commit_ms: float
    mean_commit_ms: float
    wal_pages: int
    locked: bool


def log_fault(what: str, error: Exception) -> None:
    """The default for what nobody waits for: one log line with the traceback."""
    _LOG.error("%s: %s", what, error, exc_info=error)


class GroupWriter(ABC):
    """The Writer port over a committer; a subclass says where a batch runs. Jobs run in the order of submission.

    Use it from the hub's thread only. `on_fault(what, error)` hears of failed deferred jobs and of broken `done`
    callbacks.
    """

    kind = ""

    def __init__(
        self,
        committer: Committer,
        *,
        limits: WriterLimits | None = None,
        on_fault: OnFault = log_fault,
    ) -> None:
        self._limits = limits or WriterLimits()
        self._committer = committer
        self._on_fault = on_fault
        self._on_wal: OnWal | None = None
        self._queue: deque[Task] = deque()
        self._armed = False
        self._closing = False
        self._holds = 0
        self._locked_turns = 0
        self._idle = Event()
        self._loop = gevent.get_hub().loop
        # `again`, not `start`: libev lets a stopped timer go on where it stood, so a second start fires at once.
        self._flush_timer = self._loop.timer(self._limits.defer_seconds, self._limits.defer_seconds)
        self._next_turn = self._loop.timer(0)

    @abstractmethod
    def _start(self, tasks: Sequence[Task]) -> None:
        """Commit `tasks` and call `_finish` on the hub with what `Committer.commit` returned."""

    def run(self, job: Callable[[Db], T]) -> T:
        """See `Writer.run`. A greenlet that is killed or times out meanwhile stops waiting; the job still runs."""
        waiter = Waiter()
        self.enqueue(job, waiter.switch)
        outcome: Outcome = waiter.get()
        if outcome.error is not None:
            try:
                raise outcome.error
            finally:
                del outcome  # else this frame and the error hold each other
        value: T = outcome.value
        return value

    def enqueue(self, job: Callable[[Db], Any], done: Callable[[Outcome], None]) -> None:
        """See `Writer.enqueue`. Raises Overloaded when too many jobs wait, Unavailable after `close`."""
        self._accept(Task(job, done, time.monotonic()))
        self._arm()

    def defer(self, job: Callable[[Db], Any], done: Callable[[Outcome], None] | None = None) -> None:
        """See `Writer.defer`. Without `done` a failure goes to `on_fault`; it never touches the jobs beside it."""
        self._accept(Task(job, done or self._deferred_done, time.monotonic()))
        if not self._armed and not self._flush_timer.active:
            self._flush_timer.again(self._arm)

    def watch_wal(self, on_wal: OnWal) -> None:
        """Tell `on_wal` the write-ahead log's length in pages after each batch; it owns checkpoints from now on."""
        self._on_wal = on_wal
        self._committer.watch_wal()

    def hold(self) -> None:
        """See `Writer.hold`. Several may hold it at once."""
        self._holds += 1

    def resume(self) -> None:
        """See `Writer.resume`."""
        self._holds -= 1
        if not self._armed:
            self._rest()

    @property
    def database(self) -> str:
        """The path of the database file."""
        return self._committer.database

    def stats(self) -> WriterStats:
        """The counters now."""
        counters = self._committer.counters
        return WriterStats(
            kind=self.kind,
            batches=counters.batches,
            jobs=counters.jobs,
            failed_jobs=counters.failed_jobs,
            repeated=counters.repeated,
            lost_batches=counters.lost_batches,
            newest_lost=counters.newest_lost,
            queued=len(self._queue),
            last_commit_ms=counters.last_commit_seconds * 1000,
            mean_commit_ms=counters.commit_seconds * 1000 / max(counters.batches, 1),
            wal_pages=self._committer.wal_pages,
            locked=self._locked_turns > 0,
        )

    def close(self, timeout: float = 15.0) -> None:
        """Refuse new jobs, commit those that wait (at most `timeout` seconds), close the connection.

        Not from the hub itself. A second call does nothing. What could not be committed in time fails as Unavailable.
        """
        if self._closing:
            return
        self._closing = True
        if self._queue or self._armed:
            self._arm()
            self._idle.wait(timeout)
        self._flush_timer.close()
        self._next_turn.close()
        self._give_up()
        self._release()

    def _give_up(self) -> None:
        if self._queue:
            pairs = [(task, Outcome(error=self._closed())) for task in self._take(len(self._queue))]
            # Callers are woken on the hub only; one turn of the loop is enough for that.
            self._loop.run_callback(self._deliver, pairs)
            gevent.sleep(0)

    def _release(self) -> None:
        self._committer.connection.close()

    def _closed(self) -> Unavailable:
        return Unavailable("the daemon is stopping; nothing was stored")

    def _accept(self, task: Task) -> None:
        if self._closing:
            raise self._closed()
        if len(self._queue) >= self._limits.waiting_jobs:
            raise Overloaded(f"{len(self._queue)} changes wait for the database already; nothing was stored")
        self._queue.append(task)

    def _arm(self) -> None:
        """See that a batch runs in the next turn of the loop.

        Not as a callback: a batch that calls for the next one would keep the loop from its sockets (`api/turns.py`).
        """
        if not self._armed:
            self._armed = True
            self._next_turn.start(self._turn)

    def _turn(self) -> None:
        self._flush_timer.stop()
        if self._holds:
            self._armed = False
            return
        tasks = self._take(self._limits.batch_jobs)
        if tasks:
            self._start(tasks)
        else:
            self._rest()

    def _take(self, count: int) -> list[Task]:
        queue = self._queue
        if len(queue) <= count:
            tasks = list(queue)
            queue.clear()
        else:
            tasks = [queue.popleft() for _ in range(count)]
        return tasks

    def _finish(self, tasks: Sequence[Task], outcomes: Sequence[Outcome] | None) -> None:
        """Tell the callers of a batch; what was not run goes back to the front of the queue."""
        if outcomes is None:
            self._queue.extendleft(reversed(tasks))
            self._wait_for_lock()
            return
        self._locked_turns = 0
        if len(outcomes) < len(tasks):
            self._queue.extendleft(reversed(tasks[len(outcomes) :]))
        # Jobs that `done` hands in are for the next batch, which may arm itself from here on.
        self._armed = False
        self._deliver(zip(tasks, outcomes, strict=False))
        if self._on_wal is not None:
            self._on_wal(self._committer.wal_pages)
        if not self._armed:  # else a turn is on its way; a second one would find the thread at work
            self._rest()

    def _escaped(self, tasks: Sequence[Task], error: BaseException) -> None:
        """Something that is no Exception (an interrupt) broke out of a batch: nobody knows how far it came."""
        self._finish(tasks, [Outcome(error=OutcomeUnknown(f"the writer was interrupted: {error!r}")) for _ in tasks])

    def _rest(self) -> None:
        self._armed = False
        if self._queue:
            self._arm()
        elif self._closing:
            self._idle.set()

    def _deliver(self, pairs: Iterable[tuple[Task, Outcome]]) -> None:
        for task, outcome in pairs:
            try:
                task.done(outcome)
            except Exception as error:  # noqa: BLE001 - one broken callback must not stop the others
                self._on_fault("a callback of the writer failed", error)

    def _deferred_done(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._on_fault("a deferred change was not stored", outcome.error)

    def _wait_for_lock(self) -> None:
        """Another process holds the lock: try again soon; tell those who have waited too long."""
        self._expire()
        if not self._queue:
            self._rest()
            return
        delay = min(self._limits.first_retry_seconds * 2**self._locked_turns, self._limits.last_retry_seconds)
        self._locked_turns = min(self._locked_turns + 1, 30)
        timer = self._loop.timer(delay)
        timer.start(self._retry, timer)

    def _retry(self, timer: Any) -> None:
        timer.close()
        self._turn()

    def _expire(self) -> None:
        oldest = time.monotonic() - self._limits.lock_seconds
        over = sum(1 for _ in takewhile(lambda task: task.since <= oldest, self._queue))
        self._deliver([(task, Outcome(error=self._locked_too_long())) for task in self._take(over)])

    def _locked_too_long(self) -> Unavailable:
        seconds = self._limits.lock_seconds
        return Unavailable(
            f"database is locked: another process has held {self._committer.database} for {seconds:g} s; "
            "end that process; nothing was stored"
        )
