"""Whose streams a namespace holds: claimed by one database until the operator says otherwise."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metawsm.streams.lease import CLAIM, KEY
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_streams
from tests.support.redis_servers import ServerHandle
from tests.support.shell import COMMAND, environment

FEED = "metawsm-forum"
TOPIC, OTHER_TOPIC = "forum.events.thread.opened", "forum.events.post.added"
ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}


def ask(daemon: Daemon, times: int) -> None:
    """So many events."""
    for _ in range(times):
        assert daemon.request("POST", "/forum/threads", ASK).status == 201


def refused(folder: Path, redis: str, *options: str) -> str:
    """What `serve` in that folder ends with."""
    command = [*COMMAND, "serve", "--addr", "127.0.0.1:0", "--redis", redis, *options]
    ended = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=20)
    assert ended.returncode == 1, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def is_like_the_log(daemon: Daemon, client: Any) -> None:
    """The streams hold the log, and what is in the feed is of this database."""
    check_streams(daemon, client)
    assert {fields[b"metadata"].count(b"origin") for _, fields in client.xrange(FEED)} == {1}
    assert len({fields[b"metadata"].partition(b"origin")[2][:36] for _, fields in client.xrange(FEED)}) == 1


def test_a_stopped_databases_streams_are_not_another_ones(daemon: Daemon, server: ServerHandle, tmp_path: Path) -> None:
    """Another database is refused while nobody serves, too: it is told whose the streams are, and the ways out."""
    ask(daemon, 5)
    assert daemon.stop() == 0
    with server.client() as client:
        assert not client.exists(KEY)
        before = client.xrange(FEED)
        told = refused(tmp_path, server.url)
        assert client.xrange(FEED) == before
    for part in (
        f"{CLAIM} at {server.url} belongs to database db-", str(daemon.database), str(tmp_path / ".metawsm/metawsm.db"),
        f"set forum.redis.url to {server.url}?db=1", f"redis-cli -n 0 DEL {CLAIM}",
    ):  # fmt: skip
        assert part in told
    daemon.start()
    ask(daemon, 1)
    with server.client() as client:
        is_like_the_log(daemon, client)


def test_streams_that_change_hands_hold_only_the_new_ones_events(
    daemon: Daemon, server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """The operator frees the namespace for another database, and gives it back: each time it is filled anew.

    A group of another program gets everything of the new one.
    """
    ask(daemon, 5)
    assert daemon.stop() == 0
    with server.client() as client:
        client.xgroup_create(TOPIC, "reports", "$")
        client.delete(CLAIM, OTHER_TOPIC)
        client.set(OTHER_TOPIC, "of another program")
        other = start_daemon("--redis", server.url)
        ask(other, 5)
        is_like_the_log(other, client)
        assert f"the feed {FEED} holds events of database db-" in other.log.read_text()
        assert other.stop() == 0
        client.delete(CLAIM)
        daemon.start()
        is_like_the_log(daemon, client)
        ((_, entries),) = client.xreadgroup("reports", "me", {TOPIC: ">"}, noack=True)
        assert len(entries) == 5
        ask(daemon, 1)
        is_like_the_log(daemon, client)


def test_a_database_made_anew_in_its_place_takes_over(daemon: Daemon, server: ServerHandle) -> None:
    """Where the file of the earlier one lay there is another one now: nobody else can miss the streams."""
    ask(daemon, 3)
    assert daemon.stop() == 0
    for file in daemon.database.parent.glob("metawsm.db*"):
        file.unlink()
    daemon.start()
    with server.client() as client:
        assert client.xlen(FEED) == client.xlen(TOPIC) == 0
        ask(daemon, 1)
        is_like_the_log(daemon, client)


def test_two_databases_in_one_folder_do_not_share_its_bundled_server(start_daemon: Callable[..., Daemon]) -> None:
    """The one that comes while the first is stopped is told what to do, and the first one goes on."""
    daemon = start_daemon("--redis", "embedded://")
    ask(daemon, 2)
    assert daemon.stop() == 0
    told = refused(daemon.folder, "embedded://", "--db", ".metawsm/other.db")
    assert f"{daemon.database} on " in told
    assert "keep each database in a folder of its own; if nobody needs the other one's streams any more, delete" in told
    daemon.start()
    ask(daemon, 1)
    assert "filled anew" not in daemon.log.read_text()


@pytest.mark.parametrize("key", [KEY, CLAIM])
def test_a_key_that_is_no_text_is_told(daemon: Daemon, server: ServerHandle, key: str) -> None:
    """A program has put something else in its place: health and log say so, and it goes on when that is gone."""
    with server.client() as client:
        client.delete(key)
        client.lpush(key, "x")
        eventually(lambda: daemon.request("GET", "/health").status == 503, timeout=8)
        error = daemon.request("GET", "/health").body["components"]["redis"]["error"]
        assert f"{key} at {server.url} belongs to something unknown (a list)" in error
        assert f"redis-cli -n 0 DEL {key}" in error
        assert error in daemon.log.read_text()
        client.delete(key)
        eventually(lambda: daemon.request("GET", "/health").status == 200)


def test_a_lease_that_cannot_be_renewed_is_told(daemon: Daemon, server: ServerHandle) -> None:
    """Scripts are forbidden to us: when the lease has run out, health and log say that, and nothing is published."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "default", "-eval")
        eventually(lambda: daemon.request("GET", "/health").status == 503, timeout=22)
        eventually(lambda: "NOPERM" in daemon.request("GET", "/health").body["components"]["redis"]["error"])
        assert f"the lease on redis at {server.url} has run out" in daemon.log.read_text()
        client.execute_command("ACL", "SETUSER", "default", "+eval")
        eventually(lambda: daemon.request("GET", "/health").status == 200)
