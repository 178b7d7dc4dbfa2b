"""What others wait for while the read models are made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.asks import ASK
from benchmarks.figures import at
from benchmarks.reads import seed, settle
from benchmarks.servers import Daemon, Requests, daemon_command, folder, load

LIST: Requests = [("GET", "/api/v1/forum/threads?limit=20", {}, None)]


def measure(threads: int, seeds: Path) -> dict[str, Any]:
    """p95 in milliseconds of lists and of questions, before the rebuild and during it; its seconds and events.

    `answered` requests fell into it. Raises RuntimeError when one was refused.
    """
    database = seed(threads, seeds)
    with folder() as here:
        (here / ".metawsm").mkdir(mode=0o700)
        shutil.copy(database, here / ".metawsm" / "metawsm.db")
        with Daemon(here) as daemon:
            settle(daemon)
            quiet = _asked(daemon.port, 10)
            events = daemon.get("/api/v1/health")[1]["components"]["projections"]["applied_sequence"]
            begun = time.perf_counter()
            rebuild = _begin(daemon)
            busy = _until_it_ends(daemon, rebuild)
            told = {"threads": threads, "events": events, "seconds": time.perf_counter() - begun}
    answered = sum(map(len, busy.values()))
    return told | {"answered": answered, "before": _p95(quiet), "during": _p95(busy)}


def _begin(daemon: Daemon) -> subprocess.Popen[bytes]:
    command = [*daemon_command(), "forum", "rebuild", "--server", f"http://127.0.0.1:{daemon.port}"]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, cwd=daemon.cwd, env=os.environ | daemon.environment, stdout=quiet, stderr=quiet, stdin=quiet
    )


def _until_it_ends(daemon: Daemon, rebuild: subprocess.Popen[bytes]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"list": [], "ask": []}
    while rebuild.poll() is None:
        for name, times in _asked(daemon.port, 1).items():
            found[name] += times
    if rebuild.returncode:
        raise RuntimeError(f"the rebuild ended with {rebuild.returncode}")
    return found


def _asked(port: int, times: int) -> dict[str, list[float]]:
    seen = {"list": load(port, LIST, 1, count=20 * times), "ask": load(port, ASK, 1, count=10 * times)}
    if (statuses := [list(each["statuses"]) for each in seen.values()]) != [["200"], ["201"]]:
        raise RuntimeError(f"not every request was answered: {statuses}")
    return {name: each["latencies_ms"] for name, each in seen.items()}


def _p95(found: dict[str, list[float]]) -> dict[str, float]:
    return {name: at(sorted(times), 0.95) for name, times in found.items()}
