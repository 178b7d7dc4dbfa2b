"""Whose database is this? Answered before anything is changed in it."""

from __future__ import annotations

import apsw

from metawsm.domain.errors import Refused

# "mws1" in the file's header (PRAGMA application_id): set by the first migration, never changed.
APPLICATION_ID = 0x6D777331

# Tables by which a database of the Go program is known; it has no application id.
_GO_TABLES = frozenset({"forum_events", "forum_threads", "forum_outbox", "runs", "run_tickets"})


def application_id(connection: apsw.Connection) -> int:
    """The number in the file's header that says which program owns it; 0 when none does."""
    return int(connection.pragma("application_id"))


def table_names(connection: apsw.Connection) -> frozenset[str]:
    """The names of all tables, without SQLite's own."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    )
    return frozenset(str(name) for (name,) in rows)


def is_foreign(connection: apsw.Connection) -> bool:
    """Whether the file belongs to another program: it has tables or an id, and not our id. An empty file is free."""
    owner = application_id(connection)
    return owner != APPLICATION_ID and (owner != 0 or bool(table_names(connection)))


def is_go_program(connection: apsw.Connection) -> bool:
    """Whether the file is a database of the Go program: no application id, and its tables."""
    return application_id(connection) == 0 and bool(table_names(connection) & _GO_TABLES)


def refuse_foreign(connection: apsw.Connection, database: str) -> None:
    """Raise Refused, saying what to do, when the file belongs to another program."""
    if is_go_program(connection):
        raise Refused(
            f"database {database} was written by the Go program; "
            f"run `metawsm.pyz import` to take it over (it makes a backup first)"
        )
    if is_foreign(connection):
        raise Refused(f"database {database} belongs to another program; name another file with --db")
