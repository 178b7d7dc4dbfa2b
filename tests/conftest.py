"""Fixtures for all tests: the built artifact, real servers, free ports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import redis_tcp

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def pyz() -> Path:
    """The artifact, built when missing or older than the sources. Its unpacked form is shared by all tests of a run."""
    os.environ.setdefault("METAWSM_CACHE", str(ROOT / "build" / "cache"))
    built = subprocess.run([sys.executable, "build.py", "--if-changed"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return ROOT / "dist" / "metawsm.pyz"


@pytest.fixture
def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on right now."""
    return redis_tcp.free_port()


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., redis_tcp.RedisTcp]]:
    """Start real redis-servers on ports of their own: `redis_server("--maxmemory", "10mb").url`; the test ends them."""
    running: list[redis_tcp.RedisTcp] = []

    def start(*options: str) -> redis_tcp.RedisTcp:
        folder = tmp_path_factory.mktemp("redis")
        running.append(redis_tcp.start_redis_tcp(folder, redis_tcp.free_port(), *options))
        return running[-1]

    yield start
    for server in running:
        server.kill()
