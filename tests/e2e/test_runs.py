"""Runs from beginning to end, with real git repositories, real tmux sessions and agents that are programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.runs_lab import AGENT, Lab, git, repository


@pytest.fixture
def lab(pyz: Path, tmp_path: Path) -> Iterator[Lab]:
    """A project with one agent."""
    with Lab(tmp_path, [sys.executable, str(pyz)]) as made:
        yield made


def test_a_ticket_from_bootstrap_to_cleanup(lab: Lab) -> None:
    """An agent asks, is answered from another shell, completes and validates; the run is merged, closed, cleaned up."""
    run_id = lab.bootstrap()
    waiting = lab.until(run_id, "awaiting_guidance")
    assert [asked["question"] for asked in waiting["guidance"]] == ["Which greeting, bob?"]
    answered = lab.metawsm(
        "forum", "signal", "--run-id", run_id, "--ticket", "MET-1", "--agent-name", "bob",
        "--type", "guidance_answer", "--answer", "good morning",
    )  # fmt: skip
    assert answered.returncode == 0, answered.stderr
    lab.until(run_id, "completed")
    lab.post(f"/runs/{run_id}/merge")
    lab.ended(run_id, "merge")
    for repo in lab.repos.values():
        assert (repo / "greeting-bob.txt").read_text() == "good morning\n"
        assert git(repo, "status", "--porcelain") == ""
    lab.post(f"/runs/{run_id}/close")
    closed = lab.until(run_id, "closed")
    control = lab.daemon.request("GET", f"/forum/threads/{closed['agents'][0]['control_thread']}")
    assert control.body["thread"]["state"] == "closed"
    lab.post(f"/runs/{run_id}/cleanup")
    lab.ended(run_id, "cleanup")
    assert lab.sessions() == []
    assert list((lab.folder / ".metawsm" / "workspaces").glob("*")) == []
    assert [git(repo, "worktree", "list").count("\n") for repo in lab.repos.values()] == [0, 0]


def test_two_agents_on_one_ticket(pyz: Path, tmp_path: Path) -> None:
    """The run waits until both have their answers, and is completed when both are."""
    with Lab(tmp_path, [sys.executable, str(pyz)], {"ann": AGENT, "bob": AGENT}) as lab:
        run_id = lab.bootstrap()
        eventually(lambda: len(lab.run(run_id)["guidance"]) == 2, timeout=30, interval=0.1)
        lab.answer(run_id, "ann", "hi")
        still = lab.until(run_id, "awaiting_guidance")
        assert [asked["agent"] for asked in still["guidance"]] == ["bob"]
        lab.answer(run_id, "bob", "ho")
        done = lab.until(run_id, "completed")
        assert [agent["validation"] for agent in done["agents"]] == ["passed", "passed"]


def test_the_default_roots_in_a_repository(pyz: Path, tmp_path: Path) -> None:
    """A project that is a repository works on itself and on those beside it, its own `.metawsm/` being no obstacle."""
    app, beside = repository(tmp_path / "app"), repository(tmp_path / "beside")
    with Lab(app, [sys.executable, str(pyz)], policy={"workspace": {}}, repos=()) as lab:
        run_id = lab.bootstrap(repos=["app", "beside"])
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id, text="good evening")
        lab.until(run_id, "completed")
        lab.post(f"/runs/{run_id}/close")
        lab.until(run_id, "closed")
        assert [(repo / "greeting-bob.txt").read_text() for repo in (app, beside)] == ["good evening\n"] * 2
        assert "?? .metawsm/" in git(app, "status", "--porcelain").splitlines()
        assert git(app, "ls-files", ".metawsm") == ""
