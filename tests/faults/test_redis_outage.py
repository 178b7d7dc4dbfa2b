"""Redis is not there, comes late, stands still, or breaks in mid-reply; what was asked meanwhile is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.fault_proxy import FaultProxy
from tests.support.ledger import Ledger, check_streams
from tests.support.metering import cpu_share
from tests.support.redis_servers import ServerHandle

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
RECOVERY_SECONDS = 2.0
IDLE_SHARE = 0.05  # of one processor, at rest while Redis is away


def check_whole(ledger: Ledger, broker: ServerHandle) -> None:
    """The ledger comes out right, and the streams hold what the log holds."""
    ledger.check()
    with broker.client() as client:
        check_streams(ledger.daemon, client)


def health(daemon: Daemon) -> dict[str, Any]:
    """The body of health, whatever its status."""
    body: dict[str, Any] = daemon.request("GET", "/health").body
    return body


def undone(daemon: Daemon) -> int:
    """How many rows wait."""
    outbox = health(daemon)["outbox"]
    return int(outbox["pending_count"]) + int(outbox["processing_count"])


def is_named(daemon: Daemon) -> bool:
    """Whether health says that Redis is the part that is away, and no other."""
    reply = daemon.request("GET", "/health")
    bad = [name for name, part in reply.body["components"].items() if part.get("status") == "degraded"]
    return (reply.status, bad, reply.body["forum_bus"]["healthy"]) == (503, ["redis"], False)


def handled(daemon: Daemon) -> int:
    """How many commands this process has done."""
    return int(health(daemon)["components"]["commands"]["handled"])


def recovery(daemon: Daemon) -> float:
    """Seconds until the bus is healthy and waiting commands are being done again."""
    began, before = time.monotonic(), handled(daemon)
    eventually(lambda: health(daemon)["forum_bus"]["healthy"], timeout=20)
    eventually(lambda: handled(daemon) > before, timeout=20)
    return time.monotonic() - began


def check_daemon_is_up(daemon: Daemon) -> None:
    """It reads, and it accepts: 202 with a place to look."""
    assert daemon.request("GET", "/livez").status == 200
    assert daemon.request("GET", "/forum/threads").status == 200
    began = time.monotonic()
    reply = daemon.request("POST", "/forum/threads?wait=0.2", ASK)
    assert time.monotonic() - began < 2
    assert (reply.status, reply.body["command"]["status"]) == (202, "queued")
    assert reply.headers["location"].endswith(reply.body["command"]["id"])


def test_not_there_at_the_start(broker: ServerHandle, start_artifact: Callable[..., Daemon]) -> None:
    """The daemon comes up, says what is missing and accepts; within two seconds of Redis's coming all is done."""
    broker.stop()
    daemon = start_artifact("--redis", broker.url, needs_redis=False)
    eventually(lambda: is_named(daemon))
    assert health(daemon)["forum_bus"]["error"].startswith("forum redis ping failed: ")
    crowd = Crowd(daemon, 300)
    with crowd.sending():
        check_daemon_is_up(daemon)
    broker.start()
    began = time.monotonic()
    eventually(lambda: undone(daemon) == 0)
    assert time.monotonic() - began < RECOVERY_SECONDS
    crowd.check()
    with broker.client() as client:
        check_streams(daemon, client)


@pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.faults)])
def test_away_under_load(
    seconds: float, start_broker: Callable[..., ServerHandle], start_artifact: Callable[..., Daemon]
) -> None:
    """Redis is ended under load and comes back with its data: 202 meanwhile, work goes on within two seconds."""
    broker = start_broker("--appendonly", "yes")
    daemon = start_artifact("--redis", broker.url)
    ledger = Ledger(daemon, clients=2, patience=120)
    with ledger.load():
        ledger.await_applied()
        broker.stop()
        eventually(lambda: is_named(daemon))
        check_daemon_is_up(daemon)
        time.sleep(seconds)
        left = undone(daemon)
        broker.start()
        took = recovery(daemon)
        ledger.await_applied()
    assert took < RECOVERY_SECONDS
    assert {entry.first_status for entry in ledger.entries[1:]} <= {200, 201, 202, 409}
    check_whole(ledger, broker)
    print(f"{left} rows waited, work went on after {took:.2f} s")


