"""Backups as files: their names, which say what they hold, their list, and how many are kept."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from metawsm.domain.errors import Unavailable

DIGEST_CHARS = 16  # of the SHA-256 in hex: enough to see damage, not meant against forgery
_NAME = re.compile(
    r"metawsm-(?P<at>\d{8}T\d{12}Z)(?:-e(?P<epoch>\d{1,19})-s(?P<sequence>\d{1,19})(?:-v(?P<version>\d{1,9}))?"
    rf"-(?P<digest>[0-9a-f]{{{DIGEST_CHARS}}})|-(?P<replaced>replaced))\.db"
)
_PART = re.compile(r"\.metawsm-\d{8}T\d{12}Z\.part(-journal)?")
_READ = 1024 * 1024


@frozen
class BackupFile:
    """One backup. `kind`: `backup` (asked for), `migration` (before the schema changed), `replaced` (by a restore).

    Epoch and head sequence are unknown (None) for a replaced file, which may have been damaged; size in bytes.
    """

    path: Path
    kind: str
    created_at: str
    size: int
    epoch: int | None = None
    head_sequence: int | None = None

    def as_json(self) -> dict[str, Any]:
        """The members that REST and `--json` show."""
        shown: dict[str, Any] = {"file": str(self.path), "kind": self.kind, "created_at": self.created_at}
        shown |= {"bytes": self.size, "epoch": self.epoch, "head_sequence": self.head_sequence}
        return {name: value for name, value in shown.items() if value is not None}


def stamp(now: datetime) -> str:
    """The time as names carry it: `20261122T125341123456Z`, UTC, microseconds."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S%f}Z"


def name_of(at: str, epoch: int, sequence: int, digest: str, version: int | None = None) -> str:
    """The name of a backup; `version` is the schema that it was taken of before a migration."""
    before = f"-v{version}" if version is not None else ""
    return f"metawsm-{at}-e{epoch}-s{sequence}{before}-{digest}.db"


def digest_in(path: Path) -> str | None:
    """The checksum that stands in a backup's name; None in any other name."""
    found = _NAME.fullmatch(path.name)
    return found and found["digest"]


def digest_of(path: Path, is_cancelled: Callable[[], bool]) -> str:
    """The checksum of a file's bytes. Raises Unavailable when it is cancelled."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_READ):
            digest.update(data)
            if is_cancelled():
                raise Unavailable(f"looking through {path} was broken off")
    return digest.hexdigest()[:DIGEST_CHARS]


def backups_in(folder: Path) -> list[BackupFile]:
    """The backups in a folder by their names, newest first; none when there is no such folder."""
    with file_errors(folder):
        found = [_described(path) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((each for each in found if each), key=lambda each: each.path.name, reverse=True)


def _described(path: Path) -> BackupFile | None:
    found = _NAME.fullmatch(path.name)
    if found is None or not path.is_file():
        return None
    size = path.stat().st_size
    if found["replaced"]:
        return BackupFile(path, "replaced", _time(found["at"]), size)
    kind = "migration" if found["version"] else "backup"
    return BackupFile(path, kind, _time(found["at"]), size, int(found["epoch"]), int(found["sequence"]))


def _time(at: str) -> str:
    return f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[9:11]}:{at[11:13]}:{at[13:15]}.{at[15:21]}Z"


def prune(folder: Path, kind: str, keep: int) -> list[Path]:
    """Delete all but the newest `keep` backups of a kind; return those that went. Other files are never touched."""
    surplus = [each.path for each in backups_in(folder) if each.kind == kind][keep:]
    with file_errors(folder):
        for path in surplus:
            path.unlink(missing_ok=True)
    return surplus


def make_folder(folder: Path) -> None:
    """The folder of backups, 0700 when it is made now, without what a backup that was cut off has left there."""
    with file_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.iterdir():
            if _PART.fullmatch(path.name):
                path.unlink(missing_ok=True)


def part_of(folder: Path, at: str) -> Path:
    """Where a backup grows before it gets its name."""
    return folder / f".metawsm-{at}.part"


def replaced_name(at: str) -> str:
    """The name under which a restore keeps the database that was there."""
    return f"metawsm-{at}-replaced.db"


def make_empty(path: Path) -> None:
    """A new empty file that only its owner can read."""
    with file_errors(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, survive a loss of power."""
    with file_errors(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Raise Unavailable for what the system says against a file or folder."""
    try:
        yield
    except OSError as error:
        named = error.filename or path
        raise Unavailable(
            f"{named} cannot be used: {error.strerror}; check the folder, its mode and its disk"
        ) from error
