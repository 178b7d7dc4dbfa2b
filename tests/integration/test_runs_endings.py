"""Merging and closing over real repositories: all of them or none, and after the workspaces are gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import REPORTER, cleaned, done
from tests.support.runs_lab import Lab, commit_readme, git


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent reports completion at once."""
    with Lab(tmp_path, agents={"bob": REPORTER}) as made:
        yield made


def test_a_merge_is_done_in_all_repositories_or_in_none(lab: Lab) -> None:
    """A conflict in the second keeps the first as it is; the way on is its mend, then the same merge."""
    run_id = lab.start()
    lab.until(run_id, "completed")
    for place in lab.checkouts(run_id):
        commit_readme(place, "theirs")
    before = git(lab.repos["alpha"], "rev-parse", "HEAD")
    commit_readme(lab.repos["beta"], "ours")
    refused = lab.metawsm("merge", "--run-id", run_id)
    beta = lab.checkouts(run_id)[1]
    assert (refused.returncode, f"mend: git -C {beta} merge main" in refused.stderr) == (4, True), refused.stderr
    assert "metawsm: merge blocked\n  - beta cannot be merged into main" in refused.stderr
    assert git(lab.repos["alpha"], "rev-parse", "HEAD") == before
    git(beta, "merge", "-q", "-X", "ours", "-m", "settled", "main")
    merged = lab.metawsm("merge", "--run-id", run_id)
    assert merged.returncode == 0, merged.stderr
    assert {(repo / "README.md").read_text() for repo in lab.repos.values()} == {"theirs\n"}
    cleaned(lab, run_id)


def test_a_run_that_was_cleaned_up_is_closed_all_the_same(lab: Lab) -> None:
    """Its workspaces are made again on their branches, nobody begins to work anew, its documents come to the base."""
    run_id = lab.start()
    lab.until(run_id, "completed")
    done(lab, run_id, "cleanup")
    assert not any(place.exists() for place in lab.checkouts(run_id))
    closed = lab.metawsm("close", "--run-id", run_id)
    assert closed.returncode == 0, closed.stderr
    run = lab.run(run_id)
    assert (run["state"], run["round"], lab.sessions()) == ("closed", 1, [])
    (index,) = lab.repos["alpha"].glob("ttmp/*/*/*/*/index.md")
    assert eventually(lambda: "Status: complete" in index.read_text())
    cleaned(lab, run_id)
