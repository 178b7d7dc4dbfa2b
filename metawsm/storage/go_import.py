"""Taking over a database of the Go program: copy it, build ours from the copy, put ours in its place.

A process that is killed anywhere leaves either their database or ours under the name, and the next import goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw

from metawsm.bus.ports import Db
from metawsm.domain.errors import MetawsmError, NotFound, Refused
from metawsm.storage import go_files, go_report
from metawsm.storage.backup_files import file_errors
from metawsm.storage.connection import open_writer
from metawsm.storage.errors import translated
from metawsm.storage.examine import examine
from metawsm.storage.go_build import Build, Plan, Progress, now, plan_of
from metawsm.storage.identity import APPLICATION_ID, application_id
from metawsm.storage.inspection import Examiner
from metawsm.storage.lock import Holder, acquire

SHOWN = 5  # notes of each kind in the summary; the report file has all
_SAVED = "SELECT value FROM metawsm_meta WHERE name = 'import'"
_IS_OURS = f"SELECT application_id = {APPLICATION_ID} FROM pragma_application_id"
_SAVE = "INSERT INTO metawsm_meta VALUES ('import', ?) ON CONFLICT DO UPDATE SET value = excluded.value"


def take_over(source: Path, database: Path, *, dry_run: bool, progress: Progress) -> dict[str, Any]:
    """Import `source` so that `database`, which may be the same file, becomes ours; return the summary.

    A `dry_run` builds in a temporary folder beside the database and changes nothing. An import that was finished before
    is not done again: its summary comes with `already`. Raises NotFound without a file, Refused when there is nothing
    to import, a daemon uses the database or the counts do not agree, Unavailable when files cannot be used.
    """
    source, database = source.resolve(), database.resolve()
    _check_source(source, database)
    with _working_folder(database, dry_run) as folder:
        if (done := finished(database)) is not None and done["source"] == str(source):
            return {**done, "already": True}
        _check_target(source, database)
        with go_files.held(source) as theirs:
            go_files.check_room(source, folder)
            if dry_run:
                return _rehearsed(theirs, source, database, folder, progress)
            return _taken_over(theirs, source, database, progress)


def _check_source(source: Path, database: Path) -> None:
    """What can be said before a lock is taken, which makes files, or is held by the daemon of that very database."""
    if source.is_dir():
        raise Refused(f"{source} is a folder; name the Go program's database in it with --from or --db")
    if not source.is_file():
        raise NotFound(f"there is no database {source}; name the Go program's with --from or --db")
    try:
        with Examiner(source) as look:
            ours = look.read(lambda db: _is_ours(db, even_imported=source != database), 2.0)
    except MetawsmError:  # the import meets it again, and says what it is
        return
    if ours:
        raise Refused(f"database {source} is one of metawsm's own; there is nothing to import")


def _is_ours(db: Db, *, even_imported: bool) -> bool:
    ((ours,),) = db.execute(_IS_OURS)
    return bool(ours) and (even_imported or not list(db.execute(_SAVED)))


@contextmanager
def _working_folder(database: Path, dry_run: bool) -> Iterator[Path]:
    """The folder of the database under its lock; for a rehearsal where there is no such folder, the next above it."""
    if dry_run and not database.parent.is_dir():
        yield next(folder for folder in database.parents if folder.is_dir())
        return
    lock = acquire(database, Holder(os.getpid(), "import", now()))
    try:
        yield database.parent
    finally:
        lock.release()


def finished(database: Path) -> dict[str, Any] | None:
    """The summary of the import that made this database; None when none did."""
    if not database.is_file() or not database.stat().st_size:
        return None
    with translated(str(database)):
        reader = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            if application_id(reader) != APPLICATION_ID:
                return None
            told = next((json.loads(text) for (text,) in reader.execute(_SAVED)), None)
        except apsw.NotADBError:
            return None
        finally:
            reader.close()
    return told if told and "finished_at" in told else None


def imported_ms(db: Db) -> int:
    """When the import that made this database ended, in milliseconds since 1970; 0 when none did."""
    for (text,) in db.execute(_SAVED):
        ended: str = json.loads(text).get("finished_at", "")
        return int(datetime.fromisoformat(ended).timestamp() * 1000) if ended else 0
    return 0


def _check_target(source: Path, database: Path) -> None:
    if source != database and database.exists() and database.stat().st_size:
        raise Refused(f"there is a database {database} already; name a new file with --db")


def _taken_over(theirs: apsw.Connection, source: Path, database: Path, progress: Progress) -> dict[str, Any]:
    backup, fingerprint = _backed_up(theirs, database)
    part = database.with_name(database.name + ".importing")
    told = _built(part, backup, Plan(str(source), fingerprint, now()), database, progress)
    go_files.make_whole(part)
    examine(part)
    if source == database:
        go_files.settle(theirs)
    go_files.put(part, database)
    return told


def _backed_up(theirs: apsw.Connection, database: Path) -> tuple[Path, str]:
    """The copy of their database, named after its content: a second import of the same finds the same."""
    part = database.with_name(database.name + ".go-part")
    fingerprint = go_files.copy(theirs, part)
    backup = database.with_name(f"{database.name}.go-{fingerprint[:16]}.bak")
    go_files.put(part, backup)
    return backup, fingerprint


def _built(part: Path, backup: Path, plan: Plan, database: Path, progress: Progress) -> dict[str, Any]:
    """Build our database, or go on with one that was begun from the same copy."""
    if (told := finished(part)) is not None and told["fingerprint"] == plan.fingerprint:
        return told
    if _begun(part) != plan.fingerprint:
        go_files.remove(part)
    build = Build(part, backup, plan)
    try:
        build.run(progress)
        report = database.with_name(database.name + ".import.jsonl")
        told = go_report.summary(build.db, _members(plan, database, backup, report))
        go_report.write(build.db, told, report)
        told["first_notes"] = go_report.first_notes(build.db, SHOWN)
        _seal(build.db, told)
    finally:
        build.close()
    return told


def _begun(part: Path) -> str | None:
    if not part.exists():
        return None
    db = open_writer(part)
    try:
        plan = plan_of(db) if next(iter(db.execute("PRAGMA user_version")))[0] else None
    finally:
        db.close()
    return plan.fingerprint if plan else None


def _members(plan: Plan, database: Path, backup: Path | None, report: Path | None) -> dict[str, Any]:
    files = {"source": plan.source, "database": str(database)}
    if backup and report:
        files |= {"backup": str(backup), "report": str(report)}
    return {**files, "fingerprint": plan.fingerprint, "dry_run": backup is None}


def _seal(db: apsw.Connection, told: Mapping[str, Any]) -> None:
    """The last commit: the summary stays, the notes go, as the report has them."""
    db.execute("BEGIN IMMEDIATE")
    db.execute("DROP TABLE import_notes")
    db.execute(_SAVE, (json.dumps(told),))
    db.execute("COMMIT")


def _rehearsed(
    theirs: apsw.Connection, source: Path, database: Path, folder: Path, progress: Progress
) -> dict[str, Any]:
    with file_errors(folder), TemporaryDirectory(prefix=".import-", dir=folder) as room:
        copy = Path(room, "theirs.db")
        plan = Plan(str(source), go_files.copy(theirs, copy), now())
        build = Build(Path(room, "ours.db"), copy, plan)
        try:
            build.run(progress)
            told = go_report.summary(build.db, _members(plan, database, None, None))
            return told | {"first_notes": go_report.first_notes(build.db, SHOWN)}
        finally:
            build.close()
