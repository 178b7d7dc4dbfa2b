"""The daemon is killed in the middle of each phase of a run and picks up again: nothing lost, nothing twice."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import SLEEPER
from tests.support.runs_lab import Lab, git, slow_programs

# It notes each of its starts, and goes on asking and reporting through a daemon that is away; a repeat has the same id.
PATIENT = r"""#!/bin/sh
set -eu
echo "$METAWSM_ROUND" >>"$METAWSM_NOTES"
me=$METAWSM_RUN_ID-$METAWSM_AGENT-$METAWSM_ROUND
tell() { id=$me-$1; shift; until metawsm forum signal --command-id "$id" "$@"; do sleep 0.2; done; }
tell ask --type guidance_request --question "Which greeting?"
until answer=$(metawsm forum wait); do sleep 0.2; done
for repo in ../*/; do
    printf '%s\n' "$answer" >"$repo/greeting-$METAWSM_ROUND.txt"
    git -C "$repo" add --all
    git -C "$repo" -c user.name=bob -c user.email=agent@example.invalid commit -qm "greeting $METAWSM_ROUND"
done
tell done --type completion
tell valid --type validation --status passed --done-criteria "each repository has a greeting"
"""


@pytest.fixture
def lab(pyz: Path, tmp_path: Path) -> Iterator[Lab]:
    """A project whose git and tmux take their time, so that a kill meets them at work."""
    agent = PATIENT.replace("$METAWSM_NOTES", str(tmp_path / "notes"))
    path = slow_programs(tmp_path / "slow", 0.15)
    with Lab(tmp_path, [sys.executable, str(pyz)], {"bob": agent}, env={"PATH": path}) as made:
        yield made


def killed(lab: Lab, run_id: str, kind: str, after: float) -> None:
    """Kill the daemon while a job of that kind is under way, and start it again."""

    def at_work() -> bool:
        return any(step["kind"] == kind and step["state"] == "running" for step in lab.run(run_id)["steps"])

    eventually(at_work, timeout=30, interval=0.005)
    time.sleep(after)
    lab.daemon.kill()
    lab.daemon.start()


def starts(lab: Lab) -> list[str]:
    """The rounds in which the agent's program was started, one line for each start."""
    return (lab.folder / "notes").read_text().split()


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        *(
            pytest.param(kind, after, marks=pytest.mark.faults)
            for kind in ("find_repositories", "create_workspace", "prepare_docs", "start_session")
            for after in (0.0, 0.1, 0.25)
        ),
        ("start_session", 0.55),  # its session has begun, and nobody has recorded that
    ],
)
def test_killed_while_it_begins(lab: Lab, kind: str, after: float) -> None:
    """Each step is inspected, then done or recorded; the agent's program is started once."""
    run_id = lab.bootstrap()
    killed(lab, run_id, kind, after)
    lab.until(run_id, "awaiting_guidance", timeout=60)
    assert starts(lab) == ["1"]
    for checkout in lab.checkouts(run_id):
        assert git(checkout, "log", "--format=%s").splitlines().count("begin") == 1
    home = lab.checkouts(run_id)[0]
    assert [line for line in git(home, "log", "--format=%s").splitlines() if line.startswith("MET-1")] == [
        f"MET-1: ticket documents of run {run_id}"
    ]


@pytest.fixture
def slow(pyz: Path, tmp_path: Path) -> Iterator[Lab]:
    """A project whose repositories take seconds to check out."""
    with Lab(tmp_path, [sys.executable, str(pyz)], {"bob": SLEEPER}) as made:
        for repo in made.repos.values():
            (repo / ".gitattributes").write_text("*.txt filter=slow\n")
            for name in ("a", "b", "c"):
                (repo / f"{name}.txt").write_text(name)
            git(repo, "add", "--all")
            git(repo, "commit", "-qm", "slow")
            git(repo, "config", "filter.slow.smudge", 'sh -c "sleep 0.5; cat"')
        yield made


def at_work_in(folder: Path) -> list[str]:
    """Processes of git that make a worktree there."""
    lines = subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.startswith("git ") and "worktree add" in line and str(folder) in line]


@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize("after", [0.3, pytest.param(1.0, marks=pytest.mark.faults), 2.5])
def test_a_git_that_goes_on(slow: Lab, how: str, after: float) -> None:
    """A daemon that is stopped takes its git along; one that is killed leaves it, and the next one waits for it.

    The git that was left removes its worktree when it fails: by then it would be the one that the next daemon has made.
    """
    run_id = slow.start()
    eventually(lambda: at_work_in(slow.folder), timeout=20)
    time.sleep(after)
    getattr(slow.daemon, how)()
    assert bool(at_work_in(slow.folder)) == (how == "kill")
    slow.daemon.start()
    run = slow.until(run_id, "running", timeout=60)
    eventually(lambda: not at_work_in(slow.folder), timeout=20)
    assert {step["attempts"] for step in run["steps"] if step["kind"] == "create_workspace"} <= {1, 2}
    for place in slow.checkouts(run_id):
        assert git(place, "status", "--porcelain") == "" and (place / "c.txt").read_text() == "c"


@pytest.mark.faults
def test_killed_while_the_agent_waits_and_while_it_is_answered(lab: Lab) -> None:
    """Whoever waits goes on waiting, and the answer given to the next daemon reaches them."""
    run_id = lab.bootstrap()
    lab.until(run_id, "awaiting_guidance")
    lab.daemon.kill()
    lab.daemon.start()
    assert lab.run(run_id)["state"] == "awaiting_guidance"
    lab.answer(run_id)
    lab.daemon.kill()
    lab.daemon.start()
    done = lab.until(run_id, "completed", timeout=60)
    assert starts(lab) == ["1"]
    assert done["agents"][0]["validation"] == "passed"


ACTIONS = (
    ("iterate", "write_feedback"), ("iterate", "start_session"), ("merge", "merge_branch"), ("close", "check_gates"),
    ("close", "close_docs"), ("close", "merge_branch"), ("cleanup", "stop_session"), ("cleanup", "remove_workspace"),
    ("restart", "start_session"), ("stop", "stop_session"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("action", "kind", "after"),
    [
        *(pytest.param(*place, after, marks=pytest.mark.faults) for place in ACTIONS for after in (0.0, 0.1, 0.25)),
        pytest.param("iterate", "write_feedback", 0.5, marks=pytest.mark.faults),
        ("close", "close_docs", 0.5),
    ],
)
def test_killed_in_an_action(lab: Lab, action: str, kind: str, after: float) -> None:
    """The action ends as it would have: one entry of feedback, one merge, one closing, nothing left behind."""
    run_id = lab.bootstrap()
    lab.until(run_id, "awaiting_guidance")
    lab.answer(run_id)
    lab.until(run_id, "completed")
    lab.post(f"/runs/{run_id}/{action}", **({"feedback": "Greet louder."} if action == "iterate" else {}))
    killed(lab, run_id, kind, after)
    CHECKS[action](lab, run_id)


def _iterated(lab: Lab, run_id: str) -> None:
    lab.until(run_id, "awaiting_guidance", timeout=60)
    pages = list(lab.checkouts(run_id)[0].glob("ttmp/**/*feedback*.md"))
    assert [page.read_text().count("Greet louder.") for page in pages] == [1]
    assert starts(lab) == ["1", "2"]
    lab.answer(run_id)
    lab.until(run_id, "completed", timeout=60)


