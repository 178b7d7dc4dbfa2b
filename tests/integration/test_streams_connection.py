"""Urls, their display, and the choice of the server."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from metawsm.bus.ports import Message, Publication
from metawsm.domain.errors import PolicyError, Unavailable
from metawsm.streams.choice import Choice, Kind, choose
from metawsm.streams.connection import endpoint, hide_password, with_database
from metawsm.streams.transport import RedisTransport
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle
from tests.support.services import missing

pytest_plugins = ("tests.support.redis_fixtures",)

Start = Callable[..., ServerHandle]


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:s3cret@h:1/2", "redis://:***@h:1/2"),
        ("rediss://user:p%40ss@h/2?ssl_cert_reqs=none", "rediss://user:***@h/2?ssl_cert_reqs=none"),
        ("redis://h/0?password=s3cret&db=1", "redis://h/0?password=***&db=1"),
        ("unix://u:s3cret@/run/x.sock?db=3", "unix://u:***@/run/x.sock?db=3"),
        (
            "redis+sentinel://:a@h:1,i:2/name?sentinel_password=b",
            "redis+sentinel://:***@h:1,i:2/name?sentinel_password=***",
        ),
        ("redis://:a@b@h:1/0", "redis://:***@h:1/0"),
        ("redis://:s3cret@[bad/0", "redis://***@[bad/0"),
    ],
)
def test_passwords_are_hidden(url: str, shown: str) -> None:
    """Whatever form a password has in the url, it does not show."""
    assert hide_password(url) == shown


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("redis://:p@h:1/0", "redis://:***@h:1/7"),
        ("redis://h", "redis://h/7"),
        ("redis://h/1?db=2", "redis://h/1?db=7"),
        ("unix:///run/x.sock", "unix:///run/x.sock?db=7"),
        ("redis+sentinel://h/name/1", "redis+sentinel://h/name/7"),
    ],
)
def test_another_database_number(url: str, other: str) -> None:
    """The advice for a shared server is a url of the same form."""
    assert with_database(url, 7) == other


@pytest.mark.parametrize(
    "url", ["http://h", "h:6379", "redis://h:port/0", "redis://h/abc", "redis+sentinel://h:1", "x"]
)
def test_bad_urls_are_policy_errors(url: str) -> None:
    """A url that cannot be used is told with its key, before anything connects."""
    with pytest.raises(PolicyError) as caught:
        endpoint(url)
    assert "forum.redis.url" in caught.value.fields


def test_tcp_password_and_database(start_broker: Start) -> None:
    """A url with password and database number works over TCP; a wrong password is unavailable, and not shown."""
    port = free_port()
    start_broker("--port", str(port), "--requirepass", "s3cret")
    good = RedisTransport(f"redis://:s3cret@127.0.0.1:{port}/5", "c")
    assert good.server_facts().version
    good.close()
    bad = RedisTransport(f"redis://:wr0ng@127.0.0.1:{port}/5", "c")
    with pytest.raises(Unavailable) as caught:
        bad.server_facts()
    assert "wr0ng" not in caught.value.message
    bad.close()


def test_an_explicit_url_is_used_and_nothing_else() -> None:
    """Configured means configured: nobody is asked, alive or not."""
    assert choose("redis://:p@h:1/0", "unused").kind is Kind.EXTERNAL
    assert choose("redis://:p@h:1/0", "unused").url == "redis://:p@h:1/0"
    assert ":p@" not in choose("redis://:p@h:1/0", "unused").reason
    assert choose("embedded://", "unused").kind is Kind.BUNDLED
    assert choose("", "unused") == Choice(Kind.NONE, "forum redis url is empty")


def test_a_server_at_the_default_address_is_used_only_without_eviction(start_broker: Start) -> None:
    """Unset: what answers at the default is taken with noeviction, and passed over otherwise."""
    broker = start_broker()
    found = choose(None, broker.url)
    assert (found.kind, found.url) == (Kind.EXTERNAL, broker.url)
    assert broker.kind in found.reason
    broker.client().config_set("maxmemory-policy", "allkeys-lru")
    other = choose(None, broker.url)
    assert other.kind is Kind.BUNDLED
    assert "allkeys-lru" in other.reason


def test_nobody_at_the_default_address_means_bundled() -> None:
    """Unset and no answer: the bundled server, with the reason."""
    choice = choose(None, f"redis://127.0.0.1:{free_port()}/0")
    assert choice.kind is Kind.BUNDLED
    assert "refused" in choice.reason


def test_a_server_that_wants_a_password_is_passed_over(start_broker: Start) -> None:
    """What cannot be used without configuration is not used."""
    broker = start_broker("--requirepass", "s3cret")
    choice = choose(None, broker.url)
    assert choice.kind is Kind.BUNDLED
    assert "Authentication" in choice.reason


def _server(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server is not installed")
    return subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL, cwd=folder)


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """A real primary with a replica, and a sentinel that watches them; gives the sentinel's and the primary's port."""
    primary, replica, watcher = free_port(), free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"port {watcher}\nbind 127.0.0.1\nsentinel monitor mine 127.0.0.1 {primary} 1\n")
    fresh = ["--save", "", "--repl-diskless-sync-delay", "0"]
    follows = ["--replicaof", "127.0.0.1", str(primary), "--dbfilename", "replica"]
    processes = [_server(tmp_path, *fresh, "--port", str(primary))]
    processes.append(_server(tmp_path, *fresh, "--port", str(replica), *follows))
    with redis.Redis(port=primary) as asked:
        eventually(lambda: asked.info("replication")["connected_slaves"] == 1, timeout=20)
    processes.append(_server(tmp_path, str(config), "--sentinel"))
    yield watcher, primary
    for process in processes:
        process.kill()
        process.wait()


def test_a_sentinel_url_finds_the_primary(sentinel: tuple[int, int]) -> None:
    """The sentinels are asked where the data is, also when one of them is not there, by every connection."""
    watcher, _ = sentinel
    url = f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{watcher}/mine/2"
    transport = RedisTransport(url, "c")
    assert eventually(transport.server_facts, timeout=10).version.startswith("redis")
    assert _published(transport)
    transport.close()


def test_after_a_failover_every_connection_goes_to_the_new_primary(sentinel: tuple[int, int]) -> None:
    """The old primary has become a replica and refuses writes: that connection is given up, the next one is right."""
    watcher, primary = sentinel
    transport = RedisTransport(f"redis+sentinel://127.0.0.1:{watcher}/mine", "c")
    eventually(lambda: _published(transport), timeout=10)
    with redis.Redis(port=watcher) as asked:
        eventually(lambda: asked.execute_command("SENTINEL", "FAILOVER", "mine"), timeout=20)
    with redis.Redis(port=primary) as old:
        eventually(lambda: old.info("replication")["role"] == "slave", timeout=30)
    assert eventually(lambda: _published(transport), timeout=30)
    transport.close()


def _published(transport: RedisTransport) -> bool:
    told = transport.exchange([Publication("t", Message("u", {}, b"{}"))], [], [])
    return list(told.faults) == [None]


def test_a_connection_to_what_has_become_a_replica_is_given_up(start_broker: Start) -> None:
    """It refuses every write from now on: the next attempt asks anew where the primary is."""
    broker = start_broker()
    transport = RedisTransport(broker.url, "c")
    assert _published(transport)
    assert _connections(broker)
    broker.client().replicaof("127.0.0.1", str(free_port()))
    with pytest.raises(Unavailable, match="READONLY"):
        _published(transport)
    eventually(lambda: not _connections(broker))
    transport.close()


def _connections(broker: ServerHandle) -> list[str]:
    return [str(each["addr"]) for each in broker.client().client_list() if each["name"] == "metawsm"]
