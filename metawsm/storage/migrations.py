"""Bringing a database to the newest schema, one durable step at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import apsw
from attrs import frozen

from metawsm.bus.ports import Db
from metawsm.domain.errors import Refused, Unavailable
from metawsm.storage.connection import Connection
from metawsm.storage.errors import translated
from metawsm.storage.identity import APPLICATION_ID, refuse_foreign, table_names
from metawsm.version import VERSION

_LEDGER = """CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"""
_SIGN = """
INSERT INTO metawsm_meta VALUES ('schema_program', ?) ON CONFLICT DO UPDATE SET value = excluded.value
"""


@frozen
class Migration:
    """One step: `up` gets the connection inside the step's transaction. Versions count 1, 2, 3, ... without a gap."""

    version: int
    name: str
    up: Callable[[Db], object]


def schema_version(connection: apsw.Connection) -> int:
    """The version of the schema in this file; 0 for a new one."""
    return int(connection.pragma("user_version"))


def schema_program(connection: apsw.Connection) -> str | None:
    """The version of metawsm that made this file's schema; None where that was not written down."""
    if "metawsm_meta" not in table_names(connection):
        return None
    found = connection.execute("SELECT value FROM metawsm_meta WHERE name = 'schema_program'")
    return next((str(value) for (value,) in found), None)


def migrate(
    connection: Connection, steps: Sequence[Migration], before: Callable[[int], None] | None = None
) -> list[int]:
    """Apply the steps this file lacks, each in a transaction of its own; return their versions.

    `before(version)` is called once, outside any transaction, when an existing schema is about to change: the place
    for a backup. Raises Refused for a newer schema or a foreign file, Unavailable when the file cannot be written; a
    step that fails leaves the steps before it applied and nothing of itself.
    """
    _check_order(steps)
    database = connection.db_filename("main")
    with translated(database):
        refuse_foreign(connection, database)
        version = schema_version(connection)
        if version > len(steps):
            raise _newer(connection, database, version, len(steps))
        missing = steps[version:]
        if missing and version and before:
            before(version)
        for step in missing:
            _apply(connection, step)
    return [step.version for step in missing]


def _check_order(steps: Sequence[Migration]) -> None:
    versions = [step.version for step in steps]
    if versions != list(range(1, len(steps) + 1)):
        raise ValueError(f"migrations must be numbered 1 to {len(steps)} in order, not {versions}")


def _newer(connection: Connection, database: str, version: int, known: int) -> Refused:
    program = schema_program(connection)
    wanted = f"metawsm.pyz {program} or newer" if program else "the newer metawsm.pyz that wrote it"
    return Refused(
        f"database {database} has schema version {version}, this program ({VERSION}) knows versions up to {known}; "
        f"install {wanted}, or restore a backup from before the update"
    )


def _apply(connection: Connection, step: Migration) -> None:
    # Rebuilding a table others refer to needs foreign keys off (a no-op inside a transaction), checked before COMMIT.
    connection.execute("PRAGMA foreign_keys = OFF")
    # A constraint is changed in the schema's own table, which is closed to everybody else.
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            _step(connection, step)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    finally:
        connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
        connection.execute("PRAGMA foreign_keys = ON")


def _step(connection: Connection, step: Migration) -> None:
    connection.execute(_LEDGER)
    step.up(connection)
    if not connection.in_transaction:
        raise Unavailable(f"migration {step.version} ({step.name}) lost its transaction")
    if broken := connection.execute("PRAGMA foreign_key_check").fetchone():
        raise Refused(f"migration {step.version} ({step.name}) would leave a broken reference: {broken}")
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    connection.execute("INSERT INTO schema_migrations VALUES (?, ?, ?)", (step.version, step.name, now))
    connection.pragma("user_version", step.version)
    connection.pragma("application_id", APPLICATION_ID)
    if "metawsm_meta" in table_names(connection):
        connection.execute(_SIGN, (VERSION,))
