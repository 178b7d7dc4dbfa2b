"""Backups as files: their names, which say what they hold, their list, and how many are kept."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from metawsm.domain.errors import Unavailable

DIGEST_CHARS = 16  # of the SHA-256 in hex: enough to see damage, not meant against forgery
LEFT_FREE = 64 << 20  # bytes on the disk of the database, which a copy must leave to its writer
_OWNER_CHARS = 8  # of each half of an owner's mark
_NAME = re.compile(
    rf"metawsm-(?P<at>\d{{8}}T\d{{12}}Z)-(?P<mark>[0-9a-f]{{{2 * _OWNER_CHARS}}})"
    r"(?:-e(?P<epoch>\d{1,19})-s(?P<sequence>\d{1,19})(?:-v(?P<version>\d{1,9}))?"
    rf"-(?P<digest>[0-9a-f]{{{DIGEST_CHARS}}})|-(?P<replaced>replaced))\.db"
)
_PART = re.compile(rf"\.metawsm-\d{{8}}T\d{{12}}Z-(?P<mark>[0-9a-f]{{{2 * _OWNER_CHARS}}})\.part(-journal)?")
_READ = 1024 * 1024


@frozen
class Owner:
    """Whose backups: of a database file by its place and its id. Several may share a folder.

    The id alone is not enough: a copied project has the same one. Nor is the place: two machines may share a disk.
    """

    place: str
    database_id: str

    @property
    def mark(self) -> str:
        """What stands in names: eight digits of the place, eight of the id."""
        return _short(self.place) + _short(self.database_id)

    def may_want(self, mark: str) -> bool:
        """Whether a backup is of this database at any place, or of any at this place; all of them without an id."""
        here, same = mark[:_OWNER_CHARS] == _short(self.place), mark[_OWNER_CHARS:] == _short(self.database_id)
        return here or same or not self.database_id


def _short(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:_OWNER_CHARS]


@frozen
class BackupFile:
    """One backup. `kind`: `backup` (asked for), `migration` (before the schema changed), `replaced` (by a restore).

    Epoch and head sequence are unknown (None) for a replaced file, which may have been damaged; size in bytes. `mark`
    is that of its `Owner`.
    """

    path: Path
    mark: str
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


def name_of(at: str, mark: str, epoch: int, sequence: int, digest: str, version: int | None = None) -> str:
    """The name of a backup; `version` is the schema that it was taken of before a migration."""
    before = f"-v{version}" if version is not None else ""
    return f"metawsm-{at}-{mark}-e{epoch}-s{sequence}{before}-{digest}.db"


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


def backups_in(folder: Path, owner: Owner | None = None) -> list[BackupFile]:
    """The backups in a folder by their names, newest first; none when there is no such folder.

    With an `owner` only those that it may want.
    """
    with file_errors(folder):
        found = [_described(path) for path in folder.iterdir()] if folder.is_dir() else []
    wanted = (each for each in found if each and (owner is None or owner.may_want(each.mark)))
    return sorted(wanted, key=lambda each: each.path.name, reverse=True)


def _described(path: Path) -> BackupFile | None:
    found = _NAME.fullmatch(path.name)
    if found is None or not path.is_file():
        return None
    size = path.stat().st_size
    if found["replaced"]:
        return BackupFile(path, found["mark"], "replaced", _time(found["at"]), size)
    kind = "migration" if found["version"] else "backup"
    return BackupFile(path, found["mark"], kind, _time(found["at"]), size, int(found["epoch"]), int(found["sequence"]))


def _time(at: str) -> str:
    return f"{at[:4]}-{at[4:6]}-{at[6:8]}T{at[9:11]}:{at[11:13]}:{at[13:15]}.{at[15:21]}Z"


def prune(folder: Path, made: BackupFile, keep: int) -> list[Path]:
    """Delete all but the furthest `keep` backups of the kind and the owner of `made`; return those that went.

    `made` stays, and other files are never touched. What is furthest says the log, not the clock, which may go back.
    """
    found = [each for each in backups_in(folder) if (each.kind, each.mark) == (made.kind, made.mark)]
    older = sorted((each for each in found if each.path != made.path), key=_progress, reverse=True)
    surplus = [each.path for each in older[max(keep, 1) - 1 :]]
    with file_errors(folder):
        for path in surplus:
            path.unlink(missing_ok=True)
    return surplus


def _progress(each: BackupFile) -> tuple[int, int, str]:
    return each.epoch or 0, each.head_sequence or 0, each.created_at


def make_folder(folder: Path, mark: str) -> None:
    """The folder of backups, 0700 when it is made now, without what a backup of this owner left that was cut off."""
    with file_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.iterdir():
            if (found := _PART.fullmatch(path.name)) and found["mark"] == mark:
                path.unlink(missing_ok=True)


def part_of(folder: Path, at: str, mark: str) -> Path:
    """Where a backup grows before it gets its name."""
    return folder / f".metawsm-{at}-{mark}.part"


def replaced_name(at: str, mark: str) -> str:
    """The name under which a restore keeps the database that was there."""
    return f"metawsm-{at}-{mark}-replaced.db"


def size_of(database: Path) -> int:
    """The bytes of a database and its write-ahead log; 0 for one that is not there."""
    with file_errors(database):
        return sum(part.stat().st_size for part in (database, Path(f"{database}-wal")) if part.exists())


def check_room(what: str, folder: Path, needed: int, database_folder: Path) -> None:
    """Raise Unavailable unless `needed` bytes fit into `folder` and the database's disk keeps `LEFT_FREE` besides."""
    with file_errors(folder):
        beside = folder.stat().st_dev == database_folder.stat().st_dev
        free = shutil.disk_usage(folder).free
    needed += LEFT_FREE if beside else 0
    if free < needed:
        raise Unavailable(f"{what} needs {needed:,} bytes in {folder}, {free:,} are free; free some space there first")


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
