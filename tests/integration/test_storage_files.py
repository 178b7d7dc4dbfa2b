"""The files on disk: settings, modes, foreign files, the lock, the write-ahead log's length."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from pathlib import Path

import apsw
import gevent
import pytest

from metawsm.domain.errors import Refused, Unavailable
from metawsm.storage.choose import make_writer, measure_commit_ms
from metawsm.storage.connection import open_reader, open_writer
from metawsm.storage.lock import Holder, acquire, holder_of, lock_path
from metawsm.storage.maintenance import Maintenance, free_disk, wal_bytes
from tests.support.storage_lab import insert, item_database, values

_HOLDER = Holder(pid=4711, addr="127.0.0.1:3001", started_at="2026-11-22T10:00:00.000000Z")
_TAKER = """
import sys, time
from metawsm.storage.lock import Holder, acquire
acquire(sys.argv[1], Holder(1, "addr", "then"))
print("held", flush=True)
sys.stdin.readline()
"""


def test_the_writer_is_durable_and_strict(tmp_path: Path) -> None:
    """WAL with synchronous FULL, foreign keys on, no trusted schema, no strings in double quotes."""
    connection = open_writer(tmp_path / "db")
    found = {
        name: connection.pragma(name) for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
    }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "trusted_schema": 0}
    with pytest.raises(apsw.SQLError):
        connection.execute('SELECT "no such column"')
    connection.close()


def test_statements_without_rows_do_not_disturb_one_that_is_being_read(tmp_path: Path) -> None:
    """`run` has a cursor of its own; what it refuses leaves it usable, and a closed connection goes at once."""
    connection = item_database(tmp_path / "db")
    connection.run("INSERT INTO item (value) VALUES (?), (?)", ("a", "b"))
    for number, value in connection.execute("SELECT id, value FROM item WHERE id < 3"):
        connection.run("INSERT INTO item (value) VALUES (?)", (f"{value}{value}",))
        with pytest.raises(apsw.ConstraintError):
            connection.run("INSERT INTO item (id) VALUES (?)", (number,))
    assert [value for (value,) in connection.execute("SELECT value FROM item")] == ["a", "b", "aa", "bb"]
    connection.close()
    gone = weakref.ref(connection)
    del connection
    assert gone() is None, "a circle is left for the garbage collector"


def test_new_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    """Folder 0700, database and its side files 0600, whatever the umask."""
    before = os.umask(0)
    try:
        path = tmp_path / "new" / "db"
        connection = item_database(path)
        modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
        assert modes == {"db": 0o600, "db-wal": 0o600, "db-shm": 0o600}
        assert path.parent.stat().st_mode & 0o777 == 0o700
        connection.close()
    finally:
        os.umask(before)


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    """A text file at the database's place stays as it is."""
    path = tmp_path / "db"
    path.write_text("dear diary\n" * 1000)
    with pytest.raises(Refused, match="not a SQLite database"):
        open_writer(path)
    assert path.read_text().startswith("dear diary")


