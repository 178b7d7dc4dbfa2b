"""What the tests of the daemon's parts share: a Redis of their own, and a daemon on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.redis_servers import ServerHandle, start_redis


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerHandle]:
    """Debian's Redis on a unix socket."""
    handle = start_redis(tmp_path / "broker")
    yield handle
    handle.remove()


@pytest.fixture
def daemon(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon with the default policy."""
    return start_daemon("--redis", server.url)
