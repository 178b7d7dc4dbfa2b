"""Backups of a daemon that serves: asked for by REST and by the command line, under load, before a migration."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metawsm.storage.backup_files import backups_in
from metawsm.storage.examine import examine
from metawsm.storage.schema_steps import STEPS
from tests.support.backup_lab import fill, rows
from tests.support.daemon import Daemon, Reply
from tests.support.ledger import Ledger, database
from tests.support.lived_in import QUESTIONS, answers, live_in
from tests.support.redis_servers import ServerHandle
from tests.support.rest import Rest
from tests.support.shell import shell


def test_the_restored_daemon_gives_the_same_answers(daemon: Daemon) -> None:
    """Made online, restored over what came after: every list, page, queue, search and event is as it was."""
    rest = Rest(daemon)
    live_in(rest)
    before = answers(daemon)
    made = shell(["backup", "create", "--json"], cwd=daemon.folder)
    assert made.returncode == 0, made.stderr
    file = json.loads(made.stdout)["backup"]["file"]
    rest.open(title="Lost")
    refused = shell(["backup", "restore", file], cwd=daemon.folder)
    assert (refused.returncode, f"process {daemon.process.pid}" in refused.stderr) == (1, True)
    daemon.stop()
    done = shell(["backup", "restore", file], cwd=daemon.folder)
    assert done.returncode == 0, done.stderr
    daemon.start()
    assert answers(daemon) == before
    assert rest.open(title="After")["last_event_sequence"] > before[QUESTIONS[0]]["threads"][0]["last_event_sequence"]


def test_backups_over_rest(daemon: Daemon) -> None:
    """Who has the token may make one; nothing in the request chooses a file; agents may look."""
    rest = Rest(daemon)
    rest.open()
    assert rest.send("POST", "/backups", {}, anonymous=True).status == 403
    assert rest.send("POST", "/backups", {"file": "/tmp/x"}).status == 422
    assert rest.send("POST", "/backups?folder=x", {}).status == 400
    made = rest.send("POST", "/backups", {})
    assert made.status == 201
    backup = made.body["backup"]
    assert (backup["kind"], backup["epoch"], backup["head_sequence"], backup["counts"]["threads"]) == (
        "backup",
        1,
        1,
        1,
    )
    listed = rest.send("GET", "/backups", anonymous=True)
    assert [each["file"] for each in listed.body["backups"]] == [backup["file"]]
    assert examine(Path(backup["file"])).head_sequence == 1


@contextmanager
def asking(daemon: Daemon) -> Iterator[list[tuple[int, float]]]:
    """Somebody reads all the time; status and seconds of each answer."""
    seen: list[tuple[int, float]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            begun = time.monotonic()
            status = daemon.request("GET", "/forum/threads").status
            seen.append((status, time.monotonic() - begun))

    reader = threading.Thread(target=ask)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join(30)


def make_large(daemon: Daemon, megabytes: int) -> None:
    """Give the database so much to copy that it takes a while."""
    daemon.stop()
    with database(daemon.database) as db:
        db.execute("CREATE TABLE bulk(id INTEGER PRIMARY KEY, b BLOB)")
        for _ in range(megabytes):
            db.execute("INSERT INTO bulk(b) VALUES (randomblob(1000000))")
    daemon.start()


def timed(daemon: Daemon) -> tuple[Reply, float]:
    """Make a backup; the answer, and how many seconds it took."""
    begun = time.monotonic()
    return daemon.request("POST", "/backups", {}), time.monotonic() - begun


def test_backups_under_load_disturb_nobody(daemon: Daemon) -> None:
    """Three backups of a large database while clients write: no request fails or waits long, each backup is whole."""
    make_large(daemon, 80)
    ledger = Ledger(daemon, clients=4)
    with ledger.load(), asking(daemon) as seen:
        time.sleep(0.3)
        made = [timed(daemon) for _ in range(3)]
        time.sleep(0.3)
    assert {reply.status for reply, _ in made} == {201}
    assert {status for status, _ in seen} == {200}
    # Made on the hub, a backup would let some reader wait for all of it.
    assert max(seconds for _, seconds in seen) < min(seconds for _, seconds in made) / 2
    assert {entry.first_status for entry in ledger.entries[1:]} <= {200, 201, 409}
    heads = [examine(Path(reply.body["backup"]["file"])).head_sequence for reply, _ in made]
    assert heads == sorted(heads)
    assert heads[0] < heads[-1]
    ledger.check()


def test_more_than_one_in_line_is_refused(daemon: Daemon) -> None:
    """One is made, one waits, others are told to come back; all that was promised is there."""
    make_large(daemon, 80)
    replies: list[int] = []
    asked = [
        threading.Thread(target=lambda: replies.append(daemon.request("POST", "/backups", {}).status)) for _ in range(5)
    ]
    for each in asked:
        each.start()
    for each in asked:
        each.join(60)
    assert sorted(set(replies)) == [201, 503]
    assert replies.count(201) == len(backups_in(daemon.folder / ".metawsm" / "backups"))


def test_a_daemon_that_is_stopped_breaks_its_backup_off(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """It ends when its time is over, and leaves nothing of the backup behind."""
    daemon = start_daemon("--redis", server.url, "--shutdown-timeout", "50ms")
    make_large(daemon, 120)
    asked = threading.Thread(target=lambda: shell(["backup", "create"], cwd=daemon.folder))
    asked.start()
    folder = daemon.folder / ".metawsm" / "backups"
    while not folder.is_dir() or not list(folder.iterdir()):
        time.sleep(0.005)
    begun = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - begun < 5
    asked.join(60)
    assert list(folder.iterdir()) == []


def older_database(folder: Path) -> Path:
    """A database of the first schema where a daemon finds it."""
    path = folder / ".metawsm" / "metawsm.db"
    fill(path, schema=1)
    with database(path) as db:
        db.execute("DELETE FROM forum_outbox")  # its command is no real one
    return path


def test_a_migration_is_preceded_by_a_backup(tmp_path: Path, server: ServerHandle) -> None:
    """The database as it was with the old schema is kept; the new one serves; a restore of it is migrated again."""
    path = older_database(tmp_path)
    daemon = Daemon(None, tmp_path, "--redis", server.url)
    try:
        (kept,) = backups_in(tmp_path / ".metawsm" / "backups")
        assert (kept.kind, examine(kept.path).schema_version) == ("migration", 1)
        assert rows(path, "PRAGMA user_version") == [(len(STEPS),)]
        before = daemon.request("GET", "/forum/threads").body
        daemon.stop()
        done = shell(["backup", "restore", kept.path.name], cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        daemon.start()
        assert daemon.request("GET", "/forum/threads").body == before
    finally:
        daemon.end()


def test_without_a_backup_nothing_is_migrated(tmp_path: Path) -> None:
    """When the backup cannot be made, the daemon does not start, and the schema stays."""
    path = older_database(tmp_path)
    (path.parent / "backups").write_text("in the way")
    done = shell(["serve", "--addr", "127.0.0.1:0", "--redis", ""], cwd=tmp_path)
    assert (done.returncode, str(path.parent / "backups") in done.stderr) == (1, True), done.stderr
    assert rows(path, "PRAGMA user_version") == [(1,)]


def test_a_new_database_needs_no_backup(daemon: Daemon) -> None:
    """The first steps change nothing that anybody could lose."""
    assert not (daemon.folder / ".metawsm" / "backups").exists()


@pytest.mark.faults
def test_a_backup_of_a_daemon_that_never_rests(daemon: Daemon) -> None:
    """Ten backups in a row under load, each whole, each with all that was committed before it was asked for."""
    ledger, least = Ledger(daemon, clients=6), 0
    with ledger.load():
        for _ in range(10):
            head = daemon.request("POST", "/backups", {}).body["backup"]["head_sequence"]
            assert head >= least
            ((least,),) = rows(daemon.database, "SELECT max(sequence) FROM forum_events")
            assert least >= head
    assert least > 10
    ledger.check()
