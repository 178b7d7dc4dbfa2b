"""The machine under runs: a disk that is full in the middle of a plan, a clock that jumps, a machine that sleeps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.machine import Clock, filled, small_disk
from tests.support.run_mishaps import REPORTER, SLEEPER, cleaned, failed, resumed
from tests.support.runs_lab import Lab, git
from tests.support.toolbox import Toolbox

HOUR = 3600


@pytest.fixture
def command(pyz: Path) -> list[str]:
    """The built file."""
    return [sys.executable, str(pyz)]


def test_no_room_for_a_workspace(command: list[str], tmp_path: Path) -> None:
    """Git's words; nothing half made stays behind; cleanup works on the full disk, resume once there is room."""
    with small_disk(tmp_path / "small", "8m"):
        root = {"root": str(tmp_path / "small" / "workspaces"), "repo_roots": ["../repos"]}
        with Lab(tmp_path, command, agents={"bob": REPORTER}, policy={"workspace": root}) as lab:
            for repo in lab.repos.values():
                (repo / "big.bin").write_bytes(bytes(range(256)) * 8000)
                git(repo, "add", "--all")
                git(repo, "commit", "-qm", "big")
            other = lab.start(tickets=["MET-2"])
            lab.until(other, "completed")
            with filled(tmp_path / "small"):
                run_id = lab.start()
                failed(lab, run_id, "git worktree failed with exit code", "No space left on device")
                cleaned(lab, run_id)
                lab.post(f"/runs/{run_id}/resume")
                failed(lab, run_id, "No space left on device")
            assert (lab.run(other)["state"], lab.checkouts(other)[0].is_dir()) == ("completed", True)
            resumed(lab, run_id, "completed")
            assert [git(place, "status", "--porcelain") for place in lab.checkouts(run_id)] == ["", ""]
            cleaned(lab, run_id)


def test_no_room_for_the_documents(command: list[str], tmp_path: Path) -> None:
    """Full between the checkouts and the documents: told, no half page, and completed when there is room."""
    tools = Toolbox(tmp_path / "programs")
    with small_disk(tmp_path / "small", "2m"):
        root = {"root": str(tmp_path / "small" / "workspaces"), "repo_roots": ["../repos"]}
        with Lab(tmp_path, command, agents={"bob": REPORTER}, policy={"workspace": root}, env=tools.env) as lab:
            run_id = lab.start(paused=True)
            fill = f"dd if=/dev/zero of={tmp_path}/small/filler bs=4k 2>/dev/null"
            last = f'case "$*" in *symbolic-ref*) {fill};; esac; exec $REAL "$@"'  # the last thing asked of a new one
            with tools.instead("git", last):
                lab.post(f"/runs/{run_id}/resume")
                step = failed(lab, run_id, "cannot be", "No space left on device")
            assert step["kind"] == "prepare_docs"
            assert not [p for p in lab.checkouts(run_id)[0].rglob("*.md") if p.name != "README.md"]
            (tmp_path / "small" / "filler").unlink()
            resumed(lab, run_id, "completed")
            cleaned(lab, run_id)


@pytest.fixture
def cramped(command: list[str], tmp_path: Path) -> Iterator[tuple[Lab, Toolbox]]:
    """A project whose database lies on a disk of 400 MB, its workspaces elsewhere, and its programs.

    What is accepted until the disk is full took 163 MB once it was worked off: database, log, and Redis's file.
    """
    tools = Toolbox(tmp_path / "programs")
    with small_disk(tmp_path / ".metawsm", "400m"):
        root = {"root": str(tmp_path / "workspaces"), "repo_roots": ["../repos"]}
        with Lab(tmp_path, command, agents={"bob": REPORTER}, policy={"workspace": root}, env=tools.env) as lab:
            yield lab, tools


def test_no_room_for_the_database(cramped: tuple[Lab, Toolbox], tmp_path: Path) -> None:
    """Full while a step is under way: its outcome waits, health says so; with room the run goes on by itself."""
    lab, tools = cramped
    go = tmp_path / "go"
    with tools.instead(
        "git", f'case "$*" in *"worktree add"*) while [ ! -e {go} ]; do sleep 0.05; done;; esac; exec $REAL "$@"'
    ):
        run_id = lab.start()
        eventually(lambda: busy(lab, run_id) == "create_workspace", timeout=20)
        with filled(tmp_path / ".metawsm"):
            eventually(lambda: refused(lab), timeout=30)
            go.touch()
            eventually(lambda: lab.daemon.request("GET", "/health").status == 503, timeout=20)
            eventually(lambda: "became of a job waits to be stored" in lab.daemon.log.read_text(), timeout=20)
            assert busy(lab, run_id) == "create_workspace"
        lab.until(run_id, "completed", timeout=60)
    starts = [step["attempts"] for step in lab.run(run_id)["steps"]]
    assert all(attempts <= 2 for attempts in starts), starts
    eventually(lambda: lab.daemon.request("GET", "/health").status == 200, timeout=20)
    cleaned(lab, run_id)


def busy(lab: Lab, run_id: str) -> str | None:
    """The kind of the step under way."""
    return next((step["kind"] for step in lab.run(run_id)["steps"] if step["state"] == "running"), None)


def refused(lab: Lab) -> bool:
    """Whether nothing can be stored any more, large or small."""

    def is_refused(size: int) -> bool:
        ask = {"ticket": "MET-9", "title": "t", "body": "x" * size, "actor_type": "agent"}
        return lab.daemon.request("POST", "/forum/threads", ask).status not in (201, 202)

    return is_refused(60_000) and is_refused(10)


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
def test_a_clock_that_jumps(command: list[str], tmp_path: Path, jump: int) -> None:
    """As after a sleep of the machine: nobody was silent for that long, so nobody is stalled; answers still arrive."""
    clock = Clock(tmp_path)
    limits = {"idle_seconds": 1800, "activity_stalled_seconds": 2400, "progress_stalled_seconds": 3000}
    policy: dict[str, Any] = {"health": {"check_seconds": 1, "progress_check_seconds": 1} | limits}
    deaf = f'#!/bin/sh\nwhile read -r line; do echo "$line" >>{tmp_path}/lines; done\n'
    with Lab(tmp_path, command, {"ann": SLEEPER, "bob": deaf}, policy, env=clock.environment) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        eventually(lambda: lab.run(run_id)["agents"][0].get("last_progress_at"), timeout=15)
        looks = len(told(lab))
        clock.set(jump)
        eventually(lambda: "the clock moved by" in lab.daemon.log.read_text(), timeout=15)
        body = {"run_id": run_id, "ticket": "MET-1", "agent_name": "bob"}
        for kind, word in (("guidance_request", "question"), ("guidance_answer", "answer")):
            payload = {"payload": {"control_type": kind, word: "v2"}, "actor_type": "human"}
            assert lab.daemon.request("POST", "/forum/control/signal", body | payload).status == 200
        assert eventually((tmp_path / "lines").read_text, timeout=20) == "metawsm forum inbox\n"
        assert [agent["state"] for agent in lab.run(run_id)["agents"]] == ["running", "running"]
        assert len(told(lab)) == looks


def told(lab: Lab) -> list[Any]:
    """Every change of an agent's state so far."""
    rows = lab.rows("SELECT payload_json FROM forum_events WHERE event_type = 'agent.state.changed'")
    return [json.loads(payload) for (payload,) in rows]
