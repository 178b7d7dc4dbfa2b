"""Programs that are missing or fail under a run: the step says it in the program's words, and resume completes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import outside_tools
from tests.support.eventually import eventually
from tests.support.run_mishaps import REPORTER, SLEEPER, check_well, cleaned, failed, resumed
from tests.support.runs_lab import Lab, git
from tests.support.toolbox import Toolbox

Start = Callable[..., Lab]


@pytest.fixture
def tools(tmp_path: Path) -> Toolbox:
    """The programs of the daemon."""
    return Toolbox(tmp_path / "programs")


@pytest.fixture
def start_lab(tmp_path: Path, tools: Toolbox) -> Iterator[Start]:
    """Start the project, once, with a policy."""
    labs: list[Lab] = []

    def start(script: str = SLEEPER, env: Mapping[str, str] | None = None, **policy: Any) -> Lab:
        made = Lab(tmp_path, agents={"bob": script}, policy=policy, env=tools.env | dict(env or {}))
        labs.append(made)
        return made

    yield start
    for lab in labs:
        lab.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("program", "words"),
    [("git", "git is not installed or not on PATH: install git"), ("tmux", "tmux is not installed or not on PATH")],
)
def test_a_program_is_missing(start_lab: Start, tools: Toolbox, program: str, words: str) -> None:
    """Found out before anything is made; a run that began before goes on; once installed, resume completes it."""
    lab = start_lab()
    other = lab.start(tickets=["MET-2"])
    lab.until(other, "running")
    with tools.without(program):
        run_id = lab.start()
        step = failed(lab, run_id, words)
        assert (step["kind"], step["attempts"]) == ("find_repositories", 2)
        cleaned(lab, run_id)
    resumed(lab, run_id)
    assert lab.run(other)["state"] == "running"
    cleaned(lab, run_id)


def test_git_goes_missing_in_the_middle(start_lab: Start, tools: Toolbox) -> None:
    """Between two steps; what was made stays, is not made twice, and the run ends as if nothing had been."""
    lab = start_lab(REPORTER)
    with tools.instead("git", 'case "$*" in *"worktree add"*) rm "$0";; esac; exec $REAL "$@"'):
        run_id = lab.start()
        failed(lab, run_id, "git is not installed or not on PATH")
        tools.install("git", "exit 1")  # for the block's end
    resumed(lab, run_id, "completed")
    assert [git(place, "log", "--format=%s").splitlines().count("begin") for place in lab.checkouts(run_id)] == [1, 1]
    cleaned(lab, run_id)


@pytest.mark.parametrize("program", ["git", "tmux"])
def test_a_program_that_crashes(start_lab: Start, tools: Toolbox, program: str) -> None:
    """Ended by a signal: said so, tried again, and resumed."""
    lab = start_lab()
    with tools.instead(program, "kill -SEGV $$"):
        run_id = lab.start()
        failed(lab, run_id, f"{program}", "was ended by signal 11")
    resumed(lab, run_id)
    cleaned(lab, run_id)


def test_a_program_that_fails_once(start_lab: Start, tools: Toolbox, tmp_path: Path) -> None:
    """The step is tried again by itself, and says how often."""
    lab = start_lab()
    once = f'case "$*" in *"worktree add"*) mkdir {tmp_path}/once 2>/dev/null && exit 7;; esac; exec $REAL "$@"'
    with tools.instead("git", once):
        run_id = lab.start()
        run = lab.until(run_id, "running")
    assert [(s["state"], s["attempts"]) for s in run["steps"] if s["kind"] == "create_workspace"] == [("done", 2)]
    cleaned(lab, run_id)


def test_hostile_words_of_a_program_are_tamed(start_lab: Start, tools: Toolbox) -> None:
    """Escape sequences and megabytes of a program's words reach neither the terminal nor the database."""
    lab = start_lab()
    noise = r"""case "$*" in *worktree*add*) head -c 3000000 /dev/zero | tr '\0' x >&2
        printf '\033]0;owned\007\033[2J\302\233K%s' 'fatal: $(id) is bad' >&2; exit 128;; esac; exec $REAL "$@" """
    with tools.instead("git", noise):
        run_id = lab.start()
        step = failed(lab, run_id, "fatal: $(id) is bad")
        shown = lab.metawsm("status", "--run-id", run_id).stdout
    assert len(step["error"]) <= 4096 and not {"\x1b", "\x07", "\x9b"} & set(step["error"] + shown)
    assert "fatal: $(id) is bad" in shown


def test_wsm_knows_nothing(start_lab: Start) -> None:
    """No file of it is there: the step says what makes it know the repositories."""
    lab = start_lab(workspace={"repo_roots": ["../repos"], "tool": "wsm"}, env={"XDG_CONFIG_HOME": "/nonexistent"})
    run_id = lab.start()
    failed(lab, run_id, "tell wsm of them with `wsm discover`")
    cleaned(lab, run_id)


def with_wsm(lab_of: Start, tools: Toolbox, tmp_path: Path) -> tuple[Lab, Path]:
    """A project whose workspaces are made by wsm, and the folder of its files."""
    config = tmp_path / "config"
    state = config / "workspace-manager"
    state.mkdir(parents=True)
    tools.install("wsm", outside_tools.call_of("wsm"))
    policy = {"repo_roots": ["../repos"], "tool": "wsm"}
    lab = lab_of(workspace=policy, env={"XDG_CONFIG_HOME": str(config), outside_tools.STATE: str(state)})
    known = [{"name": name, "path": str(path)} for name, path in lab.repos.items()]
    (state / "registry.json").write_text(json.dumps({"repositories": known}))
    return lab, state


