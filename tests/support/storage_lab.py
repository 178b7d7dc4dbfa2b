"""What the storage tests share: a small schema, a process that holds the lock, a disk that fails on demand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from metawsm.bus.ports import Db
from metawsm.storage.connection import Connection, open_reader, open_writer
from metawsm.storage.migrations import Migration, migrate

ITEMS = Migration(1, "items", lambda db: db.execute("CREATE TABLE item(id INTEGER PRIMARY KEY AUTOINCREMENT, value)"))

_HOLDER = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(5000)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("ROLLBACK")
"""


def item_database(path: Path) -> Connection:
    """A writer connection to a new database with the table `item(id, value)`."""
    connection = open_writer(path)
    migrate(connection, [ITEMS])
    return connection


def insert(db: Db, value: object) -> int:
    """Add one item; return its id."""
    db.execute("INSERT INTO item(value) VALUES (?)", (value,))
    return db.last_insert_rowid()


def values(path: Path) -> list[object]:
    """All items as another connection sees them, in the order of their ids."""
    connection = open_reader(path)
    try:
        return [value for (value,) in connection.execute("SELECT value FROM item ORDER BY id")]
    finally:
        connection.close()


class LockHolder:
    """Another process inside a write transaction, until `release`."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", _HOLDER, str(path)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"held\n"

    def release(self) -> None:
        """End the transaction and the process."""
        self._process.communicate(b"\n", timeout=10)


@contextmanager
def lock_held(path: Path) -> Iterator[LockHolder]:
    """Another process holds the write lock of `path` inside the block, or until it is told to release it."""
    holder = LockHolder(path)
    try:
        yield holder
    finally:
        if holder._process.poll() is None:
            holder.release()


class FailingDisk(apsw.VFS):
    """A real file system whose fsync fails while `broken` is above zero; each failure takes one off."""

    name = "failing-disk"

    def __init__(self) -> None:
        super().__init__(self.name, "unix")
        self.broken = 0

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        """Open through the real file system, with our fsync."""
        return _FailingFile(self, name, flags)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Files opened inside the block are on this disk."""
        before = apsw.vfs_names()[0]
        apsw.set_default_vfs(self.name)
        try:
            yield
        finally:
            apsw.set_default_vfs(before)


class _FailingFile(apsw.VFSFile):
    def __init__(self, disk: FailingDisk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.broken > 0:
            self._disk.broken -= 1
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
