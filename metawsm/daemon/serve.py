"""`serve`: patches the process first, then runs the daemon from start to orderly end."""

from __future__ import annotations

from pathlib import Path


def run(
    address: tuple[str, int], database: str, policy: str | None, redis: str | None, shutdown_timeout: float
) -> None:
    """Run until SIGTERM or SIGINT. Raises PolicyError, Refused, Unavailable when the daemon cannot start."""
    from gevent import monkey

    monkey.patch_all()  # before anything else of the daemon is loaded, so that every socket and lock is cooperative

    import os

    from metawsm.daemon.options import Options
    from metawsm.daemon.process import Process
    from metawsm.policy import load

    loaded = load(Path(policy) if policy else None, os.environ, {"forum.redis.url": redis})
    Process(Options(address, Path(database), loaded, shutdown_timeout)).run()
