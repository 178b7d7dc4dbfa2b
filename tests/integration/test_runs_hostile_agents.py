"""Agents that put in the daemon's way what they can: one run's harm, told and mendable, and nobody else's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.run_mishaps import SLEEPER, check_well, done, failed, resumed
from tests.support.runs_lab import Lab


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
