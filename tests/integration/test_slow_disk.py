"""The daemon on a slow disk: handlers and read models run in a thread of the operating system, beside the hub."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from tests.support.daemon import Daemon
from tests.support.ledger import Ledger, check_streams
from tests.support.redis_servers import ServerHandle

SECONDS = 4.0
TAKEN = (200, 201, 202)
REFUSALS = (404, 409, 422)  # what the rules say no to: a taken id, a stale expectation, a state that is there already


def test_under_load_nothing_fails(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Every request is taken or refused by a rule, nothing is tried again, all is applied once and in order."""
    command = [sys.executable, "-m", "tests.support.faulty_daemon", "slow disk", "0"]
    daemon = start_daemon("--redis", server.url, command=command)
    ledger = Ledger(daemon, clients=16)
    with ledger.load():
        time.sleep(SECONDS)
    strange = [entry for entry in ledger.entries[1:] if entry.first_status not in (*TAKEN, *REFUSALS)]
    assert strange == []
    ledger.check()
    with server.client() as client:
        check_streams(daemon, client)
    health = daemon.request("GET", "/health").body
    assert health["components"]["database"]["writer"]["kind"] == "thread"
    assert [line for line in daemon.log.read_text().splitlines() if " INFO " not in line] == []