def test_wsm_fails_and_is_mended(start_lab: Start, tools: Toolbox, tmp_path: Path) -> None:
    """Its words are told, exit code 0 without a workspace is a failure, and it is used when it works again."""
    lab, state = with_wsm(start_lab, tools, tmp_path)
    outside_tools.will(state, fail="\x1b[31m✗ Error: no space for you\x1b[0m")
    run_id = lab.start()
    failed(lab, run_id, "wsm create failed with exit code 1: ✗ Error: no space for you")
    outside_tools.will(state, say="Operation cancelled.")
    lab.post(f"/runs/{run_id}/resume")
    eventually(lambda: "Operation cancelled" in (lab.run(run_id).get("reason") or ""), timeout=20)
    with tools.without("wsm"):
        lab.until(run_id, "failed")
        lab.post(f"/runs/{run_id}/resume")
        eventually(lambda: "wsm is not installed" in (lab.run(run_id).get("reason") or ""), timeout=20)
        assert "set workspace.tool to builtin" in lab.run(run_id)["reason"]
    outside_tools.will(state)
    lab.until(run_id, "failed")
    resumed(lab, run_id)
    assert [Path(w["path"]) for w in lab.run(run_id)["workspaces"]] == [
        state / "made" / lab.run(run_id)["workspaces"][0]["name"]
    ]
    outside_tools.will(state, fail="✗ Error: locked")
    lab.post(f"/runs/{run_id}/cleanup")
    failed(lab, run_id, "✗ Error: locked")
    outside_tools.will(state)
    cleaned(lab, run_id)
    check_well(lab)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"fail": "no space left on device", "after": "branch"}, "exit code 1: no space left on device"),
        ({"after": "worktree"}, "was ended by signal 9"),
    ],
    ids=["fails", "killed"],
)
def test_wsm_is_cut_off(
    start_lab: Start, tools: Toolbox, tmp_path: Path, behaviour: dict[str, str], words: str
) -> None:
    """In the middle: its words and what helps are told; cleanup removes what it made, and resume makes it whole."""
    lab, state = with_wsm(start_lab, tools, tmp_path)
    outside_tools.will(state, **behaviour)
    run_id = lab.start()
    step = failed(lab, run_id, words, "It left branch", "`metawsm.pyz cleanup` removes what was made")
    assert step["attempts"] == 1
    cleaned(lab, run_id)
    for repo in lab.repos.values():
        assert git(repo, "worktree", "list").count("\n") == 0
        assert git(repo, "branch", "--list", "task/*") == ""
    outside_tools.will(state)
    resumed(lab, run_id)
    cleaned(lab, run_id)


def test_docmgr_fails_and_is_mended(start_lab: Start, tools: Toolbox, tmp_path: Path) -> None:
    """Missing, then failing, then answering nonsense; with a docmgr that works, resume and close complete the run."""
    state = tmp_path / "docmgr"
    state.mkdir()
    lab = start_lab(REPORTER, env={outside_tools.STATE: str(state)}, docs={"tool": "docmgr"})
    run_id = lab.start()
    failed(lab, run_id, "docmgr is not installed", "set docs.tool to builtin in the policy")
    tools.install("docmgr", outside_tools.call_of("docmgr"))
    for behaviour, words in (
        ({"fail": "Error: vocabulary is broken"}, "Error: vocabulary is broken"),
        ({"say": "[not json"}, "did not answer in JSON"),
        ({"say": json.dumps([{"ticket": "MET-1", "path": "../../elsewhere"}])}, "is not below"),
    ):
        outside_tools.will(state, **behaviour)
        lab.post(f"/runs/{run_id}/resume")
        eventually(lambda: words in (lab.run(run_id).get("reason") or ""), timeout=20)  # noqa: B023
        lab.until(run_id, "failed")
    outside_tools.will(state)
    resumed(lab, run_id, "completed")
    outside_tools.will(state, fail="Error: index is locked")
    lab.post(f"/runs/{run_id}/close")
    eventually(lambda: "Error: index is locked" in (lab.run(run_id).get("reason") or ""), timeout=20)
    assert lab.run(run_id)["state"] == "completed"
    outside_tools.will(state)
    lab.post(f"/runs/{run_id}/close")
    lab.until(run_id, "closed")
    cleaned(lab, run_id)


def test_codex_is_missing(start_lab: Start, tools: Toolbox, tmp_path: Path) -> None:
    """The agent's end is told at once with what its pane shows; once codex is there, resume hands it its prompt."""
    profile = {"name": "p", "runner": "codex", "base_prompt": "Be brief."}
    lab = start_lab(agent_profiles=[profile], agents=[{"name": "bob", "profile": "p"}])
    run_id = lab.start()
    failed(lab, run_id, "the program of agent bob ended at once with exit code 127", "codex", "not found")
    tools.install("codex", f'printf "%s\\n" "$@" >{tmp_path}/arguments\nexec sleep 600')
    resumed(lab, run_id)
    *flags, prompt = eventually((tmp_path / "arguments").read_text).partition("Be brief.")[::2]
    assert flags == ["exec\n--skip-git-repo-check\n"] and "metawsm forum signal --type completion" in prompt
    cleaned(lab, run_id)
