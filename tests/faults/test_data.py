"""The built file's data: a restored backup, the schemas of earlier versions and of later ones."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from metawsm.storage.schema_steps import STEPS
from tests.support.daemon import Daemon, own_program
from tests.support.eventually import eventually
from tests.support.ledger import database
from tests.support.lived_in import answers, live_in
from tests.support.redis_servers import ServerHandle
from tests.support.rest import Rest
from tests.support.run_mishaps import SLEEPER
from tests.support.runs_lab import Lab, slow_programs
from tests.support.schema_fixture import load
from tests.support.shell import environment

FIXTURES = Path(__file__).parents[1] / "golden" / "schemas"


def ran(daemon: Daemon, *arguments: str) -> str:
    """What the daemon's own program says on a success, in its folder."""
    done = own_program(daemon, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_restored_backup_gives_the_same_answers(daemon: Daemon) -> None:
    """Made while it serves, verified, restored over what came after: every list, search and event is as it was."""
    rest = Rest(daemon)
    live_in(rest)
    before = answers(daemon)
    file = json.loads(ran(daemon, "backup", "create", "--json"))["backup"]["file"]
    ran(daemon, "backup", "verify", file)
    rest.open(title="Lost")
    assert answers(daemon) != before
    daemon.stop()
    ran(daemon, "backup", "restore", file)
    daemon.start()
    assert answers(daemon) == before


@pytest.mark.parametrize("fixture", sorted(FIXTURES.glob("v*.sql")), ids=lambda path: path.stem)
def test_every_released_schema_is_taken_over(
    fixture: Path, tmp_path: Path, broker: ServerHandle, artifact: list[str]
) -> None:
    """Served, with every thread that it held; a backup of it as it was lies beside it."""
    path = tmp_path / ".metawsm" / "metawsm.db"
    load(fixture.read_text(encoding="utf-8"), path)
    with database(path) as db:
        threads = {thread for (thread,) in db.execute("SELECT thread_id FROM forum_threads")}
    daemon = Daemon(artifact, tmp_path, "--redis", broker.url)
    try:
        _check_taken_over(daemon, threads)
    finally:
        daemon.end()


def _check_taken_over(daemon: Daemon, threads: set[str]) -> None:
    def shown() -> set[str]:
        return {view["thread_id"] for view in daemon.request("GET", "/forum/threads?limit=200").body["threads"]}

    assert threads
    eventually(lambda: threads <= shown(), timeout=20)
    with database(daemon.database) as db:
        assert next(iter(db.execute("SELECT max(version) FROM schema_migrations"))) == (len(STEPS),)
    kinds = [each["kind"] for each in json.loads(ran(daemon, "backup", "list", "--json"))["backups"]]
    assert kinds == ["migration"]


def test_a_newer_schema_is_refused(tmp_path: Path, artifact: list[str]) -> None:
    """The program to install is named, and the file stays as it is."""
    path = tmp_path / ".metawsm" / "metawsm.db"
    load((FIXTURES / "v1.sql").read_text(encoding="utf-8"), path)
    db = apsw.Connection(str(path))
    db.execute("INSERT INTO schema_migrations SELECT 99, 'later', applied_at FROM schema_migrations LIMIT 1")
    db.execute("INSERT INTO metawsm_meta VALUES ('schema_program', '9.4.0') ON CONFLICT DO UPDATE SET value = '9.4.0'")
    db.pragma("user_version", 99)
    db.close()
    done = subprocess.run([*artifact, "serve", "--addr", "127.0.0.1:0"], cwd=tmp_path, env=environment(),
                          capture_output=True, text=True, timeout=60)  # fmt: skip
    assert (done.returncode, "install metawsm.pyz 9.4.0 or newer" in done.stderr) == (1, True), done.stderr
    with database(path) as db:
        assert db.pragma("user_version") == 99
        assert not list(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'forum_post_receipts'"))


@pytest.fixture
def lab(pyz: Path, tmp_path: Path) -> Iterator[Lab]:
    """A project whose git takes its time, so that a backup meets it at work."""
    path = slow_programs(tmp_path / "slow", 0.3)
    with Lab(tmp_path, [sys.executable, str(pyz)], {"bob": SLEEPER}, env={"PATH": path}) as made:
        yield made


def test_jobs_of_a_restored_backup_wait_until_they_are_released(lab: Lab) -> None:
    """What was about to happen then has happened since, or is not wanted any more: somebody has to say so."""
    run_id = lab.start()
    undone = "SELECT 1 FROM jobs WHERE status IN ('pending', 'running')"
    eventually(lambda: lab.rows(undone), timeout=20, interval=0.005)
    file = lab.daemon.request("POST", "/backups", {}).body["backup"]["file"]
    lab.until(run_id, "running", timeout=60)
    sessions = lab.sessions()
    lab.daemon.stop()
    ran(lab.daemon, "backup", "restore", file)
    lab.daemon.start()
    health = lab.daemon.request("GET", "/health").body["components"]["jobs"]
    assert (health["status"], health["held"]) == ("attention", 1)
    steps = lab.run(run_id)["steps"]
    time.sleep(2.0)
    assert (lab.run(run_id)["steps"], lab.sessions()) == (steps, sessions)
    ran(lab.daemon, "jobs", "release", "--server", f"http://127.0.0.1:{lab.daemon.port}")
    lab.until(run_id, "running", timeout=60)
