"""One daemon per database: a kernel lock on a file beside it, with a note about the holder inside."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

from attrs import asdict, frozen

from metawsm.domain.errors import Refused, Unavailable

PATIENCE = 0.2  # seconds


@frozen
class Holder:
    """Who holds the lock: process id, address it serves, start as RFC 3339."""

    pid: int
    addr: str
    started_at: str


class InstanceLock:
    """A lock that is held. The kernel frees it when the process ends, however it ends; children do not inherit it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def note(self, holder: Holder) -> None:
        """Write down who holds the lock, for the message the next one gets (again when the address is known)."""
        text = json.dumps(asdict(holder)).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def release(self) -> None:
        """Let go. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def lock_path(database: Path | str) -> Path:
    """`<database>.lock`, through symbolic links, so that two names of one file share one lock."""
    real = Path(database).resolve()
    return real.with_name(real.name + ".lock")


def acquire(database: Path | str, holder: Holder) -> InstanceLock:
    """Take the lock of `database` or raise Refused naming the process that has it."""
    path = lock_path(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(f"lock {path} cannot be opened: {error.strerror}; check the folder and its mode") from error
    if not _taken_soon(descriptor):
        os.close(descriptor)
        raise Refused(_taken(database, path))
    lock = InstanceLock(path, descriptor)
    lock.note(holder)
    return lock


def _taken_soon(descriptor: int) -> bool:
    """Whether the lock is ours now. `doctor` looks whether it is held by taking it for a moment: that passes."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.01)
        else:
            return True


def holder_of(database: Path | str) -> Holder | None:
    """The note in the lock file: the current or the last holder; None when there is none to read."""
    try:
        return Holder(**json.loads(lock_path(database).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def _taken(database: Path | str, path: Path) -> str:
    holder = holder_of(database)
    who = f"process {holder.pid} at {holder.addr} since {holder.started_at}" if holder else "another process"
    return f"database {database} is in use by {who} (lock {path}); stop that daemon first, or use it"
