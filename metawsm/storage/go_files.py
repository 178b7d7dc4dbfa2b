"""The files of an import: the Go program's database held and copied, the new one put in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import apsw

from metawsm.domain.errors import Refused, Unavailable
from metawsm.storage.backup_files import file_errors, make_empty, sync
from metawsm.storage.errors import translated
from metawsm.storage.identity import APPLICATION_ID, application_id, is_go_program

# The Go program opens its database for each statement alone; one that works is met within this time.
_BUSY_MS = 3000
# The copy, the new database and its write-ahead log, each about as large as theirs.
_ROOM = 3
_SIDES = ("-wal", "-shm", "-journal")
_STEP_PAGES = 1000
_READ = 1024 * 1024
# Fields of SQLite's file header that say how often and by which version the file was written, not what is in it: change
# counter, schema cookie, version-valid-for and library version (https://www.sqlite.org/fileformat2.html, section 1.3).
_COUNTERS = ((24, 28), (40, 44), (92, 100))


@contextmanager
def held(path: Path) -> Iterator[apsw.Connection]:
    """The Go program's database, open and locked against every other process while the block lasts.

    Raises Refused when it is not of the Go program, Unavailable when another process holds it.
    """
    with translated(str(path)):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with translated(str(path)):
            connection.set_busy_timeout(_BUSY_MS)
            # Before the first look: only so does a write-ahead log need no memory shared with other processes.
            connection.pragma("locking_mode", "EXCLUSIVE")
            _check_owner(connection, path)
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("COMMIT")
        yield connection
    finally:
        connection.close()


def _check_owner(connection: apsw.Connection, path: Path) -> None:
    try:
        owner, theirs = application_id(connection), is_go_program(connection)
    except apsw.NotADBError as error:
        raise Refused(f"{path} is not a SQLite database; name the Go program's with --from or --db") from error
    if owner == APPLICATION_ID:
        raise Refused(f"database {path} is one of metawsm's own; there is nothing to import")
    if not theirs:
        raise Refused(f"database {path} is not one of the Go program; name that with --from or --db")


def check_room(source: Path, folder: Path) -> None:
    """Raise Unavailable when the file system of `folder` is too full for the import of `source`."""
    needed = _ROOM * sum(part.stat().st_size for part in (source, Path(f"{source}-wal")) if part.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Unavailable(f"the import of {source} needs {needed:,} bytes in {folder}, {free:,} are free")


def copy(source: apsw.Connection, target: Path) -> str:
    """Copy a database with SQLite's backup API to a new file: checked, on disk, mode 0600.

    Returns the SHA-256 of its content in hex. Raises Refused when the copy is damaged, as the source then is.
    """
    remove(target)
    make_empty(target)
    with translated(str(target)):
        connection = apsw.Connection(str(target))
        try:
            _copy_pages(source, connection)
            connection.pragma("journal_mode", "DELETE")
            if (found := connection.pragma("quick_check")) != "ok":
                raise Refused(f"database {source.db_filename('main')} is damaged: {found}; repair it before the import")
        finally:
            connection.close()
    sync(target)
    with file_errors(target):
        return _digest(target)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        head = bytearray(file.read(100))
        for start, end in _COUNTERS:
            head[start:end] = bytes(end - start)
        digest = sha256(head)
        while data := file.read(_READ):
            digest.update(data)
    return digest.hexdigest()


def _copy_pages(source: apsw.Connection, target: apsw.Connection) -> None:
    with target.backup("main", source, "main") as job:
        while not job.done:
            job.step(_STEP_PAGES)


def settle(connection: apsw.Connection) -> None:
    """Take the write-ahead log into the main file, and away: the file, or its name, is about to move."""
    name = connection.db_filename("main")
    with translated(name):
        connection.pragma("journal_mode", "DELETE")
    # A connection that locks for itself keeps its empty rollback journal; another file of this name must not meet it.
    Path(f"{name}-journal").unlink(missing_ok=True)


def make_whole(path: Path) -> None:
    """Let a database that nobody has open be one file, whatever a process that was killed has left beside it."""
    with translated(str(path)):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        settle(connection)
    finally:
        connection.close()


def put(new: Path, place: Path) -> None:
    """Give the file `new` the name `place`, whole or not at all, on disk."""
    sync(new)
    with file_errors(new):
        os.replace(new, place)
    sync(place.parent)


def remove(path: Path) -> None:
    """Delete a database file and what SQLite keeps beside it, as far as they are there."""
    with file_errors(path):
        for side in (*_SIDES, ""):
            Path(f"{path}{side}").unlink(missing_ok=True)
