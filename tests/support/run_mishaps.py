"""What a run that something went wrong with must be like: told, harmless to others, mendable, and removed whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.eventually import eventually
from tests.support.runs_lab import Lab, git

SLEEPER = "#!/bin/sh\nexec sleep 600\n"
REPORTER = '#!/bin/sh\nmetawsm forum signal --type completion --summary "done"\nexec sleep 600\n'
BY_HAND = {"actor_type": "operator"}


def failed(lab: Lab, run_id: str, *words: str, timeout: float = 30.0) -> Any:
    """Wait until the run has failed; the step that did so. Its error has all of the words; the daemon is well."""
    run = lab.until(run_id, "failed", timeout=timeout)
    step = next(step for step in reversed(run["steps"]) if step["state"] == "failed")
    for word in words:
        assert word in step["error"], step["error"]
        assert "Traceback" not in step["error"] and "fault of the program" not in step["error"]
    assert step["name"] in run["reason"]
    check_well(lab)
    return step


def check_well(lab: Lab) -> None:
    """The daemon is healthy: what went wrong was the run's."""
    health = lab.daemon.request("GET", "/health")
    assert health.status == 200, health.text
    loops = health.body["worker"]["loops"].values()
    assert not [loop for loop in loops if loop["restarts"] or not loop["running"]], health.text


def resumed(lab: Lab, run_id: str, *states: str) -> Any:
    """Resume the run; it comes to life, with every session there."""
    lab.post(f"/runs/{run_id}/resume")
    run = lab.until(run_id, *(states or ("running", "completed")))
    eventually(lambda: {agent["session"] for agent in run["agents"]} <= set(lab.sessions()))
    return run


def done(lab: Lab, run_id: str, action: str, **how: Any) -> Any:
    """Have an action done, and wait until each of its steps is; the run then."""
    before = len(lab.run(run_id)["steps"])
    lab.post(f"/runs/{run_id}/{action}", **how)

    def look() -> Any:
        run = lab.run(run_id)
        assert {step["state"] for step in run["steps"][before:]} == {"done"}, run["steps"][before:]
        return run

    return eventually(look, timeout=30, interval=0.1)


def cleaned(lab: Lab, run_id: str, **how: Any) -> None:
    """Clean up; nothing of the run is left but branches that were worked on, and its history."""
    done(lab, run_id, "cleanup", **how)
    left = leftovers(lab, run_id)
    assert left == [], left


def leftovers(lab: Lab, run_id: str) -> list[str]:
    """What is still there of a run: sessions, folders, worktrees that git knows, uncommitted changes, half files."""
    run, state = lab.run(run_id), lab.folder / ".metawsm"
    found = [f"session {agent['session']}" for agent in run["agents"] if agent["session"] in lab.sessions()]
    places = [Path(workspace["path"]) for workspace in run["workspaces"]] + [state / "agents" / run_id]
    found += [str(place) for place in places if place.exists()]
    for name, repo in lab.repos.items():
        if (repo / ".git" / "HEAD").exists():
            trees = git(repo, "worktree", "list", "--porcelain").splitlines()
            found += [f"{name}: {line}" for line in trees for place in places if str(place) in line]
            found += [f"{name}: {line}" for line in git(repo, "status", "--porcelain").splitlines()]
            found += [str(bench) for bench in (repo / ".git" / "metawsm").glob("merge-*")]
    return found
