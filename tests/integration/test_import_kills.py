"""An import that is killed, wherever, is finished by the next one, with the same result."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from metawsm.storage.go_import import take_over
from tests.integration.test_import import imported, place, rows
from tests.support.dying_import import POINTS
from tests.support.go_database import large
from tests.support.shell import environment

THREADS = 700
QUICK = ("progress-2", "before-rename-3", "after-rename-3")
TABLES = (
    "forum_threads", "forum_posts", "forum_state_transitions", "forum_assignments", "forum_control_threads",
    "forum_events", "forum_thread_reads", "forum_seen_ranges", "forum_outbox", "dead_letters", "sqlite_sequence",
)  # fmt: skip


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database of theirs that takes several chunks."""
    folder = tmp_path_factory.mktemp("theirs")
    large(place(folder), THREADS).close()
    return folder


@pytest.fixture(scope="module")
def undisturbed(theirs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an import without a kill leaves."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(theirs / ".metawsm", folder / ".metawsm")
    told = imported(folder)
    return state(folder, told)


def state(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    """All rows of truth, the files there are, and what was told, without times and paths."""
    held = {name: sorted(rows(place(folder), f"SELECT * FROM {name}"), key=repr) for name in TABLES}
    names = sorted(path.name for path in place(folder).parent.iterdir())
    return {**held, "files": names, "told": (told["tables"], told["notes"], told["first_notes"], told["fingerprint"])}


@pytest.mark.parametrize(
    "point", [point if point in QUICK else pytest.param(point, marks=pytest.mark.faults) for point in POINTS]
)
def test_a_killed_import_goes_on(point: str, theirs: Path, undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """Killed at a named point, the name holds their database or ours; the next import ends as if nothing had been."""
    shutil.copytree(theirs / ".metawsm", tmp_path / ".metawsm")
    command = [sys.executable, "-m", "tests.support.dying_import", point, str(place(tmp_path))]
    died = subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert rows(place(tmp_path), "PRAGMA integrity_check") == [("ok",)]
    is_ours = rows(place(tmp_path), "PRAGMA application_id") != [(0,)]
    assert is_ours == (point == "after-rename-3")
    assert state(tmp_path, imported(tmp_path)) == undisturbed


def test_the_next_import_goes_on_where_the_last_one_ended(theirs: Path, tmp_path: Path) -> None:
    """What was carried before the kill is not carried again."""
    shutil.copytree(theirs / ".metawsm", tmp_path / ".metawsm")
    command = [sys.executable, "-m", "tests.support.dying_import", "progress-2", str(place(tmp_path))]
    subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    heard: list[tuple[str, int, int]] = []
    take_over(place(tmp_path), place(tmp_path), dry_run=False, progress=lambda *at: heard.append(at))
    assert heard[0] == ("forum_events", 4 * THREADS, 4 * THREADS)


LEAVE_A_LOG = """
import os, sys, apsw
db = apsw.Connection(sys.argv[1])
db.pragma("journal_mode", "WAL")
db.execute("INSERT INTO metawsm_meta VALUES ('in the log', 'yes')")
os._exit(0)
"""


def test_a_write_ahead_log_is_not_left_behind(theirs: Path, tmp_path: Path) -> None:
    """What the last commit before a kill left in the write-ahead log is in the database that gets the name."""
    shutil.copytree(theirs / ".metawsm", tmp_path / ".metawsm")
    command = [sys.executable, "-m", "tests.support.dying_import", "before-rename-3", str(place(tmp_path))]
    subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    subprocess.run([sys.executable, "-c", LEAVE_A_LOG, f"{place(tmp_path)}.importing"], check=True, timeout=60)
    assert Path(f"{place(tmp_path)}.importing-wal").stat().st_size
    imported(tmp_path)
    assert not list(tmp_path.rglob("*.importing*"))
    assert rows(place(tmp_path), "SELECT value FROM metawsm_meta WHERE name = 'in the log'") == [("yes",)]


def test_theirs_went_on_after_a_kill(theirs: Path, tmp_path: Path) -> None:
    """When their database changed between two imports, the second one takes all of the newer state."""
    shutil.copytree(theirs / ".metawsm", tmp_path / ".metawsm")
    command = [sys.executable, "-m", "tests.support.dying_import", "progress-2", str(place(tmp_path))]
    subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    db = apsw.Connection(str(place(tmp_path)))
    db.execute("UPDATE forum_events SET actor_name = 'later' WHERE sequence = 1")
    db.close()
    imported(tmp_path)
    assert rows(place(tmp_path), "SELECT actor_name FROM forum_events WHERE sequence = 1") == [("later",)]
    assert rows(place(tmp_path), "SELECT count(*) FROM forum_threads") == [(THREADS,)]
