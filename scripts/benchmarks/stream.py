"""Events over the WebSocket: from acceptance to the frame's arrival at each subscriber."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.asks import ASK, curve
from benchmarks.figures import at
from benchmarks.servers import HERE, Daemon, folder, load

RATE = 100  # events per second
ACCEPTED = """
SELECT e.sequence, o.created_at FROM forum_events e JOIN forum_outbox o ON o.message_id = e.causation_id
WHERE e.event_type = 'forum.thread.opened'
"""


def measure(subscribers: int, seconds: float) -> dict[str, Any]:
    """`accept`: from the time in the accepting transaction; `send`: from sending the request. Milliseconds."""
    with folder() as here, Daemon(here) as daemon:
        load(daemon.port, ASK, 1, count=50)
        command = [sys.executable, str(HERE / "follow.py"), str(daemon.port), str(subscribers)]
        follower = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if follower.stdout is None or follower.stdout.readline() != "ready\n":
            raise RuntimeError("the subscribers did not connect")
        sent = load(daemon.port, ASK, 8, seconds=seconds, rate=RATE)
        time.sleep(1.0)  # the last frames are on their way
        arrivals = {int(s): times for s, times in json.loads(follower.communicate("")[0]).items()}
        return _told(subscribers, sent["answers"], arrivals, _accepted(here))


def _accepted(here: Path) -> dict[int, float]:
    with sqlite3.connect(f"file:{here}/.metawsm/metawsm.db?mode=ro", uri=True) as db:
        return {sequence: datetime.fromisoformat(at).timestamp() for sequence, at in db.execute(ACCEPTED)}


def _told(
    subscribers: int, answers: list[tuple[float, int]], arrivals: dict[int, list[float]], accepted: dict[int, float]
) -> dict[str, Any]:
    sequences = [sequence for _, sequence in answers]
    if any(len(arrivals.get(sequence, ())) != subscribers for sequence in sequences):
        raise RuntimeError("a subscriber did not get every event")
    by_accept = sorted((t - accepted[s]) * 1000 for s in sequences for t in arrivals[s])
    by_send = sorted((t - moment) * 1000 for moment, s in answers for t in arrivals[s])
    told = {"subscribers": subscribers, "events": len(sequences), "curve": curve(by_accept)}
    for name, times in (("accept", by_accept), ("send", by_send)):
        told[name] = {"p50": at(times, 0.5), "p95": at(times, 0.95), "p99": at(times, 0.99)}
    return told
