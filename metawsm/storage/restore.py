"""Putting a backup in the place of a database: a new epoch, ids that were never given, and no moment without one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from metawsm.bus.ports import Db
from metawsm.domain.errors import Refused
from metawsm.storage.backup import copy
from metawsm.storage.backup_files import (
    Owner,
    backups_in,
    check_room,
    file_errors,
    make_folder,
    part_of,
    replaced_name,
    size_of,
    stamp,
    sync,
)
from metawsm.storage.connection import Connection, open_writer
from metawsm.storage.errors import translated
from metawsm.storage.examine import Damaged, Facts, examine, facts, opened
from metawsm.storage.identity import refuse_foreign

_SIDES = ("-wal", "-shm", "-journal")
_BUSY_MS = 2000
_SET = "INSERT INTO metawsm_meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_AWAITS_FEED = "feed_unread"


@frozen
class Restored:
    """What a restore did. `replaced` is where what was there is kept, None when there was nothing.

    That is the database, or, where this had gone, what it had left beside it.
    """

    backup: Path
    database: Path
    replaced: Path | None
    facts: Facts

    def as_json(self) -> dict[str, Any]:
        """The members that `--json` shows."""
        shown = {"file": str(self.backup), "database": str(self.database)}
        shown |= {"replaced": str(self.replaced)} if self.replaced else {}
        return self.facts.as_json() | shown


def restore(file: Path, database: Path, folder: Path, *, other_database: bool = False) -> Restored:
    """Put the backup `file` in the place of `database`, which is kept in `folder`. Hold the lock of the database.

    Begins a new epoch: ids go on above all that the backup and the replaced database have given. A crash leaves the
    old database or the new one. Raises NotFound; Refused for a backup that is damaged, of a newer schema, or of another
    database (unless `other_database`); Unavailable when a file cannot be read or written.
    """
    database = database.resolve()
    if database.exists() and file.exists() and file.samefile(database):
        raise Refused(f"{file} is the database itself; name a backup (`metawsm.pyz backup list`)")
    found = examine(file)
    before = _told_by(database)
    if before and before.database_id and before.database_id != found.database_id and not other_database:
        raise Refused(
            f"{file} is a backup of database {found.database_id}, {database} is database {before.database_id}; "
            "add --other-database if this one shall be replaced by it"
        )
    owner = Owner(str(database), before.database_id if before else "")
    make_folder(folder, owner.mark)
    _check_disks(file, database, folder)
    if before:
        _settle(database)
    fresh = database.with_name(f"{database.name}.restoring")
    try:
        _prepare(fresh, file, found, before)
        replaced = _set_aside(database, folder, owner.mark)
        _swap(fresh, database)
    finally:
        _remove(fresh)
    with opened(database) as connection:
        return Restored(file, database, replaced, facts(connection))


def awaits_feed(db: Db) -> bool:
    """Whether the database was restored and has not met since the feed of the time that was lost."""
    return any(db.execute("SELECT 1 FROM metawsm_meta WHERE name = ?", (_AWAITS_FEED,)))


def continue_above(db: Db, feed: int, highest: int) -> int:
    """Give no sequence up to `highest`, the last of all streams; return the highest that counts as given.

    `feed` is the feed's last. Only one beyond our log is of the lost time for certain, and ends the waiting for it:
    other feeds may be our own work, in an empty Redis that was used while the right one was away.
    """
    _raise_tops(db, {"forum_events": highest})
    if feed > next(iter(db.execute("SELECT coalesce(max(sequence), 0) FROM forum_events")))[0]:
        db.execute("DELETE FROM metawsm_meta WHERE name = ?", (_AWAITS_FEED,))
    return next((int(top) for (top,) in db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'forum_events'")), 0)


def _told_by(database: Path) -> Facts | None:
    """What the database that is to be replaced holds.

    None when there is no database, or nothing in it, or what is there cannot be read as one any more.
    """
    if not database.exists() or not database.stat().st_size:
        return None
    try:
        with opened(database) as connection:
            refuse_foreign(connection, str(database))
            return facts(connection) if any(connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1")) else None
    except Damaged:
        return None


def _settle(database: Path) -> None:
    """Put the write-ahead log into the file. Unavailable: another process has it open."""
    with translated(str(database)):
        connection = open_writer(database, busy_ms=_BUSY_MS)
        try:
            connection.pragma("journal_mode", "DELETE")
        finally:
            connection.close()


def _check_disks(file: Path, database: Path, folder: Path) -> None:
    """Nothing is begun that a disk has no room for. Raises Unavailable."""
    beside = database.parent
    with file_errors(beside):
        beside.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = Path(f"{database}-wal")
        grows = log.stat().st_size if log.exists() else 0  # it is put into the database first
        is_far = folder.stat().st_dev != beside.stat().st_dev
        needed = file.stat().st_size + grows
    check_room("the restore", beside, needed, beside)
    if is_far:  # no link is possible
        check_room("the restore", folder, size_of(database), beside)


def _remove(fresh: Path) -> None:
    with file_errors(fresh):
        for side in ("", *_SIDES):
            Path(f"{fresh}{side}").unlink(missing_ok=True)


def _prepare(fresh: Path, file: Path, found: Facts, before: Facts | None) -> None:
    """The new database, complete and on the disk, beside the old one."""
    _remove(fresh)
    with opened(file) as source:
        copy(source, fresh)
    with translated(str(fresh)):
        connection = Connection(str(fresh))
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            _begin_epoch(connection, file, found, before)
            connection.execute("COMMIT")
        finally:
            connection.close()
    sync(fresh)


def _begin_epoch(db: Db, file: Path, found: Facts, before: Facts | None) -> None:
    now = datetime.now(UTC)
    told = {"at": now.isoformat(), "backup": file.name, "epoch": found.epoch, "head_sequence": found.head_sequence}
    meta = {"epoch": str(_epoch(found, before, now)), "restored": json.dumps(told), _AWAITS_FEED: "1"}
    for row in meta.items():
        db.execute(_SET, row)
    tops = {
        "forum_events": before.sequence_top if before else 0,
        "forum_outbox": before.outbox_top if before else 0,
        "dead_letters": before.dead_letter_top if before else 0,
    }
    _raise_tops(db, tops)


def _epoch(found: Facts, before: Facts | None, now: datetime) -> int:
    """One that was never used. Where nobody knows what came after the backup, the clock gives a number above it."""
    if before is not None and before.database_id == found.database_id:
        return max(found.epoch, before.epoch) + 1
    return max(found.epoch + 1, int(now.timestamp()))


def _raise_tops(db: Db, tops: Mapping[str, int]) -> None:
    for table, top in tops.items():
        db.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (top, table))
        if not db.changes():
            db.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, top))


def _set_aside(database: Path, folder: Path, mark: str) -> Path | None:
    """Keep the old database under another name, too; it stays in its place.

    So does a log whose database has gone: it may hold the newest changes of one that somebody has moved away.
    """
    at = stamp(datetime.now(UTC))
    there = [side for side in ("", *_SIDES) if Path(f"{database}{side}").exists()]
    if "" in there:
        _forget_unfinished(database, folder)
    kept = [Path(f"{folder / replaced_name(at, mark)}{side}") for side in there]
    for side, target in zip(there, kept, strict=True):
        _keep(Path(f"{database}{side}"), target, part_of(folder, at, mark))
    sync(folder)
    return kept[0] if kept else None


def _forget_unfinished(database: Path, folder: Path) -> None:
    """A restore that was cut off may have left the database with a second name."""
    for each in backups_in(folder):
        if each.kind == "replaced" and each.path.samefile(database):
            with file_errors(each.path):
                each.path.unlink()


def _keep(source: Path, target: Path, part: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        with file_errors(target):
            shutil.copyfile(source, part)
            part.chmod(0o600)
            sync(part)
            part.rename(target)


def _swap(fresh: Path, database: Path) -> None:
    """The one moment in which the new database takes the place of the old one.

    A log of the old one may be there only if that could not be read: left where it is, it would go into the new one.
    """
    with file_errors(database):
        for side in _SIDES:
            Path(f"{database}{side}").unlink(missing_ok=True)
        fresh.replace(database)
    sync(database.resolve().parent)
