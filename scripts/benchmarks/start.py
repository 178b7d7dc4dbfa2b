"""From nothing to ready, what a resting daemon holds, and one list from the shell."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

from benchmarks.asks import ASK
from benchmarks.figures import at, median
from benchmarks.servers import Daemon, daemon_command, folder, load


def measure(rounds: int) -> dict[str, Any]:
    """Seconds to ready (first, then warm), memory in MB, milliseconds of `forum list` with 20 threads."""
    with folder() as here:
        starts, resting = [], []
        for _ in range(rounds + 1):
            with Daemon(here) as daemon:
                starts.append(daemon.seconds_to_ready)
                time.sleep(1.0)
                resting.append(daemon.memory_mb())
        with Daemon(here) as daemon:
            load(daemon.port, ASK, 1, count=20)
            after = daemon.memory_mb()
            lists = sorted(_list(daemon) for _ in range(5 * rounds + 1))
            bare = median(_timed([daemon_command()[0], "-I", "-S", "-c", ""]) for _ in range(5 * rounds))
    rest = {name: median(each[name] for each in resting) for name in resting[0]}
    return {
        "first": starts[0],
        "ready": median(starts[1:]),
        "memory": rest,
        "memory_after_20": after,
        "list": {"p50": at(lists, 0.5), "p95": at(lists, 0.95), "interpreter": bare},
    }


def _list(daemon: Daemon) -> float:
    return _timed(
        [*daemon_command(), "forum", "list", "--server", f"http://127.0.0.1:{daemon.port}"], daemon.environment
    )


def _timed(command: list[str], environment: dict[str, str] | None = None) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
    return (time.perf_counter() - begun) * 1000
