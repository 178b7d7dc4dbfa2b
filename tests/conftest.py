"""Fixtures for all tests: the built artifact, real servers, free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import redis_tcp
from tests.support.daemon import Daemon

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure() -> None:
    """In a shell's background the tests, and so what they start, would be deaf to an interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def pyz() -> Path:
    """The artifact, built when missing or older than the sources. Its unpacked form is shared by all tests of a run."""
    os.environ.setdefault("METAWSM_CACHE", str(ROOT / "build" / "cache"))
    built = subprocess.run([sys.executable, "build.py", "--if-changed"], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return ROOT / "dist" / "metawsm.pyz"


@pytest.fixture
def start_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Daemon]]:
    """Start real daemons, each in a folder of its own: `start_daemon("--redis", url).request(...)`; the test ends them.

    Redis is the bundled server unless the options name another. `policy` is written to the policy file, `command` (such
    as the artifact's) replaces the source tree, `env` adds variables. Waits until all is
    ready, with Redis if `needs_redis`.
    """
    running: list[Daemon] = []

    def start(
        *options: str, policy: Any = None, command: Sequence[str] | None = None, needs_redis: bool = True, **env: str
    ) -> Daemon:
        folder = tmp_path_factory.mktemp("daemon")
        if policy is not None:
            (folder / ".metawsm").mkdir()
            (folder / ".metawsm" / "policy.json").write_text(json.dumps(policy))
        redis = () if "--redis" in options else ("--redis", "embedded://")
        running.append(Daemon(command, folder, *options, *redis, env=env, needs_redis=needs_redis))
        return running[-1]

    yield start
    for daemon in running:
        daemon.end()


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
