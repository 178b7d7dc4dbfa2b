"""Keeping the files in shape beside a busy writer: checkpoints, the WAL's length, free space."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import apsw
import gevent
from attrs import define

from metawsm.domain.errors import Unavailable
from metawsm.storage.connection import WAL_KEPT_BYTES, open_writer
from metawsm.storage.errors import translated
from metawsm.storage.group_writer import GroupWriter, OnFault, log_fault
from metawsm.storage.threads import Threads

PAGE_BYTES = 4096
# From here on a checkpoint copies the log into the database and lets the writer start at its beginning again. With half
# as much a backlog takes 3 % longer: the writer stands aside for some milliseconds each time.
CHECKPOINT_PAGES = 32 * 1024 * 1024 // PAGE_BYTES
# What the log is given at the start; it gets longer where there is more to do.
FIRST_BYTES = 16 * 1024 * 1024
# A log this long means that checkpoints do not get through (a reader that never ends): health should say so.
ALARM_PAGES = WAL_KEPT_BYTES // PAGE_BYTES
# A restart holds the write lock while it waits for readers; the writer on the hub tries again by timer meanwhile.
_RESTART_BUSY_MS = 20
_PASSIVE_ROUNDS = 3
_SHORT_REST_PAGES = 256
_STARVED_PAUSE_SECONDS = 0.25
_FAILED_PAUSE_SECONDS = 5.0
_ZEROS = bytes(256 * 1024)


@define
class MaintenanceCounters:
    """What happened so far. `starved` counts checkpoints that could not let the log start again."""

    checkpoints: int = 0
    starved: int = 0


class Maintenance:
    """One thread with a connection of its own, so that the hub never waits for a checkpoint's fsync.

    Takes checkpoints over from `writer`; close it before the writer. Made and used on the hub's thread.
    """

    def __init__(self, writer: GroupWriter, *, on_fault: OnFault = log_fault, pages: int = CHECKPOINT_PAGES) -> None:
        self.counters = MaintenanceCounters()
        self._writer = writer
        self._path = writer.database
        self._pages = pages
        self._on_fault = on_fault
        self._thread = Threads(1)
        self._connection: apsw.Connection | None = None
        self._background: gevent.Greenlet | None = None
        self._closed = False
        writer.watch_wal(self._watch)

    def extend(self) -> None:
        """Give the write-ahead log its first length, see `extend_wal`; waits some 20 ms. For the start."""
        self._thread.call(lambda: extend_wal(self._open()))

    def _watch(self, wal_pages: int) -> None:
        if wal_pages >= self._pages and not self._background and not self._closed:
            self._background = gevent.spawn(self._in_background)

    def checkpoint(self) -> bool:
        """Copy the log into the database now and wait for it; True when the log starts again from its beginning."""
        self.counters.checkpoints += 1
        self._thread.call(self._copy)
        # Under load the lock is never free for long: the writer stands aside for the moment of the restart.
        self._writer.hold()
        try:
            again = self._thread.call(self._restart)
        finally:
            self._writer.resume()
        self.counters.starved += not again
        return again

    def close(self) -> None:
        """Stop the background work, wait for the thread, close the connection. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._background:
            self._background.kill()
        self._thread.close()
        if self._connection is not None:
            self._connection.close()

    def _in_background(self) -> None:
        try:
            if not self.checkpoint():
                gevent.sleep(_STARVED_PAUSE_SECONDS)
        except Exception as error:  # noqa: BLE001 - nobody waits for it; a later batch tries again
            self._on_fault("a checkpoint failed", error)
            gevent.sleep(_FAILED_PAUSE_SECONDS)

    def _open(self) -> apsw.Connection:
        if self._connection is None:
            self._connection = open_writer(self._path, cache_kib=1024, busy_ms=_RESTART_BUSY_MS)
            self._connection.wal_autocheckpoint(0)
        return self._connection

    def _copy(self) -> None:
        """Copy most of the log without any lock, so that the restart finds little to do."""
        connection = self._open()
        for _ in range(_PASSIVE_ROUNDS):
            with translated(self._path):
                pages, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            if pages - copied < _SHORT_REST_PAGES:
                return

    def _restart(self) -> bool:
        try:
            with translated(self._path):
                self._open().wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except Unavailable as error:
            if isinstance(error.__cause__, apsw.BusyError):
                return False
            raise
        return True


def extend_wal(connection: apsw.Connection, size: int = FIRST_BYTES) -> None:
    """Make the write-ahead log of this writer connection so long at once (bytes), where the disk has room for it.

    A commit inside the file is cheaper than one that makes it longer. Zeros behind the last frame are not a frame, so
    SQLite ignores them. The write lock is held meanwhile: nobody else appends.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        before = wal_bytes(connection.db_filename("main"))
        try:
            _append_zeros(connection.filename_wal, size - before)
        except OSError:
            os.truncate(connection.filename_wal, before)  # commits need what room there is
    finally:
        connection.execute("ROLLBACK")


def _append_zeros(path: str, count: int) -> None:
    if count > 0:
        with open(path, "ab") as file:
            file.writelines(_ZEROS[: count - start] for start in range(0, count, len(_ZEROS)))
            file.flush()
            os.fsync(file.fileno())


def wal_bytes(path: Path | str) -> int:
    """The length of the write-ahead log's file; 0 when there is none."""
    try:
        return os.stat(f"{path}-wal").st_size
    except FileNotFoundError:
        return 0


def free_disk(path: Path | str) -> int:
    """Bytes this process may still write beside the file `path`."""
    return shutil.disk_usage(Path(path).resolve().parent).free