def _merged(lab: Lab, run_id: str) -> None:
    lab.ended(run_id, "merge")
    for repo in lab.repos.values():
        assert len(git(repo, "log", "--merges", "--format=%s").splitlines()) == 1
        assert (repo / "greeting-1.txt").exists()


def _closed(lab: Lab, run_id: str) -> None:
    lab.until(run_id, "closed", timeout=60)
    home = lab.repos["alpha"]
    changelog = next(home.glob("ttmp/**/changelog.md")).read_text()
    assert changelog.count(f"Closed by metawsm run {run_id}") == 1
    assert all((repo / "greeting-1.txt").exists() for repo in lab.repos.values())


def _cleaned(lab: Lab, run_id: str) -> None:
    lab.ended(run_id, "cleanup")
    assert lab.sessions() == []
    assert list((lab.folder / ".metawsm" / "workspaces").glob("*")) == []
    assert [git(repo, "worktree", "list").count("\n") for repo in lab.repos.values()] == [0, 0]


def _restarted(lab: Lab, run_id: str) -> None:
    lab.until(run_id, "awaiting_guidance", timeout=60)
    assert starts(lab) == ["1", "2"]
    assert len(lab.sessions()) == 1
    lab.answer(run_id)
    lab.until(run_id, "completed", timeout=60)


def _stopped(lab: Lab, run_id: str) -> None:
    lab.until(run_id, "stopped", timeout=60)
    assert lab.sessions() == []
    assert [agent["state"] for agent in lab.run(run_id)["agents"]] == ["stopped"]


CHECKS: dict[str, Any] = {
    "iterate": _iterated, "merge": _merged, "close": _closed, "cleanup": _cleaned, "restart": _restarted,
    "stop": _stopped,
}  # fmt: skip


