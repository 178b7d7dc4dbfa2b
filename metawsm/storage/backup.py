"""Making a backup: a compact copy at one moment, checked and durable, while the database may go on being written."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apsw
from attrs import frozen

from metawsm.domain.errors import NotFound, Unavailable
from metawsm.storage.backup_files import (
    BackupFile,
    Owner,
    backups_in,
    check_room,
    digest_of,
    file_errors,
    make_empty,
    make_folder,
    name_of,
    part_of,
    prune,
    size_of,
    stamp,
    sync,
)
from metawsm.storage.errors import translate, translated
from metawsm.storage.examine import Facts, examine, never, owner_of
from metawsm.storage.identity import refuse_foreign

# Bytes that are handed to the disk at once: a commit beside it waits for that long, 6 to 10 ms. In one piece at the end
# it waited for 55 to 108 ms (240 MB, docs/decisions/0009).
_PORTION = 4 * 1024 * 1024
_STEPS = 5000  # of SQLite's machine between two looks
_BUSY_MS = 5000
# Faults of what is being written, unless they say that reading failed.
_OF_THE_TARGET = (apsw.FullError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError)
_READING = (apsw.SQLITE_IOERR_READ, apsw.SQLITE_IOERR_SHORT_READ, apsw.SQLITE_IOERR_CORRUPTFS)


@frozen
class Backup:
    """A backup that was made: its file, what it holds, and the older ones that were deleted for it."""

    file: BackupFile
    facts: Facts
    deleted: tuple[Path, ...]

    def as_json(self) -> dict[str, Any]:
        """The members that REST and `--json` show."""
        return self.facts.as_json() | self.file.as_json() | {"deleted": [str(path) for path in self.deleted]}


def create(
    database: Path,
    folder: Path,
    keep: int,
    before_version: int | None = None,
    is_cancelled: Callable[[], bool] = never,
) -> Backup:
    """Make a backup of `database` in `folder` and keep the furthest `keep` of its kind.

    It appears under its name when it is complete, checked and on the disk; `before_version` marks one that is taken
    before the schema of that version is changed. Only one process may do this for a database at a time:
    hold its lock. `is_cancelled` is asked often, and must not touch the database.
    Raises NotFound, Refused, Unavailable.
    """
    if not database.is_file():
        raise NotFound(f"there is no database {database}; name it with --db")
    owner = owner_of(database)
    make_folder(folder, owner.mark)
    check_room("the backup", folder, size_of(database), database.resolve().parent)
    at = stamp(datetime.now(UTC))
    part = part_of(folder, at, owner.mark)
    try:
        _copy_live(database, part, is_cancelled)
        told = examine(part, is_cancelled)
        with file_errors(part):
            digest = digest_of(part, is_cancelled)
        mark = Owner(owner.place, told.database_id).mark
        final = folder / name_of(at, mark, told.epoch, told.head_sequence, digest, before_version)
        with file_errors(final):
            part.rename(final)
    finally:
        part.unlink(missing_ok=True)
    sync(folder)
    made = next(each for each in backups_in(folder) if each.path == final)
    return Backup(made, told, tuple(prune(folder, made, keep)))


def copy(source: apsw.Connection, target: Path, is_cancelled: Callable[[], bool] = never) -> None:
    """Write the database as it is now, without free pages, into a new file (0600), and onto the disk.

    The source may be written meanwhile; its write-ahead log grows for that long. Raises Unavailable.
    """
    make_empty(target)
    with file_errors(target), _Pace(target, is_cancelled) as pace:
        source.set_progress_handler(pace.step, _STEPS)
        try:
            source.execute("VACUUM INTO ?", (str(target),))
        except apsw.InterruptError as error:
            raise Unavailable(f"the copy {target} was broken off") from error
        except _OF_THE_TARGET as error:
            if getattr(error, "extendedresult", 0) in _READING:
                raise
            raise translate(error, str(target)) from error
        finally:
            source.set_progress_handler(None)
    sync(target)


def _copy_live(database: Path, target: Path, is_cancelled: Callable[[], bool]) -> None:
    with translated(str(database)):
        # Who reads a file with a write-ahead log must be able to write beside it.
        connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(_BUSY_MS)
            refuse_foreign(connection, str(database))
            copy(connection, target, is_cancelled)
        finally:
            connection.close()


class _Pace:
    """Hands what has been written to the disk now and then, so that it never has much to do at once."""

    def __init__(self, target: Path, is_cancelled: Callable[[], bool]) -> None:
        self._target = target
        self._is_cancelled = is_cancelled
        self._handed = 0

    def __enter__(self) -> _Pace:
        self._descriptor = os.open(self._target, os.O_RDWR)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def step(self) -> bool:
        """Called by SQLite; True breaks the copying off."""
        size = os.fstat(self._descriptor).st_size
        if size > self._handed + _PORTION:
            self._handed = size
            os.fdatasync(self._descriptor)
        return self._is_cancelled()
