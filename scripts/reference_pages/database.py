"""The page about the database."""

from __future__ import annotations

from collections.abc import Iterator

import apsw

from metawsm.storage.migrations import migrate
from metawsm.storage.rebuild import prepare
from metawsm.storage.schema_steps import STEPS
from scripts.reference_pages.markdown import table
from scripts.reference_pages.tables import COMMON, INTERNAL, TABLES

HEAD = """\
# The database

`.metawsm/metawsm.db` is a SQLite database (WAL) that everybody may read while the daemon runs, for example with
`sqlite3 -readonly .metawsm/metawsm.db`. Nobody but the daemon writes to it. Times are text: RFC 3339, UTC, microseconds, so
that their order is the order of time. Order of events is by `sequence`, of messages by the outbox's `id`, never by an
id's text or a time.

Tables of truth are migrated by the daemon when it starts. Read models are made from `forum_events` by the daemon, and made
anew when their form changes, or by `metawsm.pyz forum rebuild`. A column with `?` may be NULL.

This page is generated: run `scripts/reference` after a change.

## Questions

```sh
sqlite3 -readonly .metawsm/metawsm.db "SELECT status, count(*) FROM forum_outbox GROUP BY status"
sqlite3 -readonly .metawsm/metawsm.db "SELECT sequence, event_type, thread_id FROM forum_events ORDER BY sequence DESC LIMIT 20"
sqlite3 -readonly .metawsm/metawsm.db "SELECT thread_id, state, priority, title FROM forum_thread_views WHERE waiting_since IS NOT NULL ORDER BY waiting_since"
sqlite3 -readonly .metawsm/metawsm.db "SELECT projection_name, count(*) FROM forum_projection_events GROUP BY projection_name"
sqlite3 -readonly .metawsm/metawsm.db "SELECT id, reason, topic, error FROM dead_letters WHERE status = 'open'"
```

## Tables
"""


def database() -> str:
    """The page as Markdown. Raises KeyError for a table or column whose meaning stands nowhere."""
    parts = [HEAD]
    inside = {}
    for name, columns in _tables():
        if name in INTERNAL:
            inside[name] = INTERNAL[name]
            continue
        about, meanings = TABLES[name]
        rows = ((f"`{column}`{mark}", kind, meanings.get(column) or COMMON[column]) for column, kind, mark in columns)
        parts += [f"### {name}\n", f"{about}.\n", table(("column", "type", "meaning"), rows), ""]
    parts += ["## Inner tables\n", "Their form may change at any time.\n"]
    parts.append(table(("table", "what it is for"), ((f"`{name}`", about) for name, about in inside.items())))
    return "\n".join(parts) + "\n"


def _tables() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Name and columns (name, type, `?` where NULL may be) of every table and view of a new database, in order."""
    db = apsw.Connection(":memory:")
    migrate(db, STEPS)
    prepare(db, "")
    listed = db.execute("SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY rowid")
    for name, what in listed.fetchall():
        if name.startswith(("sqlite_", "forum_search_")) and name not in INTERNAL:
            continue
        info = db.execute(f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{name}')").fetchall()
        sure = what == "view"
        yield (
            name,
            [
                (column, kind.lower() or "text", "" if needed or key or sure else "?")
                for column, kind, needed, key in info
            ],
        )
