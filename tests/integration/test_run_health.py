"""What health and debug say of jobs, of reactions and of the look at agents, with a real daemon."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from metawsm.api.answers import COMPONENTS
from metawsm.daemon.read_models import ago
from metawsm.storage.jobs_table import _COUNTS, _NEXT
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle
from tests.support.services import program

JOB = (
    "INSERT INTO jobs (kind, job_key, lane, payload_json, epoch, status, not_before, created_at, updated_at)"
    " VALUES ('unheard_of', ?1, ?1, '{}', 1, ?2, ?3, ?3, ?3)"
)
AGENT = (
    "INSERT INTO agents (run_id, position, agent_name, profile, ticket, workspace, session, state, state_since,"
    " open_requests, completed, round_sequence, restarts)"
    " VALUES ('run-1', 0, 'bob', 'p', 'MET-1', 'ws', 'bob-ws', 'running', ?, 0, 0, 0, 0)"
)

HASTY = """
from gevent import monkey

monkey.patch_all()
import attrs
import metawsm.daemon.ticker as ticker
from metawsm.cli.main import main

ticker.ALL = tuple(attrs.evolve(spec, seconds=0.2) for spec in ticker.ALL)
main()
"""


@contextmanager
def database(daemon: Daemon) -> Iterator[sqlite3.Connection]:
    """The daemon's database, as another program changes it."""
    with closing(sqlite3.connect(daemon.database, isolation_level=None, timeout=10)) as db:
        yield db


def part(daemon: Daemon, name: str, status: str) -> Any:
    """A part of health, None while it has another status."""
    found = daemon.request("GET", "/health").body["components"][name]
    return found if found["status"] == status else None


def test_at_rest(daemon: Daemon) -> None:
    """Nothing waits and nobody is watched; the description of health names all of its parts."""
    told = set(re.findall(r"`(\w+)`:", COMPONENTS))
    assert set(daemon.request("GET", "/health").body["components"]) == told
    counts = {"pending": 0, "running": 0, "held": 0, "at_work": 0, "oldest_due_age_seconds": 0.0}
    assert part(daemon, "jobs", "ok") == {"status": "ok", **counts}
    assert part(daemon, "runs", "ok") == {"status": "ok", "agents_watched": 0}
    assert daemon.request("GET", "/forum/debug").body["debug"]["jobs"] == []


def test_held_jobs_ask_for_attention_until_they_are_released(daemon: Daemon) -> None:
    """Health says how many and what to type; afterwards debug shows how they ended."""
    with database(daemon) as db:
        db.execute(JOB, ("a", "held", ago(3600)))
    held = part(daemon, "jobs", "attention")
    assert held["held"] == 1 and "jobs release" in held["error"]
    assert daemon.request("GET", "/health").status == 200
    daemon.request("POST", "/jobs/release", {})
    eventually(lambda: part(daemon, "jobs", "ok"))
    (shown,) = daemon.request("GET", "/forum/debug").body["debug"]["jobs"]
    assert (shown["job_key"], shown["status"], shown["error"]) == (
        "a", "failed", "this program has no job 'unheard_of'",
    )  # fmt: skip


def test_an_overdue_job_asks_for_attention(daemon: Daemon) -> None:
    """One that is due for a minute and has not begun is told, one that is to come is not."""
    with database(daemon) as db:
        db.execute(JOB, ("later", "pending", ago(-3600)))
        assert part(daemon, "jobs", "ok")["pending"] == 1
        db.execute(JOB, ("soon", "pending", ago(50)))
        assert 50 <= part(daemon, "jobs", "ok")["oldest_due_age_seconds"] < 60
        db.execute(JOB, ("late", "pending", ago(90)))
    late = part(daemon, "jobs", "attention")
    assert late["pending"] == 3 and 90 <= late["oldest_due_age_seconds"] < 120


def test_agents_that_cannot_be_looked_at(
    server: ServerHandle, start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Without tmux the reason is told, with how many agents are watched; with tmux it goes by itself."""
    programs = tmp_path / "programs"
    programs.mkdir()
    daemon = start_daemon(
        "--redis", server.url, PATH=str(programs), TMUX_TMPDIR=str(tmp_path), METAWSM_HEALTH_CHECK_SECONDS="1"
    )
    with database(daemon) as db:
        db.execute(AGENT, (ago(0),))
        blind = eventually(lambda: part(daemon, "runs", "attention"), timeout=10)
        assert blind["agents_watched"] == 1
        assert "agents cannot be looked at: " in blind["error"] and "tmux" in blind["error"]
        (programs / "tmux").symlink_to(program("tmux"))
        eventually(lambda: part(daemon, "runs", "ok"), timeout=10)


def test_reactions_that_wait(daemon: Daemon) -> None:
    """The one that cannot go on is named with its reason, and goes on by itself."""
    asked = {"ticket": "T-1", "title": "t", "body": "b", "actor_type": "agent", "agent_name": "bob", "run_id": "run-1"}
    thread = daemon.request("POST", "/forum/threads", asked).body["thread"]["thread_id"]
    with database(daemon) as db:
        db.execute("ALTER TABLE subscriber_cursors RENAME TO away")
        answer = {"body": "v2", "actor_type": "human"}
        assert daemon.request("POST", f"/forum/threads/{thread}/answer", answer).status in (200, 201)
        waits = eventually(lambda: part(daemon, "runs", "attention"))
        db.execute("ALTER TABLE away RENAME TO subscriber_cursors")
    assert "deliver_answers" in waits["error"]
    assert "subscriber_cursors" in waits["waiting"]["deliver_answers"]
    eventually(lambda: part(daemon, "runs", "ok"))


def test_counting_jobs_reads_no_ended_ones(daemon: Daemon) -> None:
    """Health is asked often: its questions use the indexes of open jobs."""
    with database(daemon) as db:
        asked = [f"EXPLAIN QUERY PLAN {sql}" for sql in (_COUNTS, _NEXT.replace("?1", "'x'").replace("?2", "'x'"))]
        plans = [row[3] for sql in asked for row in db.execute(sql)]
    assert len([plan for plan in plans if "jobs" in plan]) == 3
    assert [plan for plan in plans if "jobs" in plan and "USING INDEX jobs_" not in plan] == []


def test_ended_jobs_go_with_the_outbox_rows(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """The daemon's clock deletes jobs that ended long ago; those that are open, held or young stay."""
    daemon = start_daemon("--redis", server.url, command=[sys.executable, "-c", HASTY])
    with database(daemon) as db:
        for status in ("done", "failed", "held"):
            db.execute(JOB, (f"old {status}", status, ago(30 * 86_400)))
        db.execute(JOB, ("young", "done", ago(86_400)))
        left = "SELECT job_key FROM jobs ORDER BY id"
        eventually(lambda: db.execute(left).fetchall() == [("old held",), ("young",)], timeout=10)
