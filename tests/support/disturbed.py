"""Fixtures of the tests about messages: a daemon with a fault built in, and another program on the same Redis."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.redis_servers import ServerHandle


@pytest.fixture
def start_faulty(broker: ServerHandle, start_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """A daemon with the command `break_thread`, and a fault of `faulty_daemon` if one is named."""

    def start(fault: str = "none", count: int = 1) -> Daemon:
        command = [sys.executable, "-m", "tests.support.faulty_daemon", fault, str(count)]
        return start_daemon("--redis", broker.url, command=command)

    return start


@pytest.fixture
def client(broker: ServerHandle) -> Iterator[Any]:
    """A connection of another program to the daemon's Redis."""
    with broker.client() as connection:
        yield connection
