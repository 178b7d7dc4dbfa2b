"""Once a second: what the daemon and Redis hold, and how fast answers come."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import redis
from benchmarks.figures import at

from soaking.load import Tally
from tests.support.daemon import Daemon
from tests.support.ledger import database

TABLES_SECONDS = 5.0  # between two counts of whole tables
COMMANDS = ("open_thread", "add_post", "answer_thread", "assign_thread", "change_state", "close_thread", "signal")
Sample = dict[str, Any]


class Sampler:
    """Takes samples in a thread of its own until `close`. `begun` is the time.monotonic() of second 0."""

    def __init__(self, daemon: Daemon, redis_port: int, tally: Tally, begun: float) -> None:
        self.samples: list[Sample] = []
        self._daemon = daemon
        self._redis = redis.Redis(port=redis_port, socket_timeout=1.0, socket_connect_timeout=1.0)
        self._tally = tally
        self._begun = begun
        self._cpu: tuple[int, float, float] | None = None
        self._counted_at = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more."""
        self._over.set()
        self._thread.join(30)
        self._redis.close()

    def _run(self) -> None:
        while not self._over.wait(1.0):
            self.samples.append(self._sample())

    def _sample(self) -> Sample:
        told: Sample = {"at": round(time.monotonic() - self._begun, 2)}
        for look in (self._process, self._files, self._health, self._streams, self._tables):
            try:
                told |= look()
            except (OSError, ValueError, redis.RedisError):  # a part is away: that is what is wanted
                continue
        return told | self._answers()

    def _process(self) -> Sample:
        pid = self._daemon.process.pid
        rollup = _fields(Path(f"/proc/{pid}/smaps_rollup").read_text())
        status = _fields(Path(f"/proc/{pid}/status").read_text())
        told = {"pid": pid, "rss_mb": rollup["Rss"] / 1024, "pss_mb": rollup["Pss"] / 1024}
        told |= {"private_mb": rollup["Private_Dirty"] / 1024, "threads": status["Threads"]}
        return told | {"files": len(os.listdir(f"/proc/{pid}/fd"))} | self._cpu_share(pid)

    def _cpu_share(self, pid: int) -> Sample:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        used, now = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), time.monotonic()
        before, self._cpu = self._cpu, (pid, used, now)
        if before is None or before[0] != pid:
            return {}
        return {"cpu_percent": round(100 * (used - before[1]) / (now - before[2]), 1)}

    def _files(self) -> Sample:
        path = self._daemon.database
        wal = Path(f"{path}-wal")
        return {"database_mb": path.stat().st_size / 2**20, "wal_mb": wal.stat().st_size / 2**20}

    def _health(self) -> Sample:
        body = self._daemon.request("GET", "/health", timeout=3).body
        outbox, parts = body["outbox"], body["components"]
        return {
            "status": body["status"],
            "pending": outbox["pending_count"],
            "sent": outbox["processing_count"],
            "failed": outbox["failed_count"],
            "connections": parts["http"]["connections"],
            "dead_letters": parts["dead_letters"]["open"],
        }

    def _streams(self) -> Sample:
        pipe = self._redis.pipeline(transaction=False)
        for name in ("metawsm-forum", *(f"forum.commands.{name}" for name in COMMANDS)):
            pipe.xlen(name)
        feed, *commands = pipe.execute()
        return {"feed": feed, "commands": sum(commands)}

    def _tables(self) -> Sample:
        if time.monotonic() < self._counted_at + TABLES_SECONDS:
            return {}
        self._counted_at = time.monotonic()
        with database(self._daemon.database) as db:
            count = {name: next(iter(db.execute(f"SELECT count(*) FROM {name}")))[0] for name in _COUNTED}  # noqa: S608
        return {f"{name}_rows": rows for name, rows in count.items()}

    def _answers(self) -> Sample:
        times = self._tally.take()
        if not times:
            return {"answers": 0}
        return {"answers": len(times), "p50_ms": round(at(times, 0.5), 2), "p99_ms": round(at(times, 0.99), 2)}


_COUNTED = ("forum_outbox", "forum_events", "forum_threads", "forum_projection_events", "idempotency_keys")


def _fields(text: str) -> dict[str, int]:
    """`Name: number ...` lines as a dictionary."""
    pairs = (line.partition(":")[::2] for line in text.splitlines())
    return {name: int(rest.split()[0]) for name, rest in pairs if rest.split() and rest.split()[0].isdigit()}
