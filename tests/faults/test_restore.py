"""A backup restored while Redis still holds what came after it: a new epoch, and nothing of the lost time."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, own_program
from tests.support.eventually import eventually
from tests.support.ledger import database, feed_sequences, read_models, rebuild
from tests.support.raw_ws import RawWs
from tests.support.redis_servers import ServerHandle
from tests.support.shell import environment

COMMANDS = "forum.commands.open_thread"


def ask(daemon: Daemon, title: str, wait: float = 5.0) -> Any:
    """Open a thread; the body of the answer."""
    body = {"ticket": "MET-1", "title": title, "body": title, "actor_type": "agent"}
    return daemon.request("POST", f"/forum/threads?wait={wait:g}", body).body


def titles(daemon: Daemon) -> list[str]:
    """The titles of all threads."""
    return sorted(view["title"] for view in daemon.request("GET", "/forum/threads").body["threads"])


def restored(daemon: Daemon, file: str, *, lost: bool = False) -> dict[str, Any]:
    """Stop the daemon and restore; with `lost` the database has vanished before. What the program says."""
    daemon.stop()
    if lost:
        daemon.database.unlink()
    done = own_program(daemon, "backup", "restore", file, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)["restored"]
    return told


def backup(daemon: Daemon) -> Any:
    """Make one online."""
    reply = daemon.request("POST", "/backups", {})
    assert reply.status == 201, reply.text
    return reply.body["backup"]


def undone_in_a_backup(daemon: Daemon, broker: ServerHandle) -> tuple[str, str]:
    """A backup that holds an accepted command that is not done, which is done right after it: (file, command)."""
    broker.pause()
    command = ask(daemon, "undone", wait=0.1)["command"]["id"]
    made = backup(daemon)
    broker.resume()
    assert made["counts"]["undone_commands"] == 1
    eventually(lambda: titles(daemon) == ["kept", "undone"], timeout=20)
    return made["file"], command


def entry_of(broker: ServerHandle, text: str) -> dict[bytes, bytes]:
    """The newest entry with this text on the stream of new threads."""
    with broker.client() as client:
        return next(fields for _, fields in client.xrevrange(COMMANDS) if text.encode() in fields[b"payload"])


@pytest.mark.parametrize("lost", [False, True], ids=["the replaced database is there", "it is lost"])
def test_nothing_of_the_lost_time_is_applied(daemon: Daemon, broker: ServerHandle, lost: bool) -> None:
    """Undone commands run once; later ones become dead letters; sequences go on above the feed; read models are right.

    Both commands stand in Redis unread once more, as after a crash between publishing and handling.
    """
    ask(daemon, "kept")
    file, undone = undone_in_a_backup(daemon, broker)
    ask(daemon, "lost")
    head = daemon.request("GET", "/forum/events").body["next_cursor"]
    copies = [entry_of(broker, text) for text in ("undone", "lost")]
    told = restored(daemon, file, lost=lost)
    with broker.client() as client:
        for fields in copies:
            client.xadd(COMMANDS, fields)
    daemon.start()
    eventually(lambda: titles(daemon) == ["kept", "undone"], timeout=10)
    assert daemon.request("GET", f"/forum/commands/{undone}").body["command"]["status"] == "applied"
    ask(daemon, "new")
    with database(daemon.database) as db:
        eventually(lambda: list(db.execute("SELECT reason FROM dead_letters")) == [("restored",)], timeout=5)
        ((metadata,),) = db.execute("SELECT metadata_json FROM dead_letters")
        assert f"{told['database_id']}/1" in metadata
        new = [int(row[0]) for row in db.execute("SELECT sequence FROM forum_events ORDER BY sequence")][1:]
        assert new[0] > head, "a sequence was given twice"
        assert list(db.execute("SELECT body, count(*) FROM forum_posts GROUP BY 1 ORDER BY 1")) == [
            ("kept", 1), ("new", 1), ("undone", 1),
        ]  # fmt: skip
        before = read_models(db)
    assert titles(daemon) == ["kept", "new", "undone"]
    with broker.client() as client:
        eventually(lambda: feed_sequences(client)[-len(new) :] == new, timeout=5)
    rebuild(daemon)
    with database(daemon.database) as db:
        assert read_models(db) == before


def frames(daemon: Daemon, cursor: int, count: int) -> list[dict[str, Any]]:
    """The first frames of the stream after a cursor."""
    path = f"/api/v1/forum/stream?cursor={cursor}"
    with RawWs(daemon.port, path, Host=f"127.0.0.1:{daemon.port}") as socket:
        return [json.loads(socket.receive()[1]) for _ in range(count)]


def test_clients_of_the_lost_time_are_told(daemon: Daemon) -> None:
    """The stream greets with the new epoch and resets a cursor beyond the head; so do pages of events."""
    ask(daemon, "kept")
    file = backup(daemon)["file"]
    for number in range(3):
        ask(daemon, f"lost {number}")
    assert frames(daemon, 4, 1)[0]["epoch"] == 1
    told = restored(daemon, file)
    daemon.start()
    hello, reset = frames(daemon, 4, 2)
    assert (hello["epoch"], hello["head_sequence"]) == (told["epoch"], 1) == (2, 1)
    assert (reset["type"], "cursor 4" in reset["reason"]) == ("reset", True)
    page = daemon.request("GET", "/forum/events?cursor=4").body
    assert (page["events"], page["next_cursor"], "cursor 4" in page["reset"]) == ([], 1, True)
    assert ask(daemon, "new")["thread"]["last_event_sequence"] == 5
    assert [event["sequence"] for event in daemon.request("GET", "/forum/events?cursor=1").body["events"]] == [5]
    assert [event["sequence"] for event in frames(daemon, 1, 2)[1]["events"]] == [5]


def test_restored_beside_an_empty_redis(daemon: Daemon, broker: ServerHandle) -> None:
    """The feed is filled again from the backup, and goes on."""
    ask(daemon, "kept")
    file = backup(daemon)["file"]
    ask(daemon, "lost")
    restored(daemon, file)
    with broker.client() as client:
        client.flushall()
        daemon.start()
        ask(daemon, "new")
        eventually(lambda: feed_sequences(client) == [1, 3], timeout=10)


def test_the_copied_folder_of_a_project_is_refused(daemon: Daemon, broker: ServerHandle, tmp_path: Path) -> None:
    """Both daemons on one Redis: the second ends and names both; on a number of its own it serves."""
    ask(daemon, "mine")
    copy = tmp_path / "copy"
    shutil.copytree(daemon.folder, copy)
    for left in copy.glob(".metawsm/*.lock"):
        left.unlink()
    begun = time.monotonic()
    second = subprocess.run(
        [*daemon.command, "serve", "--addr", "127.0.0.1:0", "--redis", broker.url],
        cwd=copy, env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (second.returncode, time.monotonic() - begun < 20) == (1, True), second.stderr
    for name in (str(daemon.database), str(copy / ".metawsm" / "metawsm.db")):
        assert name in second.stderr, second.stderr
    assert daemon.request("GET", "/health").body["status"] == "ok"
    ask(daemon, "mine too")
    apart = Daemon(daemon.command, copy, "--redis", f"{broker.url}?db=1")
    try:
        ask(apart, "of the copy")
        assert titles(apart) == ["mine", "of the copy"]
    finally:
        apart.end()
    assert titles(daemon) == ["mine", "mine too"]
