"""A backlog: accepted while Redis is away, drained in order and whole, with new requests answered meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.support.at_rest import check_at_rest
from tests.support.crowd import accepted_without_redis
from tests.support.daemon import Daemon
from tests.support.ledger import database
from tests.support.redis_servers import ServerHandle

ASK = {"ticket": "MET-2", "title": "asked meanwhile", "body": "b", "actor_type": "human"}
MOST_SECONDS = 5.0  # that a request may take while the daemon drains


@pytest.mark.parametrize("commands", [5_000, pytest.param(100_000, marks=pytest.mark.faults)])
def test_a_backlog_is_drained_in_order(
    commands: int, broker: ServerHandle, start_artifact: Callable[..., Daemon]
) -> None:
    """Every command is applied once, in its thread's order; reads and new questions are answered while it drains."""
    daemon, crowd = accepted_without_redis(broker, start_artifact, commands)
    assert waiting(daemon) >= commands
    began = time.monotonic()
    broker.start()
    slowest, asked = 0.0, 0
    while waiting(daemon):
        sent = time.monotonic()
        assert daemon.request("POST", "/forum/threads?wait=0", ASK).status in (201, 202)
        assert daemon.request("GET", "/forum/threads?limit=20").status == 200
        slowest = max(slowest, time.monotonic() - sent)
        asked += 1
        time.sleep(0.02)  # what was asked just now is on its way for some milliseconds, and no backlog
        assert time.monotonic() - began < 30 + commands / 1000, "it hardly drains"
    assert slowest < MOST_SECONDS
    crowd.check()
    check_at_rest(daemon)
    with database(daemon.database) as db:
        assert db.execute("SELECT count(*) FROM forum_threads WHERE title = 'asked meanwhile'").get == asked


def waiting(daemon: Daemon) -> int:
    """How many outbox rows are not done."""
    outbox = daemon.request("GET", "/health").body["outbox"]
    return int(outbox["pending_count"] + outbox["processing_count"])
