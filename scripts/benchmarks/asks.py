"""Questions asked over HTTP, against the floor: latency of one client, throughput of many."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.figures import at, median
from benchmarks.servers import Daemon, Floor, folder, load

BODY = {
    "ticket": "MET-1",
    "title": "Which schema do we use?",
    "body": "v1 has the old names, v2 the new ones; both are deployed. Which one may I rely on in the importer?",
    "actor_type": "agent",
    "actor_name": "agent-1",
    "run_id": "run-1",
    "agent_name": "coder",
}
ASK = [("POST", "/api/v1/forum/threads", {"Content-Type": "application/json"}, json.dumps(BODY))]


def measure(clients: int, rounds: int, seconds: float, lean: bool = False) -> dict[str, Any]:
    """Rounds of floor and daemon in turn, so that what else the machine does meets both alike."""
    floors, daemons = [], []
    with folder() as here, folder() as there, Floor(here) as floor, Daemon(there) as daemon:
        for server in (floor, daemon):
            load(server.port, ASK, clients, seconds=min(seconds, 1.0), lean=lean)
        for _ in range(rounds):
            floors.append(_round(floor.port, clients, seconds, lean))
            daemons.append(_round(daemon.port, clients, seconds, lean))
    told = {"floor": _together(floors), "daemon": _together(daemons), "ratios": _ratios(floors, daemons)}
    return {"clients": clients, "rounds": rounds} | told


def _round(port: int, clients: int, seconds: float, lean: bool) -> dict[str, Any]:
    seen = load(port, ASK, clients, seconds=seconds, lean=lean)
    if list(seen["statuses"]) != ["201"]:
        raise RuntimeError(f"not every question was answered with 201: {seen['statuses']}")
    times = sorted(seen["latencies_ms"])
    return {"p50": at(times, 0.5), "p99": at(times, 0.99), "rate": len(times) / seen["seconds"], "times": times}


def _together(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    told = {name: median(each[name] for each in rounds) for name in ("p50", "p99", "rate")}
    every = sorted(time for each in rounds for time in each["times"])
    return told | {"p99_over_p50": median(each["p99"] / each["p50"] for each in rounds), "curve": curve(every)}


def curve(times: list[float], points: int = 100) -> list[float]:
    """The distribution as `points` quantiles, the last one the 99.9th percentile."""
    return [round(at(times, n / points), 3) for n in range(1, points)] + [round(at(times, 0.999), 3)]


def _ratios(floors: list[dict[str, Any]], daemons: list[dict[str, Any]]) -> dict[str, float]:
    """Per pair of neighbouring rounds, then the median."""
    return {name: median(d[name] / f[name] for f, d in zip(floors, daemons, strict=True)) for name in ("p50", "rate")}
