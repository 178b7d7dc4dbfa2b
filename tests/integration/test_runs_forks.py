"""A fork of a workspace in a real daemon: what it is merged into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import REPORTER, SLEEPER, done, failed
from tests.support.runs_lab import Lab, git


def commit(checkout: Path, name: str) -> None:
    """One file more, committed."""
    (checkout / name).write_text(f"{name}\n")
    git(checkout, "add", "--all")
    git(checkout, "commit", "-qm", f"work: {name}")


def subjects(repo: Path, branch: str) -> list[str]:
    """The subjects of what is on a branch."""
    return git(repo, "log", "--format=%s", branch).splitlines()


def source_of(lab: Lab) -> tuple[str, Any]:
    """A run at work with a commit that nobody has reviewed, and its workspace."""
    run_id = lab.start(run_id="run-3", agents=["ann"])
    run = lab.until(run_id, "running")
    commit(lab.checkouts(run_id)[0], "wip.txt")
    return run_id, run["workspaces"][0]


def forked(lab: Lab, source: str, **more: Any) -> str:
    """A completed fork of that workspace, with a commit of its own."""
    run_id = lab.start(run_id="run-4", tickets=["MET-2"], agents=["bob"], strategy="fork", source=source, **more)
    lab.until(run_id, "completed")
    commit(lab.checkouts(run_id)[0], "fork.txt")
    return run_id


AGENTS = {"ann": SLEEPER, "bob": REPORTER}


def test_a_fork_goes_back_to_its_source(tmp_path: Path) -> None:
    """Closed, it is merged into the source's branch and its live checkout; `main` sees nothing of either."""
    with Lab(tmp_path, agents=AGENTS, repos=["alpha"]) as lab:
        source_id, source = source_of(lab)
        fork = forked(lab, source["name"])
        assert f"alpha from {source['branch']} (fork)" in lab.metawsm("status", "--run-id", fork).stdout
        lab.post(f"/runs/{fork}/close")
        lab.until(fork, "closed")
        repo = lab.repos["alpha"]
        assert subjects(repo, "main") == ["begin"]
        assert {"work: wip.txt", "work: fork.txt"} <= set(subjects(repo, source["branch"]))
        assert (lab.checkouts(source_id)[0] / "fork.txt").exists()
        assert git(lab.checkouts(source_id)[0], "status", "--porcelain") == ""


def test_what_the_source_has_not_committed_bars_the_merge(tmp_path: Path) -> None:
    """Its checkout is a checkout like any other; committed there, the fork closes."""
    with Lab(tmp_path, agents=AGENTS, repos=["alpha"]) as lab:
        source_id, source = source_of(lab)
        fork = forked(lab, source["name"])
        place = lab.checkouts(source_id)[0]
        (place / "wip.txt").write_text("in the middle of it\n")
        lab.post(f"/runs/{fork}/close")
        eventually(lambda: "uncommitted changes: wip.txt" in (lab.run(fork).get("reason") or ""), timeout=20)
        assert (place / "wip.txt").read_text() == "in the middle of it\n"
        git(place, "commit", "-qam", "more")
        lab.post(f"/runs/{fork}/close")
        lab.until(fork, "closed")


def test_a_base_that_is_named_is_the_base(tmp_path: Path) -> None:
    """Who names `main` wants it, with what the source has."""
    with Lab(tmp_path, agents=AGENTS, repos=["alpha"]) as lab:
        _, source = source_of(lab)
        fork = forked(lab, source["name"], base="main")
        done(lab, fork, "merge")
        assert {"work: wip.txt", "work: fork.txt"} <= set(subjects(lab.repos["alpha"], "main"))


@pytest.mark.parametrize("how", [("checkout", "-qb", "other"), ("checkout", "-q", "--detach")])
def test_a_source_on_several_branches_is_no_base(tmp_path: Path, how: tuple[str, ...]) -> None:
    """The step says which are on what; on one branch again, the fork goes on, and it is that branch's."""
    with Lab(tmp_path, agents=AGENTS) as lab:
        source_id, source = source_of(lab)
        alpha, beta = lab.checkouts(source_id)
        git(beta, *how)
        lab.post(
            "/runs", run_id="run-4", tickets=["MET-2"], repos=["alpha", "beta"], agents=["bob"], strategy="fork",
            source=source["name"],
        )  # fmt: skip
        failed(lab, "run-4", f"alpha on {source['branch']}, beta on", "--base-branch")
        assert not (tmp_path / ".metawsm" / "workspaces" / lab.run("run-4")["workspaces"][0]["name"]).exists()
        for checkout in (alpha, beta):
            git(checkout, "checkout", "-qB", "other")
        lab.post("/runs/run-4/resume")
        lab.until("run-4", "completed")
        assert lab.run("run-4")["base"] == "other"
