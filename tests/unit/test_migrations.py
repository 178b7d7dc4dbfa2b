"""Migrations: in order, each whole, never backwards, never on a foreign file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from metawsm.bus.ports import Db
from metawsm.domain.errors import Refused
from metawsm.storage.connection import Connection, open_writer
from metawsm.storage.identity import APPLICATION_ID, is_foreign, table_names
from metawsm.storage.migrations import Migration, migrate, schema_version

FIRST = Migration(
    1, "items", lambda db: db.execute("CREATE TABLE item(id INTEGER PRIMARY KEY); CREATE TABLE other(id)")
)
SECOND = Migration(2, "notes", lambda db: db.execute("CREATE TABLE note(id REFERENCES item(id) ON DELETE CASCADE)"))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """A new, empty database."""
    connection = open_writer(tmp_path / "db")
    yield connection
    connection.close()


def test_a_new_database_gets_every_step(connection: Connection) -> None:
    """All steps run, are written down, and the file is marked as ours."""
    assert migrate(connection, [FIRST, SECOND]) == [1, 2]
    rows = list(
        connection.execute("SELECT version, name, applied_at LIKE '____-__-__T__:__:__.______Z' FROM schema_migrations")
    )
    assert rows == [(1, "items", 1), (2, "notes", 1)]
    assert schema_version(connection) == 2
    assert connection.pragma("application_id") == APPLICATION_ID
    assert connection.pragma("foreign_keys") == 1
    assert not is_foreign(connection)


def test_an_older_database_gets_what_it_lacks_after_the_backup(connection: Connection) -> None:
    """`before` is called once with the old version, before anything changes; never for a new or current file."""
    seen: list[tuple[int, bool]] = []

    def before(version: int) -> None:
        seen.append((version, "note" in table_names(connection)))

    assert migrate(connection, [FIRST], before) == [1]
    assert migrate(connection, [FIRST, SECOND], before) == [2]
    assert migrate(connection, [FIRST, SECOND], before) == []
    assert seen == [(1, False)]


def test_a_backup_that_fails_stops_the_migration(connection: Connection) -> None:
    """Without the backup nothing is changed."""
    migrate(connection, [FIRST])
    with pytest.raises(ZeroDivisionError):
        migrate(connection, [FIRST, SECOND], lambda version: 1 / 0)  # type: ignore[arg-type]
    assert schema_version(connection) == 1


def test_a_step_that_fails_leaves_nothing_of_itself(connection: Connection) -> None:
    """The steps before it stay; it can be tried again."""

    def half(db: Db) -> None:
        db.execute("CREATE TABLE note(id)")
        db.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(apsw.SQLError):
        migrate(connection, [FIRST, Migration(2, "half", half)])
    assert schema_version(connection) == 1
    assert "note" not in table_names(connection)
    assert connection.pragma("foreign_keys") == 1
    assert migrate(connection, [FIRST, SECOND]) == [2]


def test_a_newer_database_is_refused(connection: Connection) -> None:
    """The message names the version found and what to install; nothing changes."""
    migrate(connection, [FIRST, SECOND])
    with pytest.raises(Refused, match=r"schema version 2.*up to 1.*install the newer metawsm\.pyz"):
        migrate(connection, [FIRST])
    assert schema_version(connection) == 2


def test_a_step_that_breaks_a_reference_is_refused(connection: Connection) -> None:
    """Foreign keys are off while tables are rebuilt, and checked before the commit."""
    migrate(connection, [FIRST, SECOND])
    broken = Migration(3, "broken", lambda db: db.execute("INSERT INTO note VALUES (99)"))
    with pytest.raises(Refused, match="broken reference"):
        migrate(connection, [FIRST, SECOND, broken])
    assert schema_version(connection) == 2


def test_a_table_can_be_rebuilt_without_losing_what_refers_to_it(connection: Connection) -> None:
    """Dropping and renaming a parent table does not cascade into its children."""
    migrate(connection, [FIRST, SECOND])
    connection.execute("INSERT INTO item VALUES (1); INSERT INTO note VALUES (1)")
    rebuild = Migration(
        3,
        "rebuild",
        lambda db: db.execute(
            "CREATE TABLE item2(id INTEGER PRIMARY KEY, extra); INSERT INTO item2(id) SELECT id FROM item;"
            "DROP TABLE item; ALTER TABLE item2 RENAME TO item"
        ),
    )
    assert migrate(connection, [FIRST, SECOND, rebuild]) == [3]
    assert list(connection.execute("SELECT count(*) FROM note")) == [(1,)]


@pytest.mark.parametrize("numbers", [[2], [1, 3], [2, 1], [1, 1]])
def test_a_gap_in_the_numbers_is_a_bug(connection: Connection, numbers: list[int]) -> None:
    """Steps are numbered from 1 without gap, double or disorder."""
    with pytest.raises(ValueError, match="numbered"):
        migrate(connection, [Migration(number, "x", lambda db: None) for number in numbers])


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE runs(id)", "CREATE TABLE schema_migrations(id)", "PRAGMA application_id = 7"]
)
def test_a_foreign_database_is_recognised(tmp_path: Path, statement: str) -> None:
    """Tables or an application id without ours make a file foreign; an empty file is free to take."""
    connection = Connection(str(tmp_path / "foreign"))
    assert not is_foreign(connection)
    connection.execute(statement)
    assert is_foreign(connection)
    with pytest.raises(Refused):
        migrate(connection, [FIRST])
    connection.close()
