"""Many jobs, one durable commit: the SQLite half of group commit, used by both writers.

Nothing here knows about gevent or threads. A `Committer` is used by one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import apsw
from attrs import define

from metawsm.bus.ports import Db, Outcome
from metawsm.domain.errors import MetawsmError, OutcomeUnknown, Unavailable
from metawsm.domain.values import value_class
from metawsm.storage.connection import Connection
from metawsm.storage.errors import translate

Clock = Callable[[], float]


@value_class
class Task:
    """One job, who is told of its outcome, and when it was handed in (monotonic seconds)."""

    job: Callable[[Db], Any]
    done: Callable[[Outcome], None]
    since: float


@define
class Counters:
    """What a committer did so far. `repeated` counts batches run again with a savepoint per job."""

    batches: int = 0
    jobs: int = 0
    failed_jobs: int = 0
    repeated: int = 0
    lost_batches: int = 0
    newest_lost: bool = False
    commit_seconds: float = 0.0
    last_commit_seconds: float = 0.0


def fetched(value: Any) -> Any:
    """The rows of a cursor, or any other value as it is: an open cursor would keep an old snapshot alive."""
    return value.fetchall() if type(value) is apsw.Cursor else value


def _bare(error: Exception) -> Exception:
    """An answer to a caller without the frames that it and its causes came through; a bug keeps them for the log.

    They would keep the error with all that its request has brought, and it them, until the garbage collector comes.
    """
    cause: BaseException | None = error
    while isinstance(cause, (MetawsmError, apsw.Error)):
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error


class _TransactionLost(Exception):
    """SQLite (disk full, I/O error, no memory) or the job itself ended the transaction: nothing of it is stored."""


class Committer:
    """Runs jobs inside transactions of one connection. Only its own COMMIT can store anything: see `_veto`."""

    def __init__(self, connection: Connection, *, batch_seconds: float, clock: Clock = time.monotonic) -> None:
        self.connection = connection
        self.counters = Counters()
        self.wal_pages = 0
        self.database = connection.db_filename("main")
        self._batch_seconds = batch_seconds
        self._clock = clock
        self._may_commit = False
        self._changes = 0
        self._unsettled: apsw.Error | None = None  # the I/O error of a COMMIT whose fate is still not known
        connection.set_commit_hook(self._veto)

    def _veto(self) -> bool:
        # A job that lost its transaction would otherwise go on in autocommit mode and store half of itself.
        return not self._may_commit

    def watch_wal(self) -> None:
        """Keep `wal_pages` up to date and leave checkpoints to somebody else (SQLite would run them in COMMIT)."""
        self.connection.set_wal_hook(self._note_wal)

    def _note_wal(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.wal_pages = pages
        return apsw.SQLITE_OK

    def commit(self, tasks: Sequence[Task]) -> Sequence[Outcome] | None:
        """Run the first of `tasks` until the time of a batch is over, store them in one commit, return their outcomes.

        There may be fewer outcomes than tasks: the others were not run. None means that another process holds the
        write lock: nothing was run. The jobs' own errors are outcomes; after the first of them the batch is rolled
        back and run again with a savepoint per job, so a job may be called twice.
        """
        if self._unsettled is not None and not self._settle():
            return self._fail(len(tasks), self._unsettled)  # not even tried: these surely are not stored
        self._unsettled = None
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except apsw.BusyError:
            return None
        except apsw.Error as error:
            return self._fail(len(tasks), error)
        if self.counters.newest_lost:
            self._changes = self.connection.total_changes()
        try:
            return self._stored(tasks)
        finally:
            if self.connection.in_transaction:
                self._roll_back()

    def _stored(self, tasks: Sequence[Task]) -> Sequence[Outcome] | None:
        outcomes: list[Outcome] = []
        try:
            failure = self._run(tasks, outcomes)
            if failure is not None and len(tasks) > 1:
                self._roll_back()
                return self._stored_one_by_one(tasks)
        except _TransactionLost as lost:
            return self._fail(len(outcomes) + 1, lost.__cause__)
        if failure is not None:
            self._count([failure])
            return [failure]
        return self._end(outcomes)

    def _run(self, tasks: Sequence[Task], outcomes: list[Outcome]) -> Outcome | None:
        """The fast path: append an outcome per task, up to the first that fails; return that failure."""
        connection, clock = self.connection, self._clock
        deadline = clock() + self._batch_seconds
        for task in tasks:
            try:
                value = fetched(task.job(connection))
            except Exception as error:  # noqa: BLE001 - whatever a job raises is its outcome
                return self._failure(error)
            if connection.get_autocommit():
                raise _TransactionLost
            outcomes.append(Outcome(value))
            if clock() > deadline:
                break
        return None

    def _stored_one_by_one(self, tasks: Sequence[Task]) -> Sequence[Outcome] | None:
        self.counters.repeated += 1
        outcomes: list[Outcome] = []
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            deadline = self._clock() + self._batch_seconds
            for task in tasks:
                outcomes.append(self._run_in_savepoint(task))
                if self._clock() > deadline:
                    break
        except apsw.BusyError:
            return None
        except apsw.Error as error:
            return self._fail(len(tasks), error)
        except _TransactionLost as lost:
            return self._fail(len(outcomes) + 1, lost.__cause__)
        return self._end(outcomes)

    def _run_in_savepoint(self, task: Task) -> Outcome:
        connection = self.connection
        connection.execute("SAVEPOINT job")
        try:
            outcome = Outcome(fetched(task.job(connection)))
        except Exception as error:  # noqa: BLE001 - whatever a job raises is its outcome
            self._check_transaction(error)
            connection.execute("ROLLBACK TO job")
            outcome = self._failure(error)
        self._check_transaction(None)
        connection.execute("RELEASE job")
        return outcome

    def _check_transaction(self, error: Exception | None) -> None:
        if self.connection.get_autocommit():
            raise _TransactionLost from error

    def _failure(self, error: Exception) -> Outcome:
        told = translate(error, self.database)
        return Outcome(error=_bare(told) if isinstance(told, MetawsmError) else told)

    def _end(self, outcomes: list[Outcome]) -> Sequence[Outcome]:
        """COMMIT; when that fails, find out whether the batch can still become durable."""
        started = self._clock()
        self._may_commit = True
        try:
            self.connection.execute("COMMIT")
        except apsw.Error as error:
            self._roll_back()
            self._unsettled = error if isinstance(error, apsw.IOError) and not self._settle() else None
            return self._fail(len(outcomes), error, unknown=self._unsettled is not None)
        finally:
            self._may_commit = False
        self._count(outcomes, self._clock() - started)
        return outcomes

    def _settle(self) -> bool:
        """After an I/O error in COMMIT: make sure that the batch is gone. False when that cannot be known.

        Its frames may be whole in the WAL file while this process has taken them back: a crash now would bring them to
        life. The next commit overwrites them from the first frame on, so commit something without meaning: the same
        user_version again.
        """
        self._may_commit = True
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self.connection.pragma("user_version", self.connection.pragma("user_version"))
            self.connection.execute("COMMIT")
        except apsw.Error:
            return False
        finally:
            self._may_commit = False
        return True

    def _roll_back(self) -> None:
        try:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
        except apsw.Error:
            # A ROLLBACK that fails still leaves nothing stored; the next BEGIN tells what is wrong.
            pass

    def _fail(self, count: int, error: BaseException | None, *, unknown: bool = False) -> Sequence[Outcome]:
        self.counters.lost_batches += 1
        self.counters.newest_lost = True
        outcomes = [Outcome(error=self._batch_error(error, unknown)) for _ in range(count)]
        self._count(outcomes)
        return outcomes

    def _batch_error(self, error: BaseException | None, unknown: bool) -> Exception:
        """An error of its own for each caller, so that tracebacks do not mix."""
        if unknown:
            told: Exception = OutcomeUnknown(f"database {self.database}: not known whether this was stored ({error})")
        elif isinstance(error, apsw.Error) and translate(error, self.database) is not error:
            return _bare(translate(error, self.database))
        else:
            why = error or "a job ended it"
            told = Unavailable(f"database {self.database}: the transaction was lost ({why}); nothing was stored")
        told.__cause__ = error
        return _bare(told)

    def _count(self, outcomes: Sequence[Outcome], seconds: float | None = None) -> None:
        counters = self.counters
        counters.jobs += len(outcomes)
        counters.failed_jobs += sum(outcome.error is not None for outcome in outcomes)
        if seconds is not None:
            counters.batches += 1
            # A batch that changed nothing is no sign that changes can be stored.
            if counters.newest_lost and self.connection.total_changes() != self._changes:
                counters.newest_lost = False
            counters.commit_seconds += seconds
            counters.last_commit_seconds = seconds
