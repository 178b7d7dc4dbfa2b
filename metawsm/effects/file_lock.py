"""A lock that outlives this process, in whatever it has started: the kernel keeps it while any of them lives."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from metawsm.domain.errors import OutsideError, TimedOut

LOOK_SECONDS = 0.05


@contextmanager
def held(file: Path, seconds: float) -> Iterator[int]:
    """Hold the lock on a file, which is there only as long; gives the open file, for programs to keep.

    Raises TimedOut when another still holds it after so many seconds, OutsideError when the disk does not take it.
    """
    lock = _acquire(file, time.monotonic() + seconds)
    try:
        yield lock
    finally:
        file.unlink(missing_ok=True)
        os.close(lock)


def _acquire(file: Path, deadline: float) -> int:
    while True:
        lock = _opened(file)
        if _is_locked(lock) and _is_there(lock, file):
            return lock
        os.close(lock)
        if time.monotonic() > deadline:
            raise TimedOut(f"{file} is held by a program of an earlier process that does not end.")
        time.sleep(LOOK_SECONDS)


def _opened(file: Path) -> int:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise OutsideError(f"{file} cannot be made: {error.strerror}.") from error


def _is_locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(lock: int, file: Path) -> bool:
    """Whether the name still is that of the file that was opened: who had the lock before has removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(lock), file.stat())
    return False