@pytest.mark.faults
@pytest.mark.parametrize("after", [0.0, 0.1, 0.25, 0.55])
def test_killed_while_it_resumes(lab: Lab, after: float) -> None:
    """An agent that was stopped at its question is begun once more, in its round, and its question is answered once."""
    run_id = lab.bootstrap()
    lab.until(run_id, "awaiting_guidance")
    lab.post(f"/runs/{run_id}/stop")
    lab.until(run_id, "stopped")
    begun = sum(step["kind"] == "start_session" for step in lab.run(run_id)["steps"])
    lab.post(f"/runs/{run_id}/resume")
    killed(lab, run_id, "start_session", after)
    lab.until(run_id, "awaiting_guidance", timeout=60)
    eventually(lambda: starts(lab) == ["1", "1"], timeout=20)
    assert sum(step["kind"] == "start_session" for step in lab.run(run_id)["steps"]) == begun + 1
    assert len(lab.sessions()) == 1
    lab.answer(run_id)
    lab.until(run_id, "completed", timeout=60)
    assert starts(lab) == ["1", "1"]


@pytest.mark.faults
@pytest.mark.parametrize("after", [0.0, 0.1, 0.25, 0.4])
def test_killed_while_it_seeds(pyz: Path, tmp_path: Path, after: float) -> None:
    """The copy of the documents is there whole, nothing is left beside it, and each commit is made once."""
    command, env = [sys.executable, str(pyz)], {"PATH": slow_programs(tmp_path / "slow", 0.15)}
    policy = {"docs": {"seed_mode": "copy_from_repo_on_start"}}
    with Lab(tmp_path, command, {"bob": SLEEPER}, policy, env=env) as lab:
        folder = lab.repos["alpha"] / "ttmp" / "MET-1--a-report"
        (folder / "notes").mkdir(parents=True)
        (folder / "index.md").write_text("---\nTitle: A report\nTicket: MET-1\nStatus: active\n---\n\n# A report\n")
        for number in range(200):
            (folder / "notes" / f"{number}.md").write_text(f"note {number}\n")
        run_id = lab.start()
        killed(lab, run_id, "seed_docs", after)
        lab.until(run_id, "running", timeout=60)
        copy = lab.checkouts(run_id)[0] / "ttmp" / "MET-1--a-report"
        assert [(copy / "notes" / f"{n}.md").read_text() for n in range(200)] == [f"note {n}\n" for n in range(200)]
        assert [path.name for path in copy.parent.iterdir()] == [copy.name]
        assert git(copy, "status", "--porcelain") == ""
        assert git(copy, "log", "--format=%s").splitlines().count("MET-1: ticket documents") == 1


# It reads what is typed, and its inbox when the line says so, from a daemon that may be away just then.
DEAF = r"""#!/bin/sh
metawsm forum signal --type guidance_request --question "v1 or v2?" >/dev/null
while read -r line; do
    case $line in "metawsm forum inbox") until metawsm forum inbox >>INBOX; do sleep 0.2; done ;; esac
done
"""


@pytest.mark.faults
@pytest.mark.parametrize("after", [0.0, 0.1, 0.25, 0.5])
def test_killed_while_an_answer_is_brought(pyz: Path, tmp_path: Path, after: float) -> None:
    """The next daemon brings it, if the agent has not read it by then: it is there, read, with one receipt."""
    command, env = [sys.executable, str(pyz)], {"PATH": slow_programs(tmp_path / "slow", 0.15)}
    script = DEAF.replace("INBOX", str(tmp_path / "inbox"))
    profile = {
        "name": "p-bob", "runner": "shell", "delivery": "line",
        "runner_options": {"command": f"exec '{tmp_path}/agent-bob'"},
    }  # fmt: skip
    with Lab(tmp_path, command, {"bob": script}, {"agent_profiles": [profile]}, env=env) as lab:
        run_id = lab.start()
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id, text="use v2")
        at_work = "SELECT count(*) FROM jobs WHERE kind = 'deliver_answer' AND status = 'running'"
        eventually(lambda: lab.rows(at_work) == [(1,)], timeout=30, interval=0.005)
        time.sleep(after)
        lab.daemon.kill()
        lab.daemon.start()
        jobs = "SELECT status FROM jobs WHERE kind = 'deliver_answer' ORDER BY id"  # the second one reminds, much later
        eventually(lambda: lab.rows(jobs)[0] == ("done",), timeout=60, interval=0.2)
        thread = lab.run(run_id)["agents"][0]["control_thread"]

        def receipts() -> list[Any]:
            posts = lab.daemon.request("GET", f"/forum/threads/{thread}").body["posts"]
            found = [receipt for post in posts for receipt in post.get("receipts", [])]
            assert [bool(receipt.get("read_at")) for receipt in found] == [True]
            return found

        eventually(receipts, timeout=20, interval=0.2)
        assert "use v2" in (tmp_path / "inbox").read_text()
