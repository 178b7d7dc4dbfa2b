"""What the fault tests share: the built artifact as the daemon, and both real servers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.redis_servers import ServerHandle, start_redis, start_valkey

STARTERS = {"redis": start_redis, "valkey": start_valkey}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder belongs to the room, the quick ones too: `scripts/test --faults` runs them all."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.fault_room)


@pytest.fixture(params=["redis", pytest.param("valkey", marks=pytest.mark.faults)])
def start_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., ServerHandle]]:
    """Start servers of one kind with given arguments: Debian's Redis always, the bundled Valkey in the long run."""
    started: list[ServerHandle] = []

    def start(*args: str) -> ServerHandle:
        started.append(STARTERS[request.param](tmp_path / f"broker{len(started)}", *args))
        return started[-1]

    yield start
    for handle in started:
        handle.remove()


@pytest.fixture
def broker(start_broker: Callable[..., ServerHandle]) -> ServerHandle:
    """One running server that keeps nothing on disk."""
    return start_broker()


@pytest.fixture
def artifact(pyz: Path) -> list[str]:
    """The command that runs the built file."""
    return [sys.executable, str(pyz)]


@pytest.fixture
def start_artifact(artifact: list[str], start_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """As `start_daemon`, with the built file."""
    return partial(start_daemon, command=artifact)


@pytest.fixture
def daemon(broker: ServerHandle, start_artifact: Callable[..., Daemon]) -> Daemon:
    """A daemon of the built file on the server."""
    return start_artifact("--redis", broker.url)
