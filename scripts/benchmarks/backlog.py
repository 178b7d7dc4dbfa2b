"""Commands accepted while Redis is away, and what happens when it comes."""

from __future__ import annotations

import json
import sqlite3
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.figures import at
from benchmarks.servers import Daemon, Redis, Requests, folder, free_port, load

THREADS = 1000
HEADERS = {"Content-Type": "application/json"}
# Commands of a thread whose effects stand in another order than the commands were accepted in.
DISORDER = """
SELECT count(*) FROM (SELECT o.id, lag(o.id) OVER (PARTITION BY e.thread_id ORDER BY e.sequence) AS before
FROM forum_events e JOIN forum_outbox o ON o.message_id = e.causation_id) WHERE before > id
"""
# When the last of the backlog's commands was done, and when the last of their events was in Redis.
ENDED = """
WITH backlog AS (SELECT message_id, updated_at FROM forum_outbox WHERE kind = 'command' ORDER BY id LIMIT ?)
SELECT max(updated_at) FROM backlog
UNION ALL
SELECT max(o.updated_at) FROM forum_events e JOIN forum_outbox o ON o.message_id = e.event_id
WHERE e.causation_id IN (SELECT message_id FROM backlog)
"""
DONE = "SELECT count(*) FROM forum_outbox WHERE kind = 'command' AND status = 'done' AND outcome = 'applied'"


def measure(commands: int) -> dict[str, Any]:
    """Fill, let Redis come, watch: seconds, peak memory in MB, order, and the answers to others meanwhile."""
    port = free_port()
    with folder() as here, folder() as there:
        with Daemon(here, "--redis", f"redis://127.0.0.1:{port}/0", ready=False) as daemon:
            filled = _fill(daemon.port, commands)
            before = daemon.memory_mb()["rss"]
            with Redis(there, port):
                begun = time.time()
                told = _drain(daemon, commands)
                told |= {"filled_per_second": filled, "memory_before": before, "memory_peak": daemon.peak_mb()}
        return told | _checked(here / ".metawsm" / "metawsm.db", commands, begun)


def _fill(port: int, commands: int) -> float:
    opens = [_open(f"fthr-bench-{n}") for n in range(THREADS)]
    posts = [_post(f"fthr-bench-{n}") for n in range(THREADS)]
    begun = time.perf_counter()
    for requests, count in ((opens, THREADS), (posts, commands - THREADS)):
        seen = load(port, requests, 64, count=count, lean=True)
        if list(seen["statuses"]) != ["202"]:
            raise RuntimeError(f"not every command was kept: {seen['statuses']}")
    return commands / (time.perf_counter() - begun)


def _open(thread: str) -> tuple[str, str, dict[str, str], str]:
    body = {
        "ticket": "MET-1",
        "title": "One of many",
        "body": "A question.",
        "actor_type": "agent",
        "thread_id": thread,
    }
    return "POST", "/api/v1/forum/threads?wait=0", HEADERS, json.dumps(body)


def _post(thread: str) -> tuple[str, str, dict[str, str], str]:
    body = {"body": "More about it, as it comes to mind.", "actor_type": "agent"}
    return "POST", f"/api/v1/forum/threads/{thread}/posts?wait=0", HEADERS, json.dumps(body)


def _drain(daemon: Daemon, commands: int) -> dict[str, Any]:
    begun = time.perf_counter()
    reads, writes = [], []
    other: Requests = [_open_new()]
    while True:
        outbox = daemon.get("/api/v1/health")[1]["outbox"]
        waiting = outbox["pending_count"] + outbox["processing_count"]
        if waiting == 0:
            break
        reads += load(daemon.port, [("GET", "/api/v1/forum/threads?limit=20", {}, None)], 1, count=5)["latencies_ms"]
        seen = load(daemon.port, other, 1, count=5)
        if list(seen["statuses"]) not in (["202"], ["201"]):
            raise RuntimeError(f"new questions were refused: {seen['statuses']}")
        writes += seen["latencies_ms"]
        if time.perf_counter() - begun > 300:
            raise TimeoutError(f"{waiting} commands are still waiting")
    return {
        "commands": commands,
        "read_p95": at(sorted(reads), 0.95), "write_p95": at(sorted(writes), 0.95), "asked_meanwhile": len(writes),
    }  # fmt: skip


def _open_new() -> tuple[str, str, dict[str, str], str]:
    body = {"ticket": "MET-2", "title": "A new one", "body": "Asked meanwhile.", "actor_type": "agent"}
    return "POST", "/api/v1/forum/threads?wait=0", HEADERS, json.dumps(body)


def _checked(database: Path, commands: int, begun: float) -> dict[str, Any]:
    """`handled`: until the last command was done; `seconds`: until the last event of theirs was in Redis, too."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        ended = [datetime.fromisoformat(at).timestamp() - begun for (at,) in db.execute(ENDED, (commands,))]
        told = {"out_of_order": db.execute(DISORDER).fetchone()[0], "applied": db.execute(DONE).fetchone()[0]}
    return told | {"handled": ended[0], "seconds": max(ended)}
