"""Looking into a database without leaving a trace: no file is made, none is changed, whoever else has it open."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import apsw

from metawsm.bus.ports import Db
from metawsm.domain.errors import Unavailable
from metawsm.storage.connection import Connection
from metawsm.storage.errors import translated
from metawsm.storage.identity import refuse_foreign
from metawsm.storage.lock import lock_path

T = TypeVar("T")

OLDEST_SQLITE = (3, 51, 3)
"""Older versions can damage a database when its write-ahead log begins anew. Source: SQLite's release notes."""

# SQLite asks for the time once per this many steps of its virtual machine.
_STEPS = 10_000
_MOST_FAULTS = 10
# Offset of the two bytes of the file's header that say how it is journalled; 2 means a write-ahead log.
# Source: SQLite's file format, section 1.3.
_HEADER_MODE = 18


def sqlite_version() -> tuple[int, ...]:
    """The version of the SQLite inside this program."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def is_held(database: Path | str) -> bool:
    """Whether a daemon holds the lock of `database` now. Nothing is made when there is no lock file.

    Asked by a shared lock that is given back at once. Raises Unavailable when the lock file may not be read.
    """
    path = lock_path(database)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise Unavailable(f"lock {path} cannot be read: {error.strerror}; ask as the daemon's user") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def keeps_a_log(database: Path) -> bool:
    """Whether the file's header says that it is journalled by a write-ahead log. Raises Unavailable."""
    try:
        with database.open("rb") as file:
            file.seek(_HEADER_MODE)
            return file.read(2) == b"\x02\x02"
    except OSError as error:
        raise Unavailable(f"database {database} cannot be read: {error.strerror}") from error


class Examiner:
    """A read-only connection for one look. Every method raises Unavailable when the file cannot be read."""

    def __init__(self, database: Path) -> None:
        """Open an existing file. Raises Unavailable, also where looking would need a file to be made."""
        self._database = str(database)
        self._deadline = float("inf")
        address = _address(database)
        with translated(self._database):
            self._connection = Connection(address, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
            self._connection.set_busy_timeout(500)
            self._connection.set_progress_handler(self._over, _STEPS)

    def __enter__(self) -> Examiner:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._connection.close()

    @property
    def timed_out(self) -> bool:
        """Whether the time of the last question is over."""
        return self._over()

    def refuse_foreign(self) -> None:
        """Raise Refused when the database belongs to another program."""
        with translated(self._database):
            refuse_foreign(self._connection, self._database)

    def schema_version(self) -> int:
        """The version of its schema; 0 for a new one."""
        with translated(self._database):
            return int(self._connection.pragma("user_version"))

    def faults(self, *, whole: bool, seconds: float | None) -> Sequence[str] | None:
        """What SQLite's own check finds; `whole` compares indexes with their tables, too. None: not done in time."""
        check = "integrity_check" if whole else "quick_check"
        rows = self._within(f"PRAGMA {check}({_MOST_FAULTS})", seconds)
        return rows if rows is None else [str(text) for (text,) in rows if text != "ok"]

    def broken_references(self, seconds: float | None) -> int | None:
        """How many rows refer to nothing. None: not done in time."""
        rows = self._within("PRAGMA foreign_key_check", seconds)
        return None if rows is None else len(rows)

    def read(self, query: Callable[[Db], T], seconds: float) -> T:
        """Call `query` inside one read transaction. Raises Unavailable when it takes longer than `seconds`."""
        self._deadline = time.monotonic() + seconds
        with translated(self._database):
            self._connection.execute("BEGIN")
            try:
                return query(self._connection)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _within(self, sql: str, seconds: float | None) -> list[tuple[object, ...]] | None:
        self._deadline = float("inf") if seconds is None else time.monotonic() + seconds
        with translated(self._database):
            try:
                return list(self._connection.execute(sql))
            except apsw.InterruptError:
                return None

    def _over(self) -> bool:
        return time.monotonic() > self._deadline


def _address(database: Path) -> str:
    """How to open the file so that nothing is made.

    With a log beside it the index of the log is read as it is, or built in memory, never written. Without a log the
    file is all there is; opened as usual, SQLite would make both.
    """
    name = f"file:{quote(str(database.resolve()))}?mode=ro"
    log, index = (Path(f"{database.resolve()}{suffix}") for suffix in ("-wal", "-shm"))
    if log.exists() and index.exists():
        return f"{name}&readonly_shm=1"
    if log.exists() and log.stat().st_size:
        raise Unavailable(f"database {database} has a write-ahead log without its index; the next start makes it anew")
    return f"{name}&immutable=1"
