"""Reading: short queries on the hub under a time cap, longer ones in threads with connections of their own."""

from __future__ import annotations

import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from metawsm.bus.ports import Db
from metawsm.domain.errors import Unavailable
from metawsm.storage.batch import fetched
from metawsm.storage.connection import open_reader
from metawsm.storage.errors import translated
from metawsm.storage.threads import Threads

T = TypeVar("T")

# SQLite asks for the time once per this many steps of its virtual machine: about 0.2 ms apart.
_STEPS = 4000
_HUB_CACHE_KIB = 64 * 1024  # fills with use; a search among a million threads reads thousands of pages
_THREAD_CACHE_KIB = 8 * 1024


class Reader:
    """One read-only connection whose queries end at a deadline."""

    def __init__(self, path: Path | str, cache_kib: int) -> None:
        self._database = str(path)
        self._connection = open_reader(path, cache_kib=cache_kib)
        self._deadline = 0.0
        self._connection.set_progress_handler(self._over, _STEPS)

    def _over(self) -> bool:
        return time.monotonic() > self._deadline

    def run(self, query: Callable[[Db], T], seconds: float) -> T:
        """Call `query` inside one read transaction, so that all its statements see the same, newest commit.

        Raises Unavailable when it takes longer than `seconds` inside SQLite.
        """
        connection = self._connection
        self._deadline = time.monotonic() + seconds
        with translated(self._database):
            connection.execute("BEGIN")
            try:
                value: T = fetched(query(connection))
            except Exception as error:
                # A cursor that is half read in one of them would hold the snapshot, and may only be freed here.
                traceback.clear_frames(error.__traceback__)
                raise
            finally:
                # An interrupted statement has ended the transaction already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        if connection.txn_state("main") != apsw.SQLITE_TXN_NONE:
            raise TypeError("a query must return rows, not something that still reads them")
        return value

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class Readers:
    """All reading of one database by one process. Made on the hub's thread, used from greenlets.

    `hub_seconds` caps a query on the hub, `slow_seconds` one in a thread; `threads` bounds those that run at once,
    further ones wait their turn.
    """

    def __init__(
        self, path: Path | str, *, hub_seconds: float = 0.250, slow_seconds: float = 10.0, threads: int = 2
    ) -> None:
        self._path = path
        self._hub_seconds = hub_seconds
        self._slow_seconds = slow_seconds
        self._hub = Reader(path, _HUB_CACHE_KIB)
        self._idle: deque[Reader] = deque()
        self._threads = Threads(threads)
        self._closed = False

    def query(self, query: Callable[[Db], T]) -> T:
        """Run a short query at once, on the hub; it must not switch greenlets.

        Raises Unavailable ("took too long") after `hub_seconds`, and when the database cannot be read.
        """
        self._check_open()
        return self._hub.run(query, self._hub_seconds)

    def slow(self, query: Callable[[Db], T], seconds: float | None = None) -> T:
        """Run a long query in a thread while this greenlet waits; it must touch the database only.

        Raises Unavailable after `seconds` (default `slow_seconds`), and when the database cannot be read.
        """
        self._check_open()
        limit = self._slow_seconds if seconds is None else seconds
        return self._threads.call(lambda: self._in_thread(query, limit))

    def _in_thread(self, query: Callable[[Db], T], seconds: float) -> T:
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = Reader(self._path, _THREAD_CACHE_KIB)
        try:
            return reader.run(query, seconds)
        finally:
            self._idle.append(reader)

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the daemon is stopping")

    def close(self) -> None:
        """Wait for the threads, then close all connections. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._threads.close()
        while self._idle:
            self._idle.pop().close()
        self._hub.close()
