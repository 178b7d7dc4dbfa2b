"""Opening the database file: one set of settings for the writer, one for readers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import apsw

from metawsm.domain.errors import Refused, Unavailable
from metawsm.storage.errors import translated
from metawsm.storage.identity import refuse_foreign

# On the hub a wait inside SQLite stops everybody, so it is short; the writer tries again by timer.
WRITER_BUSY_MS = 2
READER_BUSY_MS = 50
WAL_KEPT_BYTES = 64 * 1024 * 1024
STATEMENTS_KEPT = 256

_SHARED = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    # A read error in mapped memory kills the process (SIGBUS); a failed read() is an error we can tell.
    "PRAGMA mmap_size = 0",
)


def tune_sqlite() -> None:
    """Settings of SQLite for the whole process: call it before the first connection is opened.

    Nobody asks how much memory SQLite uses, so it need not be counted under a lock; and most of what a statement
    allocates fits into 1,200 places of 128 or 1,200 bytes, together 480,000, that each connection keeps instead of 120
    (sqlite.org/malloc.html, 3.1 and 3.3).
    """
    apsw.shutdown()
    apsw.config(apsw.SQLITE_CONFIG_MEMSTATUS, False)
    apsw.config(apsw.SQLITE_CONFIG_LOOKASIDE, 1200, 400)
    apsw.initialize()


class Connection(apsw.Connection):
    """A connection that keeps one cursor, for statements without rows: a new one costs half of a small statement.

    The two hold each other until it is closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.run = self.cursor().execute


def open_writer(path: Path | str, *, cache_kib: int = 32 * 1024, busy_ms: int = WRITER_BUSY_MS) -> Connection:
    """Open the database for writing, creating the folder (0700) and the file (0600) where they are missing.

    Every commit is durable when COMMIT returns (WAL, synchronous=FULL). Raises Refused for a file that is not ours,
    before anything in it is changed, and Unavailable when it cannot be opened or is locked.
    """
    file = Path(path)
    _create(file)
    with translated(str(file)):
        connection = Connection(str(file), statementcachesize=STATEMENTS_KEPT)
        try:
            _prepare_writer(connection, file, cache_kib, busy_ms)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare_writer(connection: apsw.Connection, file: Path, cache_kib: int, busy_ms: int) -> None:
    # Opening may wait: nobody is served yet, and a closing process may still be checkpointing.
    connection.set_busy_timeout(1000)
    try:
        refuse_foreign(connection, str(file))
    except apsw.NotADBError as error:
        raise Refused(f"{file} is not a SQLite database; name another file with --db") from error
    _harden(connection, cache_kib)
    if connection.pragma("journal_mode", "WAL") != "wal":
        raise Unavailable(f"database {file} cannot use a write-ahead log; keep it on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    connection.transaction_mode = "IMMEDIATE"
    connection.set_busy_timeout(busy_ms)


def open_reader(path: Path | str, *, cache_kib: int = 8 * 1024) -> Connection:
    """Open an existing database for reading only. Raises Unavailable when it cannot be opened.

    The file itself is opened for writing, as a WAL reader must be able to write its shared index; `query_only` keeps
    every statement from changing anything.
    """
    with translated(str(path)):
        connection = Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=STATEMENTS_KEPT)
        try:
            connection.set_busy_timeout(READER_BUSY_MS)
            _harden(connection, cache_kib)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _harden(connection: apsw.Connection, cache_kib: int) -> None:
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    # Without it a statement over a table with partial indexes is planned anew whenever a parameter changes.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for pragma in _SHARED:
        connection.execute(pragma)
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")


def _create(file: Path) -> None:
    """Make folder and file, private ones, where they are missing.

    An existing file is not opened here, not even for a moment: closing any descriptor of a file drops all locks that
    this process has on it, those of SQLite's connections too (sqlite.org/howtocorrupt.html, 2.2). Another program that
    then looks into the database believes to be the last one, and deletes the write-ahead log at its end.
    """
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would create the file with the umask's mode; its -wal and -shm take the mode of the file.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        _check_existing(file)
    except OSError as error:
        raise _cannot_open(file, str(error.strerror)) from error


def _check_existing(file: Path) -> None:
    if file.is_dir():
        raise Refused(f"{file} is a folder; name a file with --db")
    if not os.access(file, os.R_OK | os.W_OK):
        raise _cannot_open(file, "it may not be read and written")


def _cannot_open(file: Path, why: str) -> Unavailable:
    return Unavailable(f"database {file} cannot be opened: {why}; check its folder, mode and file system")
