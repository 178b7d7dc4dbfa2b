"""Reading over HTTP at several sizes: every documented filter set, queues, detail, search, events, stats, inbox."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.figures import at
from benchmarks.servers import ROOT, Daemon, folder, load, until

BASE = "/api/v1/forum"
VIEWER = {"viewer_type": "human", "viewer_id": "nearly-all"}
FILTERS = ("ticket", "run_id", "state", "priority", "assignee")


def seed(threads: int, seeds: Path) -> Path:
    """A database with so many threads, made when it is missing."""
    path = seeds / str(threads) / "metawsm.db"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_suffix(".part")
        subprocess.run(
            [sys.executable, str(ROOT / "scripts" / "seed_threads.py"), str(threads), str(made), "--viewers"],
            check=True,
        )
        made.rename(path)
    return path


def measure(threads: int, seeds: Path, repeats: int) -> dict[str, Any]:
    """p95 in milliseconds per kind of question, and the slowest question of all."""
    database = seed(threads, seeds)
    with folder() as here, Daemon(here, "--db", str(database)) as daemon:
        settle(daemon)
        kinds: dict[str, list[tuple[float, str]]] = {}
        for kind, target in _targets(daemon):
            kinds.setdefault(kind, []).append((_p95(daemon, target, repeats), target))
        worst = max(pair for pairs in kinds.values() for pair in pairs)
        told = {
            kind: {"questions": len(pairs), "p95": max(pairs)[0], "slowest": max(pairs)[1]}
            for kind, pairs in kinds.items()
        }
        return {"threads": threads, "p95": worst[0], "slowest": worst[1], "kinds": told}


def settle(daemon: Daemon) -> None:
    """Wait until what a start has to do (filling a new Redis) is over."""

    def quiet() -> bool:
        before = daemon.cpu_seconds()
        time.sleep(0.5)
        return daemon.cpu_seconds() - before < 0.05

    until(quiet, 180)


def _p95(daemon: Daemon, target: str, repeats: int) -> float:
    seen = load(daemon.port, [("GET", target, {}, None)], 1, count=repeats + 2)
    if list(seen["statuses"]) != ["200"]:
        raise RuntimeError(f"{target}: {seen['statuses']}")
    return at(sorted(seen["latencies_ms"][2:]), 0.95)


def _targets(daemon: Daemon) -> Iterator[tuple[str, str]]:
    sample = _sample(daemon)
    for filters in _subsets(sample):
        for sort in ({}, {"sort": "attention"}):
            yield "list", _url("threads", filters | sort)
        yield "list for a viewer", _url("threads", filters | VIEWER)
        for queue in ("unseen", "unanswered", "mine", "breached"):
            yield f"queue {queue}", _url("queues", {"type": queue} | filters | VIEWER)
        yield "search", _url("search", {"query": "schema"} | filters)
    for words in ("zyzzyva", "schema migration", "schema migration test", "nothinghasthisword"):
        yield "search", _url("search", {"query": words})
    for limit in (10, 500):
        yield "detail", _url(f"threads/{sample['thread_id']}", {"limit": limit})
    head = daemon.get("/api/v1/health")[1]["components"]["projections"]["applied_sequence"]
    for one in ({}, *({name: sample[name]} for name in ("ticket", "run_id", "thread_id"))):
        for cursor in (0, head // 2, head - 50):
            yield "events", _url("events", one | {"cursor": max(0, cursor)})
    for scope in ({}, {"ticket": sample["ticket"]}, {"run_id": sample["run_id"]}):
        yield "stats", _url("stats", scope)
    for scope in ({}, {"run_id": sample["run_id"]}):
        yield "inbox", _url("inbox", {"agent_name": sample["agent_name"]} | scope)


def _sample(daemon: Daemon) -> dict[str, str]:
    """A thread that has a value for every filter."""
    page = _url("threads", {"limit": 500, "assignee": "kb"})
    threads = daemon.get(page)[1]["threads"]
    thread = next(each for each in threads if "run_id" in each)
    return {**thread, "assignee": thread["assignee_name"]}


def _subsets(sample: dict[str, str]) -> list[dict[str, str]]:
    sets = itertools.chain.from_iterable(itertools.combinations(FILTERS, n) for n in range(len(FILTERS) + 1))
    return [{name: sample[name] for name in names} for names in sets]


def _url(path: str, query: dict[str, Any]) -> str:
    return f"{BASE}/{path}" + (f"?{urlencode(query)}" if query else "")
