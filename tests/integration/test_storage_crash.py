"""What was acknowledged is on disk, whatever happens to the process or the disk."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from metawsm.storage.connection import open_writer
from tests.support.eventually import eventually
from tests.support.services import missing
from tests.support.storage_lab import values

_KINDS = ("hub", "thread")


def _grown(ledger: Path, size: int) -> bool:
    return ledger.exists() and ledger.stat().st_size > size


@pytest.mark.parametrize("kind", _KINDS)
def test_every_acknowledged_job_survives_kill_9(tmp_path: Path, kind: str) -> None:
    """Killed five times in the middle of load, the database holds every number of the ledger, once, and is sound."""
    database, ledger = tmp_path / "db", tmp_path / "ledger"
    for first in range(0, 5_000_000, 1_000_000):
        before = ledger.stat().st_size if ledger.exists() else 0
        command = [sys.executable, "-m", "tests.support.storage_load", str(database), str(ledger), kind, str(first)]
        process = subprocess.Popen(command)
        eventually(partial(_grown, ledger, before + 20_000), timeout=30)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    acknowledged = [int(line) for line in ledger.read_bytes().splitlines()[:-1]]
    stored = values(database)
    assert set(acknowledged) <= set(stored)
    assert len(stored) == len(set(stored))
    connection = open_writer(database)
    assert connection.pragma("integrity_check") == "ok"
    connection.close()


@pytest.mark.parametrize("kind", _KINDS)
def test_a_full_disk_refuses_and_recovers(tmp_path: Path, kind: str) -> None:
    """On a real file system without space jobs are refused with the reason, nothing is half done, and it recovers."""
    if os.geteuid() != 0:
        missing("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    child = shlex.join([sys.executable, "-m", "tests.support.storage_full_disk", str(folder), kind])
    script = f"mount -t tmpfs -o size=4m tmpfs {shlex.quote(str(folder))} && exec {child}"
    run = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60)
    if "unshare failed" in run.stderr or "permission denied" in run.stderr:
        missing("this machine forbids mounting")
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert len(told["stored"]) > 100
    assert len(told["errors"]) == 4
    assert all(error.startswith("unavailable: ") and "disk" in error for error in told["errors"])
    assert told["found"] == [*told["stored"], -1]
    assert told["check"] == [["ok"]]
