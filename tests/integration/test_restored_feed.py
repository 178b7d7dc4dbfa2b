"""A database restored after its replaced one was lost: only Redis knows which sequences were given since the backup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.redis_servers import ServerHandle
from tests.support.rest import Rest
from tests.support.shell import shell

TOPIC = "forum.events.priority.changed"


@pytest.fixture
def head(daemon: Daemon) -> int:
    """The head of what is lost: the daemon is stopped, and its database is the backup of an earlier moment."""
    rest = Rest(daemon)
    rest.open()
    made = rest.send("POST", "/backups", {}).body["backup"]
    lost = [rest.open()["last_event_sequence"] for _ in range(5)][-1]
    daemon.stop()
    daemon.database.unlink()
    done = shell(["backup", "restore", Path(made["file"]).name, "--json"], cwd=daemon.folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["restored"]["head_sequence"] == made["head_sequence"] < lost
    return int(lost)


def given_by(daemon: Daemon) -> int:
    """The sequence that the next event gets."""
    return int(Rest(daemon).open()["last_event_sequence"])


def test_a_topic_that_cannot_be_read_does_not_keep_it_from_working(
    daemon: Daemon, server: ServerHandle, head: int
) -> None:
    """The feed and the other topics tell; the sick one is named in the log."""
    with server.client() as client:
        client.delete(TOPIC)
        client.set(TOPIC, "a text of another program")
    daemon.start()
    assert given_by(daemon) == head + 1
    assert f"cannot see where {TOPIC} ends: redis at" in daemon.log.read_text()


def test_an_entry_of_another_program_hides_nothing(daemon: Daemon, server: ServerHandle, head: int) -> None:
    """Its id has milliseconds since 1970 in it; the feed's own end still counts."""
    with server.client() as client:
        client.xadd(TOPIC, {"of": "another program"})
    daemon.start()
    assert given_by(daemon) == head + 1


def test_the_topics_tell_where_the_feed_cannot(daemon: Daemon, server: ServerHandle, head: int) -> None:
    """With an entry of another program at the end of the feed itself."""
    with server.client() as client:
        client.xadd("metawsm-forum", {"of": "another program"})
    daemon.start()
    assert given_by(daemon) == head + 1


def test_an_empty_redis_is_not_taken_for_the_right_one(daemon: Daemon, server: ServerHandle, head: int) -> None:
    """Used while the other was away, and filled by us; when that one is back, its feed is asked."""
    daemon.use("--redis", f"{server.url}?db=1")
    daemon.start()
    assert given_by(daemon) < head
    daemon.stop()
    daemon.use("--redis", server.url)
    daemon.start()
    assert given_by(daemon) == head + 1