def test_restarted_under_load(start_broker: Callable[..., ServerHandle], start_artifact: Callable[..., Daemon]) -> None:
    """Redis is killed and started again on its data, three times under load."""
    broker = start_broker("--appendonly", "yes")
    daemon = start_artifact("--redis", broker.url)
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        for _ in range(3):
            ledger.await_applied()
            broker.kill()
            broker.start()
            assert recovery(daemon) < RECOVERY_SECONDS
    check_whole(ledger, broker)


@contextmanager
def stopped(broker: ServerHandle) -> Iterator[None]:
    """Inside the block nobody listens."""
    broker.stop()
    yield
    broker.start()


@contextmanager
def paused(broker: ServerHandle) -> Iterator[None]:
    """Inside the block connections stay open and nothing answers."""
    broker.pause()
    try:
        yield
    finally:
        broker.resume()


OUTAGES = [
    (stopped, 3.0),
    pytest.param((stopped, 30.0), marks=pytest.mark.faults),
    pytest.param((paused, 30.0), marks=pytest.mark.faults),
]


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda outage: f"{outage[0].__name__}-{outage[1]:g}")
def test_an_outage_costs_next_to_nothing(outage: Any, daemon: Daemon, broker: ServerHandle) -> None:
    """With a thousand rows waiting and Redis away, the daemon at rest uses less than a twentieth of a processor."""
    kind, seconds = outage
    with kind(broker):
        crowd = Crowd(daemon, 1000)
        with crowd.sending():
            pass
        eventually(lambda: is_named(daemon), timeout=10)
        share = cpu_share(daemon.process.pid, seconds)
        assert share < IDLE_SHARE
    crowd.check()
    print(f"{share:.1%} of a processor during {seconds:g} s")


@pytest.mark.parametrize("seconds", [2.0, pytest.param(20.0, marks=pytest.mark.faults)])
def test_standing_still_under_load(seconds: float, daemon: Daemon, broker: ServerHandle) -> None:
    """Redis is stopped in time (SIGSTOP) under load: the daemon answers, names it when sure, and loses nothing."""
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        ledger.await_applied()
        with paused(broker):
            check_daemon_is_up(daemon)
            time.sleep(seconds)
            if seconds > 10:
                assert is_named(daemon)
        assert recovery(daemon) < RECOVERY_SECONDS
    check_whole(ledger, broker)


MODES = [
    ("cut", 2.0),
    pytest.param(("half", 12.0), marks=pytest.mark.faults),
    pytest.param(("delay", 4.0), marks=pytest.mark.faults),
    pytest.param(("black hole", 12.0), marks=pytest.mark.faults),
]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode[0])
def test_a_connection_that_breaks(
    mode: tuple[str, float], broker: ServerHandle, start_artifact: Callable[..., Daemon]
) -> None:
    """Replies are cut in their middle with a reset, halved for ever, late, or swallowed, under load: the ledger."""
    name, seconds = mode
    with FaultProxy(broker.socket).running() as proxy:
        daemon = start_artifact("--redis", proxy.url)
        ledger = Ledger(daemon, clients=3)
        with ledger.load():
            ledger.await_applied()
            proxy.mode = name
            time.sleep(seconds)
            proxy.mode = "pass"
            assert recovery(daemon) < RECOVERY_SECONDS + 5.0 * (name in ("half", "black hole"))
        assert (proxy.broken > 0) == (name in ("cut", "half"))
        if name == "delay":  # late is not away
            assert {entry.first_status for entry in ledger.entries[1:]} <= {200, 201, 409}
        check_whole(ledger, broker)
        assert daemon.stop() == 0
