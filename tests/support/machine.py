"""Bad days of a machine, made for real: a small disk, files that cannot be changed, a clock that is set."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.services import missing, program


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own at `folder`, of `size` bytes ("48m"), in memory."""
    if os.geteuid() != 0:
        missing("mounting a small file system needs root")
    folder.mkdir(parents=True, exist_ok=True)
    mount = [program("mount"), "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        missing(f"this machine forbids mounting: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([program("umount"), "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Inside the block the disk of `folder` has no byte left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while out.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Inside the block the file system that is mounted at `folder` is read-only; no file on it may be open before."""
    subprocess.run([program("mount"), "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run([program("mount"), "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def no_writes(pid: int) -> Iterator[None]:
    """Inside the block a process cannot write to any file (setrlimit(2), RLIMIT_FSIZE: EFBIG)."""
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def immutable(*files: Path) -> Iterator[None]:
    """Inside the block nobody can change the files, not even through descriptors that are open (chattr(1), i)."""
    try:
        for file in files:
            done = subprocess.run([program("chattr"), "+i", str(file)], capture_output=True, text=True)
            if done.returncode != 0:
                missing(f"files cannot be made immutable here: {done.stderr.strip()}")
        yield
    finally:
        subprocess.run([program("chattr"), "-i", *map(str, files)], check=True)


class Clock:
    """The wall clock of the processes that get `environment`; the monotonic clock stays the machine's.

    Done by libfaketime in the process itself, so that nothing in the program knows of it.
    """

    def __init__(self, folder: Path) -> None:
        self._library = _libfaketime()
        self._file = folder / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """Let the clock differ from the machine's by so much."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds:+d}\n")
        draft.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a process that lives by this clock."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def _libfaketime() -> Path:
    """Where Debian's package puts the library, whatever the architecture."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return found[0] if found else missing("needs libfaketime (Debian's package faketime)")
