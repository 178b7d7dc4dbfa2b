"""Which writer fits this disk: measured at start."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Literal

from metawsm.storage.batch import Committer
from metawsm.storage.connection import Connection, open_writer
from metawsm.storage.errors import translated
from metawsm.storage.group_writer import GroupWriter, OnFault, WriterLimits, log_fault
from metawsm.storage.hub_writer import HubWriter
from metawsm.storage.thread_writer import ThreadWriter

Kind = Literal["auto", "hub", "thread"]

# A commit on the hub stops every request for its length; above this a thread is the smaller evil.
SLOW_COMMIT_MS = 10.0
_PROBES = 5


def measure_commit_ms(path: Path | str) -> float:
    """The median time in milliseconds of one durable commit in the folder of `path`, on a scratch file.

    Raises Unavailable when nothing can be written there.
    """
    scratch = Path(path).parent / f".commit-probe-{os.getpid()}"
    try:
        connection = open_writer(scratch)
        try:
            with translated(str(scratch)):
                return statistics.median(_probe(connection) for _ in range(_PROBES))
        finally:
            connection.close()
    finally:
        for suffix in ("", "-wal", "-shm"):
            Path(f"{scratch}{suffix}").unlink(missing_ok=True)


def _probe(connection: Connection) -> float:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE IF NOT EXISTS probe(value)")
    connection.execute("INSERT INTO probe VALUES (randomblob(2000))")
    started = time.perf_counter()
    connection.execute("COMMIT")
    return (time.perf_counter() - started) * 1000


def make_writer(
    path: Path | str,
    *,
    kind: Kind = "auto",
    limits: WriterLimits | None = None,
    on_fault: OnFault = log_fault,
    connection: Connection | None = None,
) -> GroupWriter:
    """Open `path` (or take over `connection`, open for writing and migrated) and put the fitting writer over it.

    `auto` measures the disk. The writer owns the connection from here on and closes it.
    """
    chosen = kind if kind != "auto" else _fitting(path)
    limits = limits or WriterLimits()
    committer = Committer(connection or open_writer(path), batch_seconds=limits.batch_seconds)
    writer = HubWriter if chosen == "hub" else ThreadWriter
    return writer(committer, limits=limits, on_fault=on_fault)


def _fitting(path: Path | str) -> Literal["hub", "thread"]:
    return "thread" if measure_commit_ms(path) > SLOW_COMMIT_MS else "hub"
