"""SIGKILL in the middle of a backup and of a restore: what was there before is there, or what was to come."""

from __future__ import annotations

import shutil
import threading
import time
from functools import partial
from pathlib import Path

import apsw
import pytest

from metawsm.storage.backup import create
from metawsm.storage.backup_files import backups_in
from metawsm.storage.examine import examine
from metawsm.storage.restore import restore
from tests.support.backup_lab import backup_of, fill, rows
from tests.support.daemon import Daemon
from tests.support.dying import dies_at
from tests.support.eventually import eventually
from tests.support.ledger import database as opened

LATER = "SELECT count(*) FROM metawsm_meta WHERE name = 'later'"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A project with a backup, and a database that has gone on since: its newest commit is in its log only."""
    path = tmp_path / "model" / "metawsm.db"
    fill(path)
    backup_of(path, path.parent / "backups")
    writer = apsw.Connection(str(path))
    writer.wal_autocheckpoint(0)
    writer.execute("INSERT INTO metawsm_meta VALUES ('later', 'yes')")
    shutil.copytree(path.parent, tmp_path / "crashed")
    writer.close()
    return tmp_path / "crashed"


def test_killed_at_any_step_of_a_restore(model: Path, tmp_path: Path) -> None:
    """The database is the old one with its newest commit, or the restored one; the next restore goes through."""
    outcomes = set()
    step = 0
    dies = True
    while dies:
        step += 1
        project = tmp_path / f"killed{step}"
        shutil.copytree(model, project)
        database, folder = project / "metawsm.db", project / "backups"
        (backup,) = (each.path for each in backups_in(folder))
        dies = dies_at(step, project, partial(restore, backup, database, folder))
        is_old = rows(database, LATER) == [(1,)]
        assert examine(database).epoch == (1 if is_old else 2), f"step {step}"
        outcomes.add(is_old)
        done = restore(backup, database, folder)
        assert done.facts.epoch == (2 if is_old else 3)
        kept = [each for each in backups_in(folder) if each.kind == "replaced"]
        assert any(rows(each.path, LATER) == [(1,)] for each in kept), f"step {step}: the replaced one is lost"
        assert len({each.path.stat().st_ino for each in kept}) == len(kept), f"step {step}: one file, two names"
        assert sorted(path.name for path in project.iterdir()) == ["backups", "metawsm.db"], f"step {step}"
        shutil.rmtree(project)
    assert outcomes == {True, False}
    assert step > 10


def test_killed_at_any_step_of_a_backup(model: Path, tmp_path: Path) -> None:
    """What has a backup's name is whole, older ones are there, and the next one clears the rest away."""
    step = 0
    dies = True
    while dies:
        step += 1
        project = tmp_path / f"killed{step}"
        shutil.copytree(model, project)
        database, folder = project / "metawsm.db", project / "backups"
        dies = dies_at(step, project, partial(create, database, folder, 2))
        assert 1 <= len([examine(each.path) for each in backups_in(folder)]) <= 2
        made = create(database, folder, 2)
        assert sorted(folder.iterdir()) == sorted(each.path for each in backups_in(folder))
        assert rows(made.file.path, LATER) == [(1,)]
        shutil.rmtree(project)
    assert step > 5


@pytest.mark.faults
def test_a_daemon_killed_while_it_makes_a_backup(daemon: Daemon) -> None:
    """It starts again, nothing half has a backup's name, and the next backup is whole."""
    daemon.stop()
    with opened(daemon.database) as db:
        db.execute("CREATE TABLE bulk AS SELECT randomblob(100000000) AS b")
    daemon.start()
    folder = daemon.folder / ".metawsm" / "backups"
    for pause in (0.0, 0.05, 0.2, 0.5):
        asked = threading.Thread(target=_ask, args=(daemon,))
        asked.start()
        eventually(lambda: list(folder.glob(".metawsm-*.part")), timeout=20, interval=0.001)
        time.sleep(pause)
        daemon.kill()
        asked.join(30)
        for each in backups_in(folder):
            examine(each.path)
        daemon.start()
    assert daemon.request("POST", "/backups", {}).status == 201
    assert sorted(folder.iterdir()) == sorted(each.path for each in backups_in(folder))


def _ask(daemon: Daemon) -> None:
    try:
        daemon.request("POST", "/backups", {})
    except OSError:
        return
