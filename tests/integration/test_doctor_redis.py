"""`doctor` against real servers that are wrong, away or slow, and what a daemon on them leaves waiting."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.doctor import ask
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle, start_redis
from tests.support.redis_tcp import RedisTcp

THREAD = {"ticket": "T-1", "title": "t", "body": "b", "actor_type": "agent"}


def test_rows_that_are_stuck(start_daemon: Callable[..., Daemon], redis_server: Callable[..., RedisTcp]) -> None:
    """While a daemon runs, a row that waits for more than a minute is told; Redis that is away is a failure."""
    redis = redis_server()
    daemon = start_daemon("--redis", redis.url)
    redis.kill()
    eventually(lambda: daemon.request("GET", "/health").status == 503, timeout=15)
    assert daemon.request("POST", "/forum/threads?wait=0", THREAD).status == 202
    with closing(sqlite3.connect(daemon.database, isolation_level=None)) as db:
        db.execute("PRAGMA busy_timeout = 5000")
        db.execute("UPDATE forum_outbox SET created_at = '2026-01-01T00:00:00.000000Z'")
    told = ask(daemon.folder)
    assert {name: told.status(name) for name in ("database.outbox", "redis.ping", "daemon.health")} == {
        "database.outbox": "WARN",
        "redis.ping": "FAIL",
        "daemon.health": "FAIL",
    }


def test_a_redis_that_is_away(tmp_path: Path, free_port: int) -> None:
    """The hint names where the url comes from, and the way back to the bundled server where leaving it out is one."""
    url = f"redis://127.0.0.1:{free_port}/0"
    named = "start it, or correct url, port and database number in "
    instead = ", or unset it to use the bundled server"
    policy = tmp_path / "policy.json"
    policy.write_text(json.dumps({"version": 2, "forum": {"redis": {"url": url}}}))
    hints = [
        ask(tmp_path, METAWSM_FORUM_REDIS_URL=url).checks["redis.ping"]["hint"],
        ask(tmp_path, "--policy", "policy.json").checks["redis.ping"]["hint"],
        ask(tmp_path, "--redis", url).checks["redis.ping"]["hint"],
    ]
    sources = (f"METAWSM_FORUM_REDIS_URL{instead}", f"forum.redis.url{instead}", "--redis")
    assert hints == [f"{named}{source}; nothing is lost meanwhile" for source in sources]


def test_a_redis_that_throws_away(tmp_path: Path, start_broker_with: Callable[..., ServerHandle]) -> None:
    """An eviction policy that loses streams is a failure, a server without a disk a warning."""
    server = start_broker_with("--maxmemory-policy", "allkeys-lru")
    told = ask(tmp_path, "--redis", server.url)
    assert told.status("redis.eviction") == "FAIL"
    assert told.status("redis.persistence") == "WARN"
    durable = start_broker_with("--appendonly", "yes")
    assert ask(tmp_path, "--redis", durable.url).status("redis.persistence") == "OK"


@pytest.fixture
def start_broker_with(tmp_path: Path) -> Iterator[Callable[..., ServerHandle]]:
    """Start Debian's Redis with settings; all end with the test."""
    started: list[ServerHandle] = []

    def start(*settings: str) -> ServerHandle:
        started.append(start_redis(tmp_path / f"server{len(started)}", *settings))
        return started[-1]

    yield start
    for handle in started:
        handle.remove()


def test_a_redis_of_another_database(daemon: Daemon, server: ServerHandle, tmp_path: Path) -> None:
    """The namespace's holder is named, served or not; nothing is taken from it."""
    told = ask(tmp_path, "--redis", server.url)
    assert told.status("redis.owner") == "FAIL"
    assert str(daemon.database) in told.checks["redis.owner"]["detail"]
    assert daemon.request("GET", "/health").body["status"] == "ok"
    assert daemon.stop() == 0
    told = ask(tmp_path, "--redis", server.url)
    assert told.status("redis.owner") == "FAIL"
    assert str(daemon.database) in told.checks["redis.owner"]["detail"]
    assert ask(daemon.folder, "--redis", server.url).status("redis.owner") == "OK"


def test_groups_of_others_and_keys_that_are_no_streams(daemon: Daemon, server: ServerHandle) -> None:
    """A reader that stands still is named with its topic, and so is a name that another program uses."""
    assert daemon.request("POST", "/forum/threads", THREAD).status == 201
    assert daemon.stop() == 0
    with server.client() as client:
        client.xgroup_create("metawsm-forum", "billing", id="0")
        client.delete("forum.commands.close_thread")
        client.set("forum.commands.close_thread", "mine")
    told = ask(daemon.folder, "--redis", server.url)
    assert told.status("redis.foreign-groups") == "WARN"
    assert "billing on metawsm-forum: 1 unread" in told.checks["redis.foreign-groups"]["detail"]
    assert told.status("redis.streams") == "FAIL"
    assert "forum.commands.close_thread" in told.checks["redis.streams"]["detail"]


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    """Something else listens where the daemon is to listen."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        told = ask(tmp_path, "--redis", "embedded://", "--addr", f"127.0.0.1:{other.getsockname()[1]}")
    assert told.status("daemon.port") == "FAIL"


def test_a_daemon_and_a_redis_that_stand_still(daemon: Daemon, server: ServerHandle) -> None:
    """Nothing that does not answer holds it up beyond its time."""
    daemon.process.send_signal(signal.SIGSTOP)
    server.process.send_signal(signal.SIGSTOP)
    try:
        told = ask(daemon.folder, "--redis", server.url)
    finally:
        server.process.send_signal(signal.SIGCONT)
        daemon.process.send_signal(signal.SIGCONT)
    names = ("files.lock", "redis.ping", "daemon.health")
    assert {name: told.status(name) for name in names} == dict.fromkeys(names, "FAIL")
    assert "is stopped" in told.checks["files.lock"]["detail"]
