"""What an import tells: counts per table before and after, whether they agree, and every row that is not as it was."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import apsw
from attrs import asdict, frozen

from metawsm.domain.errors import Refused
from metawsm.storage.backup_files import file_errors, sync
from metawsm.storage.go_build import now
from metawsm.storage.go_events import text_of

KINDS = ("left out", "not applied", "stays open", "differs", "changed", "renamed", "added")

# What of theirs becomes what of ours. An opening is a transition here and none there.
_CARRIED = {
    "forum_threads": "SELECT count(*) FROM forum_threads",
    "forum_posts": "SELECT count(*) FROM forum_posts",
    "forum_events": "SELECT count(*) FROM forum_events",
    "forum_state_transitions": "SELECT count(*) FROM forum_state_transitions WHERE from_state IS NOT NULL",
    "forum_assignments": "SELECT count(*) FROM forum_assignments",
    "forum_control_threads": "SELECT count(*) FROM forum_control_threads",
    "forum_thread_reads": "SELECT count(*) FROM forum_thread_reads",
}
_MADE_ANEW = {"forum_thread_views", "forum_thread_stats", "forum_thread_queue_view", "forum_projection_events"}
_NOT_OURS = "schema_migrations"
_TABLES = "SELECT name FROM theirs.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
# Rows that only SQL has seen may be named by bytes that are no text.
_NOTES = "SELECT kind, place, CAST(row AS BLOB), text, count FROM import_notes ORDER BY id"
_FIRST = """
SELECT kind, place, CAST(row AS BLOB), substr(text, 1, 300), count FROM import_notes WHERE kind = ? ORDER BY id LIMIT ?
"""
_COUNTS = "SELECT kind, place, sum(count) FROM import_notes GROUP BY kind, place"
_WAITING = "SELECT count(*) FROM forum_threads WHERE waiting_since IS NOT NULL"


@frozen
class Tally:
    """One table of theirs: rows found, rows here after the import (None: not a matter of this table), and why."""

    table: str
    before: int
    after: int | None
    left_out: int
    about: str


def tallies(db: apsw.Connection) -> list[Tally]:
    """The tables of theirs in the order of their names. Raises Refused when the counts of one do not agree."""
    counts = {(str(kind), str(place)): int(count) for kind, place, count in db.execute(_COUNTS)}
    names = sorted(str(name) for (name,) in db.execute(_TABLES) if name != _NOT_OURS)
    return [_tally(db, name, counts) for name in names]


def _tally(db: apsw.Connection, table: str, counts: Mapping[tuple[str, str], int]) -> Tally:
    before = _number(db, f'SELECT count(*) FROM theirs."{table.replace(chr(34), chr(34) * 2)}"')
    if table == "forum_outbox":
        undone = counts.get(("not applied", table), 0)
        return Tally(table, before, None, undone, "its commands are in the log, but for those not applied")
    if table not in _CARRIED:
        about = "made anew from the events" if table in _MADE_ANEW else "kept in the backup"
        return Tally(table, before, None, 0, about)
    after, left = _number(db, _CARRIED[table]), counts.get(("left out", table), 0)
    added = counts.get(("added", table), 0)
    if after != before - left + added:
        raise Refused(
            f"the import does not agree in {table}: {before} rows there, {left} left out, {added} added, {after} here; "
            "nothing was replaced; keep the database as it is and report this"
        )
    return Tally(table, before, after, left, "carried")


def _number(db: apsw.Connection, sql: str) -> int:
    return int(next(iter(db.execute(sql)))[0])


def summary(db: apsw.Connection, members: Mapping[str, Any]) -> dict[str, Any]:
    """What an import did, for people and `--json`. `members` (file names and the like) come first."""
    notes: dict[str, int] = {}
    for kind, _, count in db.execute(_COUNTS):
        notes[kind] = notes.get(kind, 0) + count
    return {
        **members,
        "finished_at": now(),
        "tables": [asdict(each) for each in tallies(db)],
        "waiting_threads": _number(db, _WAITING),
        "notes": {kind: notes[kind] for kind in KINDS if kind in notes},
    }


def first_notes(db: apsw.Connection, limit: int) -> list[dict[str, Any]]:
    """The first notes of each kind, for the terminal."""
    return [_note(row) for kind in KINDS for row in db.execute(_FIRST, (kind, limit))]


def write(db: apsw.Connection, told: Mapping[str, Any], path: Path) -> None:
    """Write the whole report, all notes in it, as JSON lines that end with the summary; durable, mode 0600."""
    part = path.with_name(path.name + ".part")
    with file_errors(path):
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(_note(row), ensure_ascii=False) + "\n" for row in db.execute(_NOTES))
            file.write(json.dumps({"import": told}, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    sync(path.parent)


def _note(row: tuple[Any, ...]) -> dict[str, Any]:
    kind, place, name, text, count = row
    return {"kind": kind, "place": place, "row": text_of(name), "text": text, "count": count}
