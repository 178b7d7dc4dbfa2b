"""The sixteen properties of a transport, on Debian's Redis and on the bundled Valkey, both with an append-only file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.transport_properties import HandlingProperties, TransportProperties
from tests.support.noting_medium import DaemonMedium
from tests.support.redis_servers import ServerHandle
from tests.support.stream_consumer import StreamMedium

# With the usual `everysec` a server that is killed may lose what it has acknowledged while an fsync was under way.
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class TestStreams(TransportProperties):
    """All sixteen on the Transport port, with competing consumers of one group."""

    @pytest.fixture
    def medium(self, start_broker: Callable[..., ServerHandle]) -> Iterator[StreamMedium]:
        """A fresh server."""
        medium = StreamMedium(start_broker(*DURABLE))
        yield medium
        medium.close()


class TestDaemon(HandlingProperties):
    """Those about handling, retry and order on the daemon's own consumer: relay, receiver, lanes and dispatcher."""

    @pytest.fixture
    def medium(self, start_broker: Callable[..., ServerHandle], tmp_path: Path) -> Iterator[DaemonMedium]:
        """A fresh server and a fresh database."""
        folder = tmp_path / "daemon"
        folder.mkdir()
        medium = DaemonMedium(start_broker(*DURABLE), folder)
        yield medium
        medium.close()
