"""Agents that put in the daemon's way what they can: one run's harm, told and mendable, and nobody else's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import SLEEPER, check_well, done, failed, resumed
from tests.support.runs_lab import Lab, git


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent sleeps."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as made:
        yield made


def test_pipes_in_the_place_of_files(lab: Lab) -> None:
    """In each file that the daemon reads: nobody waits for them, other runs go on, and stop and cleanup work."""
    run_id, other = lab.start(), lab.start(tickets=["MET-2"])
    for each in (run_id, other):
        lab.until(each, "running")
    place = lab.checkouts(run_id)[0]
    page = next(place.glob("ttmp/*/*/*/MET-1--*")) / "reference" / "99-operator-feedback.md"
    (status,) = (lab.folder / ".metawsm" / "agents" / run_id).glob("bob-*/status")
    (place.parent / "zzz").mkdir()
    status.unlink()
    for file in (page, status, place.parent / "zzz" / ".git"):
        os.mkfifo(file)
    lab.post(f"/runs/{run_id}/iterate", feedback="Shorter.")
    failed(lab, run_id, f"{page} is no file of at most 1 MiB: look at what stands there, and move it away.")
    page.unlink()
    resumed(lab, run_id)
    assert "Shorter." in page.read_text()
    done(lab, run_id, "stop")
    done(lab, run_id, "cleanup", force=True)
    assert [path.name for path in place.parent.iterdir()] == ["zzz"]
    assert lab.run(other)["state"] == "running"
    check_well(lab)


def measured(lab: Lab, run_id: str) -> str:
    """When the second checkout was looked at."""
    return str(lab.run(run_id)["checkouts"][1]["measured_at"])


def until_measured(lab: Lab, run_id: str) -> None:
    """Wait until it is looked at once more."""
    before = eventually(lambda: measured(lab, run_id), timeout=10)
    eventually(lambda: measured(lab, run_id) > before, timeout=10)


def until_dead(lab: Lab, run_id: str) -> None:
    """Wait until the agent is known to be gone."""
    eventually(lambda: lab.run(run_id)["agents"][0]["state"] == "dead", timeout=10)


def test_numbers_and_marks_that_nobody_can_read(lab: Lab) -> None:
    """An exit code, a year and a mark beyond all bounds: the agent is looked at as far as it goes, others fully."""
    run_id, other = lab.start(), lab.start(tickets=["MET-2"])
    for each in (run_id, other):
        lab.until(each, "running")
    place = lab.checkouts(run_id)[1]
    (status,) = (lab.folder / ".metawsm" / "agents" / run_id).glob("bob-*/status")
    status.write_text(f"started 1\nended {'9' * 5000}\ncode {'9' * 20}\n")
    late = git(place, "commit-tree", "-p", "HEAD", "-m", "late", "HEAD^{tree}")
    told = git(place, "cat-file", "commit", late)
    for line in ("253402300800 +0000", "9" * 400 + " +0000", ""):
        raw = re.sub(r"(?m)^(committer .*> ).*$", rf"\g<1>{line}", told) + "\n"
        (lab.folder / "commit").write_text(raw)
        git(
            place,
            "reset",
            "--soft",
            git(place, "hash-object", "-t", "commit", "-w", "--literally", f"{lab.folder}/commit"),
        )
        eventually(lambda: lab.run(run_id)["checkouts"][1].get("ahead") == 1, timeout=10)
        until_measured(lab, run_id)
    lab.tmux("set-option", "-t", f"={lab.run(run_id)['agents'][0]['session']}:", "@metawsm", "x\ny")
    lab.tmux("kill-session", "-t", lab.run(other)["agents"][0]["session"])
    for each in (run_id, other):
        until_dead(lab, each)
    assert "Traceback" not in lab.daemon.log.read_text()
    check_well(lab)
