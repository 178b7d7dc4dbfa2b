"""Reactions in a daemon that has no runs: they cost nothing, and never fall far behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from metawsm.daemon.runs_side import PASSED
from metawsm.subscribers import ALL
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}


def test_the_cursors_follow_events_of_no_run(start_daemon: Callable[..., Daemon]) -> None:
    """Else the first event of a run would find all those before it still to be passed."""
    daemon = start_daemon()

    def ask(_: int) -> int:
        return daemon.request("POST", "/forum/threads", ASK).status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(PASSED + 10))) == {201}
    db = sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True)
    behind = "SELECT count(*) FROM subscriber_cursors WHERE sequence < ?"
    eventually(lambda: db.execute(behind, (PASSED,)).fetchone() == (0,))
    assert db.execute("SELECT count(*) FROM subscriber_cursors").fetchone() == (len(ALL),)
    db.close()
