"""Fixtures with real servers: every test that asks for one runs on Redis and on the bundled Valkey."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metawsm.streams.transport import RedisTransport
from tests.support.redis_servers import ServerHandle, start_redis, start_valkey

STARTERS = {"redis": start_redis, "valkey": start_valkey}


@pytest.fixture(params=STARTERS)
def start_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., ServerHandle]]:
    """Start servers of one kind with given arguments; the test runs once per kind, all servers end with it."""
    started: list[ServerHandle] = []

    def start(*args: str) -> ServerHandle:
        started.append(STARTERS[request.param](tmp_path / f"broker{len(started)}", *args))
        return started[-1]

    yield start
    for handle in started:
        handle.remove()


@pytest.fixture
def broker(start_broker: Callable[..., ServerHandle]) -> ServerHandle:
    """One running server with default settings."""
    return start_broker()


@pytest.fixture
def connect(broker: ServerHandle) -> Iterator[Callable[..., RedisTransport]]:
    """Open transports on `broker`: connect(consumer="operator", **arguments). All are closed with the test."""
    opened: list[RedisTransport] = []

    def open_transport(consumer: str = "operator", **arguments: Any) -> RedisTransport:
        opened.append(RedisTransport(broker.url, consumer, **arguments))
        return opened[-1]

    yield open_transport
    for transport in opened:
        transport.close()
