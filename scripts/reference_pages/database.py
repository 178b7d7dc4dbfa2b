"""The page about the database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from metawsm.storage.connection import Connection
from metawsm.storage.migrations import migrate
from metawsm.storage.rebuild import prepare
from metawsm.storage.schema_steps import STEPS
from scripts.reference_pages.markdown import table
from scripts.reference_pages.run_tables import RUN_INTERNAL, RUN_TABLES
from scripts.reference_pages.tables import COMMON, INTERNAL, TABLES

HEAD = """\
# The database

`.metawsm/metawsm.db` is a SQLite database (WAL) that everybody may read while the daemon runs, for example with
`sqlite3 -readonly .metawsm/metawsm.db`. Nobody but the daemon writes to it. Times are text: RFC 3339, UTC,
microseconds, so that their order is the order of time. Order of events is by `sequence`, of messages by the outbox's
`id`, never by an id's text or a time.

Tables of truth are migrated by the daemon when it starts. Read models are made from `forum_events` by the daemon, and
made anew when their form changes, or by `metawsm.pyz forum rebuild`. A column with `?` may be NULL.

This page is generated: run `scripts/reference` after a change.

## Questions

```sh
DB=.metawsm/metawsm.db
sqlite3 $DB "select status,count(*) from forum_outbox group by status;"
sqlite3 $DB "select sequence,event_type,thread_id,occurred_at from forum_events order by sequence desc limit 20;"
sqlite3 $DB "select projection_name,count(*) from forum_projection_events group by projection_name;"
sqlite3 $DB "select thread_id,waiting_since,title from forum_thread_views where waiting_since is not null order by 2;"
sqlite3 $DB "select id,reason,topic,error from dead_letters where status = 'open';"
sqlite3 $DB "select run_id,state,reason from runs order by created_sequence desc limit 20;"
sqlite3 $DB "select id,kind,status,attempt,error from jobs where status in ('pending','running','held');"
```

## Tables
"""
_COLUMNS = 'SELECT name, type, "notnull" OR pk FROM pragma_table_info(?)'


def database() -> str:
    """The page as Markdown. Raises KeyError for a table or column whose meaning stands nowhere."""
    parts, inside = [HEAD], {}
    known, inner = TABLES | RUN_TABLES, INTERNAL | RUN_INTERNAL
    for name, columns in _tables():
        if name in inner:
            inside[name] = inner[name]
            continue
        about, meanings = known[name]
        rows = ((f"`{column}`{mark}", kind, meanings.get(column) or COMMON[column]) for column, kind, mark in columns)
        parts += [f"### {name}\n", f"{about}.\n", table(("column", "type", "meaning"), rows), ""]
    parts += ["## Inner tables\n", "Their form may change at any time.\n"]
    parts.append(table(("table", "what it is for"), ((f"`{name}`", about) for name, about in inside.items())))
    return "\n".join(parts) + "\n"


def _tables() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Name and columns (name, type, `?` where NULL may be) of every table and view of a new database, in order."""
    db = Connection(":memory:")
    migrate(db, STEPS)
    prepare(db, "")
    listed = db.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY rowid")
    for name, what in [(str(name), what) for name, what in listed]:
        if name.startswith(("sqlite_", "forum_search_")) and name not in INTERNAL:
            continue
        yield name, [_column(row, what) for row in db.execute(_COLUMNS, (name,)).fetchall()]
    db.close()


def _column(row: Sequence[object], what: object) -> tuple[str, str, str]:
    """Name, type, and `?` where NULL may be."""
    name, kind, sure = row
    return str(name), str(kind).lower() or "text", "" if sure or what == "view" else "?"
