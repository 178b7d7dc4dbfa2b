"""Restoring on the files alone: what is refused, what is kept, and that no id is given twice."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metawsm.domain.errors import NotFound, Refused, Unavailable
from metawsm.storage.backup_files import backups_in
from metawsm.storage.connection import Connection
from metawsm.storage.examine import examine
from metawsm.storage.lock import Holder, acquire
from metawsm.storage.restore import awaits_feed, continue_above, restore
from metawsm.storage.schema_steps import STEPS
from tests.support.backup_lab import backup_of, change, fill, rows, small_files
from tests.support.services import missing
from tests.support.shell import shell

TOPS = "SELECT name, seq FROM sqlite_sequence ORDER BY name"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A filled database that nobody has open."""
    path = tmp_path / "project" / "metawsm.db"
    fill(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go."""
    return tmp_path / "backups"


@pytest.fixture
def backup(database: Path, folder: Path) -> Path:
    """A backup of the database."""
    return backup_of(database, folder)


def go_on(database: Path) -> None:
    """What happens after the backup: higher ids, and something to lose."""
    change(
        database,
        "UPDATE sqlite_sequence SET seq = seq + 500 WHERE name = 'forum_events'",
        "UPDATE sqlite_sequence SET seq = seq + 700 WHERE name = 'forum_outbox'",
        "INSERT INTO metawsm_meta VALUES ('later', 'yes')",
    )


def test_a_restore_brings_the_backup_back_in_a_new_epoch(database: Path, backup: Path, folder: Path) -> None:
    """Its content, one epoch further; ids go on above the replaced database, which is kept whole."""
    go_on(database)
    before = dict(rows(database, TOPS))
    done = restore(backup, database, folder)
    saved, now = examine(backup), examine(database)
    assert (now.counts, now.head_sequence, now.database_id) == (saved.counts, saved.head_sequence, saved.database_id)
    assert (now.epoch, done.facts) == (2, now)
    assert dict(rows(database, TOPS)) == before | {"dead_letters": 0}
    assert rows(database, "SELECT 1 FROM metawsm_meta WHERE name = 'later'") == []
    assert done.replaced is not None
    assert rows(done.replaced, "SELECT value FROM metawsm_meta WHERE name = 'later'") == [("yes",)]
    assert examine(done.replaced).epoch == 1
    assert [database.stat().st_mode & 0o777, done.replaced.stat().st_mode & 0o777] == [0o600, 0o600]
    assert sorted(path.name for path in database.parent.iterdir()) == ["metawsm.db"]
    told = json.loads(rows(database, "SELECT value FROM metawsm_meta WHERE name = 'restored'")[0][0])
    assert (told["backup"], told["epoch"]) == (backup.name, 1)


def test_back_and_forth_never_uses_an_epoch_or_an_id_twice(database: Path, backup: Path, folder: Path) -> None:
    """Restoring what a restore replaced is a new epoch, too, above both."""
    go_on(database)
    first = restore(backup, database, folder)
    assert first.replaced is not None
    second = restore(first.replaced, database, folder)
    assert second.facts.epoch == 3
    assert second.facts.sequence_top == first.facts.sequence_top
    assert restore(backup, database, folder).facts.epoch == 4
    assert len([each for each in backups_in(folder) if each.kind == "replaced"]) == 3


@pytest.mark.parametrize("state", ["missing", "empty", "torn", "no SQLite", "log of a lost one"])
def test_a_destroyed_database_is_replaced(database: Path, backup: Path, folder: Path, state: str) -> None:
    """Where nobody knows what came after the backup, the epoch is above all that can have been; the rest is kept."""
    whole = database.read_bytes()
    broken = {"empty": b"", "torn": whole[:4096] + b"\xff" * 20_000}.get(state, b"gone" * 999)
    database.write_bytes(broken)
    if state == "missing":
        database.unlink()
    if state == "log of a lost one":
        Path(f"{database}-wal").write_bytes(b"a log" * 100)
    before = int(time.time())
    done = restore(backup, database, folder)
    assert before <= done.facts.epoch <= time.time()
    assert examine(database).counts == examine(backup).counts
    assert (done.replaced is None) == (state == "missing")
    assert sorted(path.name for path in database.parent.iterdir()) == ["metawsm.db"]
    if done.replaced and state != "torn":
        assert done.replaced.read_bytes() == broken
    if state == "log of a lost one":
        assert Path(f"{done.replaced}-wal").read_bytes() == b"a log" * 100


def test_the_log_of_a_database_that_was_moved_aside_is_kept(database: Path, backup: Path, folder: Path) -> None:
    """The newest changes may be in it alone: put beside the moved file again, it gives them back."""
    aside = crashed(database)
    log = Path(f"{database}-wal").read_bytes()
    done = restore(backup, database, folder)
    assert done.replaced is not None
    assert done.replaced.name.endswith("-replaced.db-wal")
    assert done.replaced.read_bytes() == log
    assert sorted(path.name for path in database.parent.iterdir()) == ["aside.db", "metawsm.db"]
    done.replaced.rename(f"{aside}-wal")
    assert rows(aside, "SELECT value FROM metawsm_meta WHERE name = 'later'") == [("yes",)]


def crashed(database: Path) -> Path:
    """Its newest change is in the log only, the daemon is dead, and somebody has moved the main file; its new name."""
    writer = Connection(str(database))
    writer.wal_autocheckpoint(0)
    writer.execute("INSERT INTO metawsm_meta VALUES ('later', 'yes')")
    main, log = database.read_bytes(), Path(f"{database}-wal").read_bytes()
    writer.close()
    database.unlink()
    Path(f"{database}-wal").write_bytes(log)
    aside = database.with_name("aside.db")
    aside.write_bytes(main)
    return aside


def test_a_restore_that_would_fill_the_disk_is_refused(database: Path, backup: Path, folder: Path) -> None:
    """Before anything is changed; how much is needed and free is told."""
    log = Path(f"{database}-wal")
    with log.open("wb") as file:
        file.truncate(1 << 42)  # takes no space
    before, names = database.read_bytes(), sorted(folder.iterdir())
    with pytest.raises(Unavailable, match=r"the restore needs 4,398,\d{3},\d{3},\d{3} bytes in .*project, [\d,]+ are"):
        restore(backup, database, folder)
    assert (database.read_bytes(), sorted(folder.iterdir())) == (before, names)
    assert log.stat().st_size == 1 << 42
    assert not list(database.parent.glob("*.restoring*"))


def test_a_restore_that_cannot_be_written_blames_the_new_file(database: Path, backup: Path, folder: Path) -> None:
    """Not the backup, which is whole; nothing is left over, and the database is as it was."""
    before = examine(database)
    with small_files(), pytest.raises(Unavailable, match=r"metawsm\.db\.restoring"):
        restore(backup, database, folder)
    assert examine(database) == before
    assert sorted(path.name for path in database.parent.iterdir()) == ["metawsm.db"]


def refuse(match: str, backup: Path, database: Path, folder: Path) -> None:
    """A restore is refused, and nothing is changed or left over."""
    before, names = database.read_bytes(), sorted(folder.iterdir())
    with pytest.raises(Refused, match=match):
        restore(backup, database, folder)
    assert database.read_bytes() == before
    assert sorted(folder.iterdir()) == names
    assert sorted(path.name for path in database.parent.iterdir()) == ["metawsm.db"]


def test_a_damaged_backup_is_refused(database: Path, backup: Path, folder: Path) -> None:
    """The database stays as it is."""
    data = bytearray(backup.read_bytes())
    data[9000] ^= 1
    backup.write_bytes(data)
    refuse("damaged", backup, database, folder)


def test_a_newer_schema_is_refused(database: Path, backup: Path, folder: Path, tmp_path: Path) -> None:
    """The version is named, and what to do; also where its tables are not those that are known."""
    newer = backup.rename(tmp_path / "newer.db")
    version = len(STEPS) + 1
    change(newer, f"PRAGMA user_version = {version}", f"INSERT INTO schema_migrations VALUES ({version}, 'x', 'x')")
    change(newer, "DROP TABLE forum_events")
    refuse(f"schema version {version}.*install metawsm.pyz", newer, database, folder)


def test_a_backup_of_another_database_needs_a_word(database: Path, folder: Path, tmp_path: Path) -> None:
    """Both are named; with the word it takes the place."""
    fill(tmp_path / "other.db", database_id="db-two")
    other = backup_of(tmp_path / "other.db", tmp_path / "others")
    refuse("db-two.*db-one.*--other-database", other, database, backup_of(database, folder).parent)
    done = restore(other, database, folder, other_database=True)
    assert done.facts.database_id == "db-two"
    assert done.facts.epoch >= int(time.time()) - 5


def test_the_database_itself_and_a_missing_file_are_refused(database: Path, backup: Path, folder: Path) -> None:
    """Also through another name of the same file."""
    alias = database.with_name("alias.db")
    alias.symlink_to(database)
    for same in (database, alias):
        with pytest.raises(Refused, match="the database itself"):
            restore(same, database, folder)
    with pytest.raises(NotFound):
        restore(folder / "no.db", database, folder)
    assert restore(backup, alias, folder).database == database.resolve()
    assert alias.is_symlink()


def test_a_database_of_another_program_is_not_replaced(backup: Path, folder: Path, tmp_path: Path) -> None:
    """It is no destroyed one of ours."""
    change(tmp_path / "go.db", "CREATE TABLE runs(id)")
    with pytest.raises(Refused, match="Go program"):
        restore(backup, tmp_path / "go.db", folder)


@pytest.fixture
def reading(database: Path) -> Iterator[None]:
    """Somebody has the database open, in the middle of reading."""
    connection = Connection(str(database))
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM forum_events").fetchone()
    yield
    connection.close()


def test_a_database_in_use_is_not_replaced(database: Path, backup: Path, folder: Path, reading: None) -> None:
    """Who has it open without our lock would go on writing into what is no longer the database."""
    with pytest.raises(Unavailable, match="locked"):
        restore(backup, database, folder)
    assert examine(database).epoch == 1


def test_restore_refuses_while_the_lock_is_held(database: Path, backup: Path) -> None:
    """The holder is named."""
    lock = acquire(database, Holder(4711, "127.0.0.1:3001", "2026-11-22T08:00:00Z"))
    done = shell(["backup", "restore", str(backup), "--db", str(database)])
    lock.release()
    assert (done.returncode, "process 4711 at 127.0.0.1:3001" in done.stderr) == (1, True)
    done = shell(["backup", "restore", str(backup), "--db", str(database)])
    assert (done.returncode, done.stdout.strip()) == (0, str(database)), done.stderr
    assert "epoch 2" in done.stderr


def test_the_folder_may_be_on_another_disk(database: Path, backup: Path) -> None:
    """Where no link is possible, the replaced database is copied."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == database.stat().st_dev:
        missing("needs a second file system at /dev/shm")
    far = memory / f"metawsm-test-{time.time_ns()}"
    try:
        done = restore(backup, database, far)
        assert done.replaced is not None
        assert examine(done.replaced).epoch == 1
        assert done.replaced.stat().st_mode & 0o777 == 0o600
    finally:
        for path in far.iterdir():
            path.unlink()
        far.rmdir()


def test_an_older_schema_is_restored(folder: Path, tmp_path: Path) -> None:
    """It is migrated at the next start."""
    path = tmp_path / "old" / "metawsm.db"
    fill(path, schema=1)
    assert restore(backup_of(path, folder), path, folder).facts.schema_version == 1


def test_the_feed_is_asked_until_the_lost_one_is_met(database: Path, backup: Path, folder: Path) -> None:
    """An empty feed, or one that we may have filled, is not it; sequences never go back."""
    restore(backup, database, folder)
    connection = Connection(str(database))
    top = examine(backup).sequence_top
    assert continue_above(connection, 0, 0) == top
    assert continue_above(connection, top, top + 3) == top + 3
    assert awaits_feed(connection)
    assert continue_above(connection, top + 1, top + 40) == top + 40
    assert not awaits_feed(connection)
    assert continue_above(connection, 3, 3) == top + 40
    connection.close()
