"""The daemon is killed, everywhere and at named points; the ledger must come out right (design, invariants 1 to 6)."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.faulty_daemon import POINTS
from tests.support.ledger import Ledger, check_streams
from tests.support.redis_servers import ServerHandle, start_redis, start_valkey

STARTERS = {"redis": start_redis, "valkey": start_valkey}


@pytest.fixture(params=STARTERS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServerHandle]:
    """A real server of each kind."""
    handle = STARTERS[request.param](tmp_path / "broker")
    yield handle
    handle.remove()


@pytest.fixture
def redis_only(tmp_path: Path) -> Iterator[ServerHandle]:
    """Debian's Redis."""
    handle = start_redis(tmp_path / "broker")
    yield handle
    handle.remove()


def faulty(fault: str, count: int = 1) -> list[str]:
    """The command of a daemon with a fault."""
    return [sys.executable, "-m", "tests.support.faulty_daemon", fault, str(count)]


def kill_at_random(daemon: Daemon, times: int, dice: random.Random) -> None:
    """SIGKILL under load and start again, several times."""
    for _ in range(times):
        time.sleep(dice.uniform(0.2, 0.8))
        daemon.kill()
        daemon.start()
    time.sleep(0.3)


def test_kill_nine_at_random_under_load(broker: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Killed six times at random under load, every accepted command is applied once, in order, and nothing else."""
    daemon = start_daemon("--redis", broker.url)
    ledger = Ledger(daemon)
    with ledger.load():
        kill_at_random(daemon, 6, random.Random(7))
    ledger.check()
    with broker.client() as client:
        check_streams(daemon, client)


# Those that the fault table names run always, their neighbours with the long faults.
ALWAYS = ("accepted", "published", "handling", "handled", "projecting")


@pytest.mark.parametrize("point", [pytest.param(p, marks=() if p in ALWAYS else pytest.mark.faults) for p in POINTS])
def test_killed_at_a_named_point(point: str, redis_only: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Wherever in a command's way the process dies, the next one ends that way, once."""
    daemon = start_daemon("--redis", redis_only.url, command=faulty(point, 40))
    ledger = Ledger(daemon, clients=4)
    with ledger.load():
        eventually(lambda: daemon.process.poll() is not None, timeout=20)
        daemon.command = [sys.executable, "-m", "metawsm"]
        daemon.start()
        time.sleep(0.2)
    ledger.check()
    with redis_only.client() as client:
        check_streams(daemon, client)