@pytest.mark.parametrize(
    ("table", "says"), [("forum_events(sequence)", "metawsm.pyz import"), ("bookmarks(url)", "another program")]
)
def test_a_foreign_database_is_refused_untouched(tmp_path: Path, table: str, says: str) -> None:
    """A database of the Go program names the import, any other one --db; not a byte of it changes."""
    path = tmp_path / "db"
    foreign = apsw.Connection(str(path))
    foreign.execute(f"CREATE TABLE {table}")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(Refused, match=says):
        open_writer(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A folder, or a file where a folder should be, gives a message with the path."""
    with pytest.raises(Refused, match="is a folder"):
        open_writer(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_writer(tmp_path / "file" / "db")
    with pytest.raises(Unavailable, match="cannot be opened"):
        open_reader(tmp_path / "missing")


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    """Garbage in the middle of the file is told as damage, with the way out."""
    path = tmp_path / "db"
    connection = item_database(path)
    for number in range(200):
        insert(connection, f"{number}" * 100)
    connection.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    writer = make_writer(path, kind="hub")
    with pytest.raises(Unavailable, match="restore a backup"):
        writer.run(lambda db: insert(db, "x"))
    writer.close()


def test_measuring_a_commit_leaves_nothing_behind(tmp_path: Path) -> None:
    """The probe takes some real time and removes its files; the measured disk chooses a writer."""
    assert 0 < measure_commit_ms(tmp_path / "db") < 10_000
    assert list(tmp_path.iterdir()) == []
    writer = make_writer(tmp_path / "db")
    assert writer.stats().kind in {"hub", "thread"}
    writer.close()


def test_a_second_instance_is_refused_with_the_holder(tmp_path: Path) -> None:
    """The message names process, address and start; after the release the next one gets the lock."""
    lock = acquire(tmp_path / "db", _HOLDER)
    with pytest.raises(Refused, match=r"process 4711 at 127.0.0.1:3001 since 2026-11-22T10:00:00"):
        acquire(tmp_path / "db", Holder(1, "x", "y"))
    assert holder_of(tmp_path / "db") == _HOLDER
    lock.release()
    acquire(tmp_path / "db", _HOLDER).release()


def test_the_lock_counts_through_a_symbolic_link(tmp_path: Path) -> None:
    """Two names of one database are one lock."""
    (tmp_path / "db").touch()
    (tmp_path / "alias").symlink_to(tmp_path / "db")
    lock = acquire(tmp_path / "alias", _HOLDER)
    with pytest.raises(Refused):
        acquire(tmp_path / "db", _HOLDER)
    lock.release()


def test_an_unreadable_note_still_refuses(tmp_path: Path) -> None:
    """A holder that has not written its note yet is another process."""
    lock = acquire(tmp_path / "db", _HOLDER)
    lock_path(tmp_path / "db").write_bytes(b"")
    with pytest.raises(Refused, match="another process"):
        acquire(tmp_path / "db", _HOLDER)
    lock.release()


def test_the_kernel_frees_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    """kill -9 leaves the file, not the lock."""
    command = [sys.executable, "-c", _TAKER, str(tmp_path / "db")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(Refused):
        acquire(tmp_path / "db", _HOLDER)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    acquire(tmp_path / "db", _HOLDER).release()


def test_a_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """A program started while the lock is held does not hold it after the release."""
    lock = acquire(tmp_path / "db", _HOLDER)
    child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        lock.release()
        acquire(tmp_path / "db", _HOLDER).release()
    finally:
        child.kill()
        child.wait()


def _load(path: Path, jobs: int, maintained: bool) -> tuple[int, Maintenance | None]:
    """Write `jobs` items of 8 KiB from 16 greenlets; return the log's length in bytes afterwards."""
    writer = make_writer(path, kind="hub", connection=item_database(path))
    maintenance = Maintenance(writer, pages=256) if maintained else None
    if maintenance is None:
        writer.watch_wal(lambda pages: None)
    greenlets = [gevent.spawn(_write, writer, jobs // 16) for _ in range(16)]
    gevent.joinall(greenlets, timeout=60, raise_error=True)
    size = wal_bytes(path)
    if maintenance is not None:
        maintenance.close()
    writer.close()
    return size, maintenance


def _write(writer: object, jobs: int) -> None:
    for _ in range(jobs):
        writer.run(partial(insert, value="x" * 8000))  # type: ignore[attr-defined]


def test_the_log_stays_short_under_load(tmp_path: Path) -> None:
    """With maintenance the log starts again and again; without, the same load makes it several times longer."""
    short, maintenance = _load(tmp_path / "kept", 4000, maintained=True)
    long, _ = _load(tmp_path / "left", 4000, maintained=False)
    assert maintenance is not None
    assert maintenance.counters.checkpoints > maintenance.counters.starved
    assert short < long / 2
    assert len(values(tmp_path / "kept")) == 4000


def test_a_reader_that_never_ends_starves_the_checkpoint_not_the_writer(tmp_path: Path) -> None:
    """The restart gives up soon, is counted, and works again when the reader is gone."""
    path = tmp_path / "db"
    writer = make_writer(path, kind="hub", connection=item_database(path))
    maintenance = Maintenance(writer)
    writer.run(lambda db: insert(db, "a"))
    reader = open_reader(path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM item").fetchone() == (1,)
    writer.run(lambda db: insert(db, "b"))
    started = time.monotonic()
    assert maintenance.checkpoint() is False
    assert time.monotonic() - started < 1
    assert maintenance.counters.starved == 1
    writer.run(lambda db: insert(db, "c"))
    reader.close()
    assert maintenance.checkpoint() is True
    maintenance.close()
    writer.close()
    assert values(path) == ["a", "b", "c"]


def test_the_log_gets_its_length_at_once_and_survives_a_crash(tmp_path: Path) -> None:
    """The zeros behind the last frame are no frames: a copy of the files taken in mid-flight opens with all rows."""
    path, copy = tmp_path / "db", tmp_path / "copy"
    writer = make_writer(path, kind="hub", connection=item_database(path))
    maintenance = Maintenance(writer)
    maintenance.extend()
    assert wal_bytes(path) == 16 * 1024 * 1024
    writer.run(lambda db: insert(db, "a"))
    assert wal_bytes(path) == 16 * 1024 * 1024
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
    assert values(copy) == ["a"]
    maintenance.close()
    writer.close()


def test_a_disk_without_room_for_the_log_is_left_to_the_commits(tmp_path: Path) -> None:
    """The start goes on with the log as it was."""
    path = tmp_path / "db"
    writer = make_writer(path, kind="hub", connection=item_database(path))
    maintenance = Maintenance(writer)
    before, (soft, hard) = wal_bytes(path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 1024 * 1024, hard))
    try:
        maintenance.extend()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert wal_bytes(path) == before
    writer.run(lambda db: insert(db, "a"))
    maintenance.close()
    writer.close()
    assert values(path) == ["a"]


def test_closing_in_the_middle_of_a_checkpoint_is_quiet(tmp_path: Path) -> None:
    """The background work ends without an error, and the writer is not left held."""
    path = tmp_path / "db"
    faults: list[str] = []
    writer = make_writer(path, kind="hub", connection=item_database(path))
    for number in range(30):
        maintenance = Maintenance(writer, pages=1, on_fault=lambda what, error: faults.append(f"{what}: {error}"))
        writer.run(partial(insert, value=number))
        gevent.sleep(number * 0.0001)
        maintenance.close()
    assert faults == []
    writer.close()
    assert values(path) == list(range(30))


def test_free_disk_is_a_plausible_number(tmp_path: Path) -> None:
    """Bytes, of the file system the database lies on."""
    assert 0 < free_disk(tmp_path / "db") < 1 << 60


def test_a_look_at_the_lock_does_not_keep_a_daemon_from_starting(tmp_path: Path) -> None:
    """`doctor` holds a shared lock for a moment; who starts just then waits for that moment."""
    database = tmp_path / "metawsm.db"
    descriptor = os.open(lock_path(database), os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    gone = threading.Timer(0.05, os.close, [descriptor])
    gone.start()
    acquire(database, _HOLDER).release()
    gone.join()
