"""Every schema version ever released: its fixture becomes a database of today, with all rows, and is served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import apsw
import pytest

from metawsm.bus.ports import Db
from metawsm.domain.errors import Refused
from metawsm.storage.connection import open_writer
from metawsm.storage.migrations import Migration, migrate, schema_program, schema_version
from metawsm.storage.schema_steps import STEPS
from metawsm.version import VERSION
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle
from tests.support.schema_fixture import contents, load, schema
from tests.support.shell import shell

FIXTURES = Path(__file__).parents[1] / "golden" / "schemas"
VERSIONS = sorted(int(path.stem.removeprefix("v")) for path in FIXTURES.glob("v*.sql"))
WRITTEN_BY_MIGRATIONS = ("schema_migrations", "metawsm_meta")


def of_version(version: int, path: Path) -> Path:
    """A database of an earlier version at `path`."""
    load((FIXTURES / f"v{version}.sql").read_text(encoding="utf-8"), path)
    return path


def test_every_version_before_todays_has_a_fixture() -> None:
    """Whoever adds a step first writes down the version before: `python -m tests.support.schema_fixture VERSION`."""
    assert list(range(1, len(STEPS))) == [version for version in VERSIONS if version < len(STEPS)]


@pytest.mark.parametrize("version", VERSIONS)
def test_all_rows_are_kept(version: int, tmp_path: Path) -> None:
    """Each row of each table is there after the migration, in every column that there was."""
    db = open_writer(of_version(version, tmp_path / "db"))
    before = contents(db)
    assert schema_version(db) == version
    assert all(before[name] for name in before), "a table without rows shows nothing"
    assert migrate(db, STEPS) == list(range(version + 1, len(STEPS) + 1))
    after = contents(db)
    for name in before.keys() - set(WRITTEN_BY_MIGRATIONS):
        assert [{column: row[column] for column in before[name][0]} for row in after[name]] == before[name]
    assert [row["version"] for row in after["schema_migrations"]] == list(range(1, len(STEPS) + 1))
    assert db.pragma("integrity_check") == "ok"
    db.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_is_that_of_a_new_database(version: int, tmp_path: Path) -> None:
    """A database that was migrated and one that was made today have the same tables, indexes and views."""
    old, new = open_writer(of_version(version, tmp_path / "old")), open_writer(tmp_path / "new")
    migrate(old, STEPS)
    migrate(new, STEPS)
    assert schema(old) == schema(new)
    assert [old.pragma(mark) for mark in ("user_version", "application_id")] == [
        new.pragma(mark) for mark in ("user_version", "application_id")
    ]
    old.close()
    new.close()


def half(db: Db) -> None:
    """A step that changes much and then fails."""
    db.execute("CREATE TABLE note (id)")
    db.execute("UPDATE forum_threads SET title = 'lost'")
    db.execute("INSERT INTO no_such_table VALUES (1)")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_that_fails_leaves_nothing(version: int, tmp_path: Path) -> None:
    """The file is as it was before that step, whatever the step had done."""
    db = open_writer(of_version(version, tmp_path / "db"))
    before = (schema(db), contents(db), schema_version(db))
    with pytest.raises(apsw.SQLError):
        migrate(db, [*STEPS[:version], Migration(version + 1, "half", half)])
    assert (schema(db), contents(db), schema_version(db)) == before
    db.close()


def test_a_newer_schema_names_the_program_to_install(tmp_path: Path) -> None:
    """The file knows which program made its schema; `serve` tells it, and leaves the file alone."""
    path = tmp_path / ".metawsm" / "metawsm.db"
    db = open_writer(path)
    migrate(db, STEPS)
    assert schema_program(db) == VERSION
    newer = len(STEPS) + 1
    migrate(db, [*STEPS, Migration(newer, "later", lambda db: None)])
    db.execute("UPDATE metawsm_meta SET value = '9.4.0' WHERE name = 'schema_program'")
    with pytest.raises(Refused, match=rf"schema version {newer}.*{re.escape(VERSION)}.*install metawsm\.pyz 9\.4\.0"):
        migrate(db, STEPS)
    db.close()
    refused = shell(["serve", "--addr", "127.0.0.1:0"], cwd=tmp_path)
    assert (refused.returncode, "install metawsm.pyz 9.4.0 or newer" in refused.stderr) == (1, True)
    db = open_writer(path)
    assert schema_version(db) == newer
    db.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_daemon_serves_it(version: int, tmp_path: Path, server: ServerHandle) -> None:
    """It lists, shows, finds and counts what the old program stored, and does what that had accepted and not done."""
    path = of_version(version, tmp_path / ".metawsm" / "metawsm.db")
    db = apsw.Connection(str(path))
    before = contents(db)
    db.close()
    daemon = Daemon(None, tmp_path, "--redis", server.url)
    try:
        _check_served(daemon, before)
    finally:
        daemon.end()


def _check_served(daemon: Daemon, before: dict[str, list[dict[str, Any]]]) -> None:
    def get(path: str) -> Any:
        return daemon.request("GET", path).body

    (late,) = (row["message_id"] for row in before["forum_outbox"] if row["status"] == "pending")
    eventually(lambda: get(f"/forum/commands/{late}")["command"]["status"] == "applied")
    titles = {row["title"] for row in before["forum_threads"]} | {"The last one"}
    eventually(lambda: {each["title"] for each in get("/forum/threads")["threads"]} == titles)
    events = get("/forum/events?limit=1000")["events"]
    old = [row["event_id"] for row in before["forum_events"]]
    assert [each["envelope"]["event_id"] for each in events[: len(old)]] == old
    assert len(events) == len(old) + 1
    (found,) = get("/forum/search?query=aardvark")["threads"]
    posts = get(f"/forum/threads/{found['thread_id']}")["posts"]
    kept = [row["body"] for row in before["forum_posts"] if row["thread_id"] == found["thread_id"]]
    assert sorted(each["body"] for each in posts) == sorted(kept)
    assert sum(each["thread_count"] for each in get("/forum/stats")["stats"]) == len(titles)
    health = get("/health")
    assert health["status"] == "attention", health  # the dead letter that the old program kept
