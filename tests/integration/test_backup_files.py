"""Backups as files: complete, whole, private, few; and no damage goes unnoticed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metawsm.domain.errors import NotFound, Refused, Unavailable
from metawsm.storage.backup import create
from metawsm.storage.backup_files import backups_in, digest_in, part_of, stamp
from metawsm.storage.examine import examine, owner_of
from tests.support.backup_lab import backup_of, change, fill, rows, small_files
from tests.support.shell import shell


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A filled database that nobody has open."""
    path = tmp_path / "project" / "metawsm.db"
    fill(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where backups go; it is not there yet."""
    return tmp_path / "backups"


def flip(path: Path, place: int) -> None:
    """Change one byte."""
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


def test_a_backup_is_one_private_file_with_everything(database: Path, folder: Path) -> None:
    """It holds what the database holds, is readable by its owner only, and says time, epoch and head in its name."""
    before = examine(database)
    made = create(database, folder, keep=3)
    assert examine(made.file.path) == before == made.facts
    assert (made.file.epoch, made.file.head_sequence, made.file.kind) == (1, before.head_sequence, "backup")
    assert [path.name for path in folder.iterdir()] == [made.file.path.name]
    assert (folder.stat().st_mode & 0o777, made.file.path.stat().st_mode & 0o777) == (0o700, 0o600)
    assert backups_in(folder) == [made.file]


def test_a_backup_is_compact(database: Path, folder: Path) -> None:
    """Pages that the database no longer uses are not in it."""
    change(database, "CREATE TABLE bulk AS SELECT randomblob(2000000) AS b", "DROP TABLE bulk")
    assert database.stat().st_size > 2_000_000 > 10 * backup_of(database, folder).stat().st_size / 5


def test_what_is_in_the_log_only_is_in_the_backup(database: Path, folder: Path) -> None:
    """A database whose newest commits are in its write-ahead log is backed up with them."""
    import apsw

    writer = apsw.Connection(str(database))
    writer.execute("INSERT INTO metawsm_meta VALUES ('late', 'yes')")
    assert Path(f"{database}-wal").stat().st_size > 0
    assert rows(backup_of(database, folder), "SELECT value FROM metawsm_meta WHERE name = 'late'") == [("yes",)]
    writer.close()


def test_every_flipped_byte_is_found(database: Path, folder: Path) -> None:
    """Wherever a byte of a backup changes, verify refuses it."""
    path = backup_of(database, folder)
    size = path.stat().st_size
    for place in (0, 17, 100, size // 3, size // 2, size - 5000, size - 1):
        flip(path, place)
        with pytest.raises(Refused, match="damaged"):
            examine(path)
        flip(path, place)
    examine(path)


def test_damage_is_found_without_the_name(database: Path, folder: Path, tmp_path: Path) -> None:
    """A renamed backup has no checksum; broken structure is still found, and a cut file."""
    path = backup_of(database, folder).rename(tmp_path / "copy.db")
    assert digest_in(path) is None
    examine(path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], whole[:4096] + bytes(4096 * 3) + whole[4096 * 4 :], b"x" * 5000):
        path.write_bytes(broken)
        with pytest.raises(Refused, match="damaged"):
            examine(path)


def test_an_index_that_lies_is_found(database: Path, folder: Path, tmp_path: Path) -> None:
    """Also where every row can be read: an index in another order than it says leads queries past rows."""
    path = backup_of(database, folder).rename(tmp_path / "copy.db")
    sql = "CREATE INDEX forum_posts_thread ON forum_posts (thread_id DESC, sequence)"
    change(
        path, "PRAGMA writable_schema = ON", f"UPDATE sqlite_schema SET sql = '{sql}' WHERE name = 'forum_posts_thread'"
    )
    with pytest.raises(Refused, match=r"damaged.*forum_posts_thread"):
        examine(path)


BREAKS = {
    "read model": "UPDATE projection_cursors SET sequence = 10000",
    "not in the log": "DELETE FROM forum_events WHERE sequence = (SELECT max(sequence) FROM forum_events)",
    "newest event": "UPDATE forum_threads SET last_event_sequence = 9999 WHERE thread_id = 'fthr-1'",
    "given twice": "UPDATE sqlite_sequence SET seq = 1 WHERE name = 'forum_events'",
    "ledger": "DELETE FROM schema_migrations",
}


@pytest.mark.parametrize("told", BREAKS)
def test_what_sqlite_cannot_know_is_checked(database: Path, folder: Path, told: str) -> None:
    """A file that is whole to SQLite and contradicts itself is no backup."""
    change(database, BREAKS[told])
    with pytest.raises(Refused, match=told):
        create(database, folder, keep=3)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "not a database of metawsm"), (b"SQLite format 3\0" + b"x" * 900, "damaged")]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, told: str) -> None:
    """What is no database of ours is named as such."""
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(Refused, match=told):
        examine(path)
    with pytest.raises(NotFound):
        examine(tmp_path / "missing.db")


def test_a_database_of_the_go_program_is_refused(tmp_path: Path, folder: Path) -> None:
    """It is told what to do with it."""
    path = tmp_path / "go.db"
    change(path, "CREATE TABLE runs(id)")
    for refused in (lambda: examine(path), lambda: create(path, folder, 3)):
        with pytest.raises(Refused, match="import"):
            refused()


def test_only_our_oldest_are_deleted(database: Path, folder: Path) -> None:
    """The newest are kept, each kind counted by itself; files of other names are never touched."""
    folder.mkdir()
    others = [folder / "metawsm.db", folder / "metawsm-20200101T000000000000Z-e1-s1.db", folder / "notes.txt",
              folder / f"metawsm-20200101T000000000000Z-{owner_of(database).mark}-replaced.db"]  # fmt: skip
    for other in others:
        other.write_text("mine")
    migration = create(database, folder, 2, before_version=1)
    made = [create(database, folder, 2).file.path for _ in range(4)]
    kept = {each.path for each in backups_in(folder)}
    assert kept == {*made[2:], migration.file.path, others[3]}
    assert all(other.read_text() == "mine" for other in others)


def test_databases_that_share_a_folder_leave_each_other_alone(tmp_path: Path, folder: Path) -> None:
    """Another database, or a copy of the same one, deletes no backup and none that is growing; each lists its own."""
    one, two, copied = (tmp_path / name for name in ("one.db", "two.db", "copied.db"))
    fill(one)
    fill(two, database_id="db-two")
    copied.write_bytes(one.read_bytes())
    first = backup_of(one, folder, keep=1)
    growing = part_of(folder, "20200101T000000000000Z", owner_of(one).mark)
    growing.write_bytes(b"half")
    others = [backup_of(database, folder, keep=1) for database in (two, copied, two, copied)][2:]
    assert sorted(folder.iterdir()) == sorted([first, growing, *others])
    assert [each.path for each in backups_in(folder, owner_of(two))] == [others[0]]


def test_the_list_finds_the_backups_of_a_database_that_moved_or_is_lost(database: Path, folder: Path) -> None:
    """By its id at a new place, by its place where another one lies now, all of them when it cannot be asked."""
    file = backup_of(database, folder)
    moved = database.rename(database.with_name("moved.db"))
    assert [each.path for each in backups_in(folder, owner_of(moved))] == [file]
    assert [each.path for each in backups_in(folder, owner_of(database))] == [file]
    assert [each.path for each in backups_in(folder, owner_of(database.with_name("lost.db")))] == [file]
    fill(database, database_id="db-two")
    assert [each.path for each in backups_in(folder, owner_of(database))] == [file]
    fill(database.with_name("other.db"), database_id="db-three")
    assert backups_in(folder, owner_of(database.with_name("other.db"))) == []


def later(path: Path) -> Path:
    """A backup as if it had been made an hour from now, by a clock that has gone back since."""
    named = path.name.split("-")[1]
    return path.rename(path.with_name(path.name.replace(named, stamp(datetime.now(UTC) + timedelta(hours=1)))))


def test_a_clock_that_went_back_costs_no_backup(database: Path, folder: Path) -> None:
    """The one just made stays, whatever time stands in other names; and what is kept is what has got furthest."""
    for _ in range(2):
        later(backup_of(database, folder, keep=2))
    made = create(database, folder, keep=2)
    assert made.file.path.exists()
    assert (len(made.deleted), len(backups_in(folder))) == (1, 2)
    change(database, "UPDATE metawsm_meta SET value = 2 WHERE name = 'epoch'")
    further = [backup_of(database, folder, keep=2) for _ in range(2)]
    assert sorted(each.path for each in backups_in(folder)) == further


def test_a_backup_that_would_fill_the_disk_is_refused(database: Path, folder: Path) -> None:
    """Before anything is written; how much is needed and free is told."""
    log = Path(f"{database}-wal")
    with log.open("wb") as file:
        file.truncate(1 << 42)  # takes no space
    with pytest.raises(Unavailable, match=r"the backup needs 4,398,\d{3},\d{3},\d{3} bytes in .*backups, [\d,]+ are"):
        create(database, folder, 3)
    assert list(folder.iterdir()) == []
    log.unlink()
    create(database, folder, 3)


def test_a_backup_that_cannot_be_written_blames_itself(database: Path, folder: Path) -> None:
    """Not the database, which is well; nothing of it stays."""
    with small_files(), pytest.raises(Unavailable, match=r"backups/\.metawsm-.*\.part"):
        create(database, folder, 3)
    assert list(folder.iterdir()) == []


def test_what_was_cut_off_is_cleared_away(database: Path, folder: Path) -> None:
    """A file that a killed backup left is gone after the next one."""
    folder.mkdir()
    part_of(folder, "20200101T000000000000Z", owner_of(database).mark).write_bytes(b"half")
    made = backup_of(database, folder)
    assert list(folder.iterdir()) == [made]


def test_a_backup_can_be_broken_off(database: Path, folder: Path) -> None:
    """Nothing of it stays."""
    fill(database.with_name("large.db"), threads=300, body="long " * 2000)
    asked = iter(range(10**6))
    with pytest.raises(Unavailable, match="broken off"):
        create(database.with_name("large.db"), folder, 3, is_cancelled=lambda: next(asked) > 1)
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_used(database: Path, folder: Path) -> None:
    """It is named."""
    folder.write_text("a file")
    with pytest.raises(Unavailable, match=str(folder)):
        create(database, folder, 3)


def test_the_verbs_without_a_daemon(database: Path) -> None:
    """create, list and verify work on the files alone; each has its JSON; a missing database makes nothing."""
    home = database.parent
    at = ("--db", str(database))
    made = shell(["backup", "create", *at, "--json"], cwd=home)
    assert made.returncode == 0, made.stderr
    backup = json.loads(made.stdout)["backup"]
    assert backup["counts"]["threads"] == 12
    assert backup["counts"]["undone_commands"] == 1
    listed = json.loads(shell(["backup", "list", *at, "--json"], cwd=home).stdout)["backups"]
    assert [each["file"] for each in listed] == [backup["file"]]
    checked = json.loads(shell(["backup", "verify", Path(backup["file"]).name, *at, "--json"], cwd=home).stdout)[
        "backup"
    ]
    assert (checked["checksum"], checked["head_sequence"], checked["schema_version"]) == (
        "ok", backup["head_sequence"], backup["schema_version"],
    )  # fmt: skip
    flip(Path(backup["file"]), 6000)
    broken = shell(["backup", "verify", backup["file"], *at], cwd=home)
    assert (broken.returncode, "damaged" in broken.stderr) == (1, True)
    for arguments in (["create"], ["restore", "x.db"], ["verify", "x.db"]):
        missing = shell(["backup", *arguments, "--db", "nowhere/metawsm.db"], cwd=home)
        assert (missing.returncode, "there is no file" in missing.stderr) == (3, True), arguments
    assert not (home / "nowhere").exists()


def test_the_policy_chooses_the_folder_and_the_number(database: Path, tmp_path: Path) -> None:
    """backup.folder may be anywhere, backup.keep says how many stay."""
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"version": 2, "backup": {"folder": str(tmp_path / "safe"), "keep": 1}}))
    done = [shell(["backup", "create", "--db", str(database), "--policy", str(policy)]) for _ in range(2)]
    assert [each.returncode for each in done] == [0, 0], done[1].stderr
    assert len(list((tmp_path / "safe").iterdir())) == 1
    assert "deleted" in done[1].stderr
