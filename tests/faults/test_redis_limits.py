"""Redis that refuses, that belongs to somebody else, or that others do not read from."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import Ledger, check_streams
from tests.support.redis_servers import ServerHandle
from tests.support.redis_tcp import free_port
from tests.support.shell import environment

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
FOREIGN = "forum.events.post.added"


@contextmanager
def out_of_memory(broker: ServerHandle) -> Iterator[str]:
    """Inside the block Redis refuses to store anything."""
    with broker.client() as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        yield "OOM"
        client.config_set("maxmemory", "0")


@contextmanager
def replica(broker: ServerHandle) -> Iterator[str]:
    """Inside the block Redis is the read-only replica of a server that cannot be reached."""
    with broker.client() as client:
        client.replicaof("127.0.0.1", free_port())
        yield "READONLY"
        client.replicaof("NO", "ONE")


def why(daemon: Daemon) -> str:
    """All that health says about Redis."""
    reply = daemon.request("GET", "/health")
    return str(reply.body["components"]["redis"]) if reply.status == 503 else ""


@pytest.mark.parametrize("refusing", [out_of_memory, replica], ids=lambda fault: fault.__name__)
def test_redis_that_refuses_writes(
    refusing: Callable[[ServerHandle], Any], daemon: Daemon, broker: ServerHandle
) -> None:
    """Under load Redis refuses: rows stay in the outbox, health names Redis's reason, and afterwards all is done."""
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        ledger.await_applied()
        with refusing(broker) as reason:
            eventually(lambda: reason in why(daemon))
            waiting = daemon.request("POST", "/forum/threads?wait=0.2", ASK)
            assert waiting.status == 202
            where = f"/forum/commands/{waiting.body['command']['id']}"
            assert daemon.request("GET", where).body["command"]["status"] == "queued"
            time.sleep(1.0)
        eventually(lambda: daemon.request("GET", "/health").status == 200, timeout=10)
        eventually(lambda: daemon.request("GET", where).body["command"]["status"] == "applied", timeout=10)
    ledger.check()
    with broker.client() as client:
        check_streams(daemon, client)


@pytest.mark.parametrize("posts", [1_500, pytest.param(16_000, marks=pytest.mark.faults)])
def test_an_event_topic_that_is_refused_costs_little(posts: int, daemon: Daemon, broker: ServerHandle) -> None:
    """However many of its events wait: work goes on at full speed, at rest there is rest, then none is missing."""
    with broker.client() as client:
        client.set(FOREIGN, "x")
        crowd = Crowd(daemon, posts)
        began = time.monotonic()
        with crowd.sending():
            pass
        eventually(lambda: outbox(daemon) == (posts, 0), timeout=20 + posts / 200)
        assert time.monotonic() - began < 20 + posts / 200
        before = commands_processed(client)
        time.sleep(5)
        assert commands_processed(client) - before < 5 * 500 + 3 * posts  # what waits is looked through once at most
        assert "WRONGTYPE" in why(daemon)
        client.delete(FOREIGN)
        eventually(lambda: daemon.request("GET", "/health").status == 200, timeout=10)
        crowd.check()
        check_streams(daemon, client)


def outbox(daemon: Daemon) -> tuple[int, int]:
    """How many rows wait for Redis, and how many in it."""
    counts = daemon.request("GET", "/health").body["outbox"]
    return counts["pending_count"], counts["processing_count"]


def commands_processed(client: Any) -> int:
    """How many commands the server has executed so far."""
    return int(client.info("stats")["total_commands_processed"])


def test_another_databases_daemon_is_refused(
    daemon: Daemon, broker: ServerHandle, artifact: list[str], tmp_path: Path
) -> None:
    """The second names both databases and the one change to make; the first goes on."""
    command = [*artifact, "serve", "--addr", "127.0.0.1:0", "--redis", broker.url]
    other = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=20)
    assert other.returncode == 1
    for told in (str(daemon.database), str(tmp_path / ".metawsm" / "metawsm.db"), "database number"):
        assert told in other.stderr
    assert "serving" not in other.stderr
    assert "Traceback" not in other.stderr
    assert daemon.request("POST", "/forum/threads", ASK).status == 201


@pytest.mark.faults
def test_a_foreign_group_that_stalls_for_ever(broker: ServerHandle, start_artifact: Callable[..., Daemon]) -> None:
    """A group that nobody reads for is named in health and trimmed over after the window; writes go on meanwhile."""
    daemon = start_artifact("--redis", broker.url, policy={"version": 2, "forum": {"redis": {"max_entries": 1000}}})
    with broker.client() as client:
        client.xgroup_create(FOREIGN, "reports", "0")
        client.xreadgroup("reports", "me", {FOREIGN: ">"}, count=1)
        crowd = Crowd(daemon, 3000)
        with crowd.sending():
            pass
        crowd.check()
        eventually(lambda: foreign_groups(daemon) == {(FOREIGN, "reports")}, timeout=12)
        assert client.xlen(FOREIGN) == 3000
        eventually(lambda: client.xlen(FOREIGN) == 1000, timeout=70, interval=0.5)
        # What is left is no more than a group may be behind; but nobody reads for it, which is told after a minute.
        eventually(lambda: foreign_groups(daemon) == {(FOREIGN, "reports")}, timeout=75)
        assert daemon.request("GET", "/health").status == 200
        assert daemon.request("POST", "/forum/threads", ASK).status == 201
        assert client.xlen("metawsm-forum") <= 1001
        client.xgroup_destroy(FOREIGN, "reports")
        eventually(lambda: foreign_groups(daemon) == set(), timeout=12)


SICK, BEHIND_IT = "forum.events.post.delivered", "forum.events.run.created"


@pytest.fixture
def beside_a_sick_key(broker: ServerHandle, start_artifact: Callable[..., Daemon]) -> Daemon:
    """A daemon that keeps 1,000 entries; one topic is no stream, the one after it has 1,500 that nobody reads."""
    daemon = start_artifact("--redis", broker.url, policy={"version": 2, "forum": {"redis": {"max_entries": 1000}}})
    with broker.client() as client:
        client.delete(SICK)
        client.set(SICK, "x")
        client.xgroup_create(BEHIND_IT, "reports", "0")
        for number in range(1500):
            client.xadd(BEHIND_IT, {"number": number})
    return daemon


def test_groups_behind_a_sick_key_are_looked_at(beside_a_sick_key: Daemon) -> None:
    """Health names the group that stands still on the next topic; the log names the sick key, once."""
    eventually(lambda: foreign_groups(beside_a_sick_key) == {(BEHIND_IT, "reports")}, timeout=12)
    time.sleep(6)
    assert beside_a_sick_key.log.read_text().count(f"stream {SICK} is left out") == 1


@pytest.mark.faults
def test_streams_behind_a_sick_key_are_trimmed(beside_a_sick_key: Daemon, broker: ServerHandle) -> None:
    """The key is passed over, the next topic is cut."""
    with broker.client() as client:
        eventually(lambda: client.xlen(BEHIND_IT) == 1000, timeout=70, interval=0.5)


def foreign_groups(daemon: Daemon) -> set[tuple[str, str]]:
    """Topic and group of those that health names as far behind."""
    redis = daemon.request("GET", "/health").body["components"]["redis"]
    return {(each["topic"], each["group"]) for each in redis.get("foreign_groups", ())}
