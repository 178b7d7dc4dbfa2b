"""The port Workspaces through a program named `wsm`.

The program is a stand-in for that outside tool (not for anything of ours): it cannot be installed where tests run. It
behaves as the tool is documented to, over the real git (`tests/support/outside_tools.py`).
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metawsm.domain.errors import Obstructed, ProgramFailed, ProgramMissing
from metawsm.effects.git import GitProgram
from metawsm.effects.wsm import WsmWorkspaces
from tests.support import outside_tools, repositories
from tests.support.repositories import clone, commit, git, repository


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The repositories `api` and `web`, which wsm knows."""
    repositories.own_settings(monkeypatch, tmp_path)
    for name in ("api", "web"):
        repository(tmp_path / "code" / name)
    return tmp_path / "code"


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: Path) -> Path:
    """Where wsm keeps its files; the program is on PATH."""
    state = outside_tools.install(monkeypatch, tmp_path, "wsm")
    _know(state, *code.iterdir())
    return state


@pytest.fixture
def workspaces(state: Path) -> WsmWorkspaces:
    """The adapter over those files."""
    return WsmWorkspaces(GitProgram(), state)


def _know(state: Path, *mains: Path) -> None:
    known = [{"name": main.name, "path": str(main)} for main in mains]
    (state / "registry.json").write_text(json.dumps({"repositories": known}))


def test_a_workspace_is_made_once(workspaces: WsmWorkspaces, state: Path) -> None:
    """Its path is the one that wsm wrote down."""
    assert workspaces.find("ws") is None
    made = workspaces.create("ws", ["api", "web"], "task/ws", "main")
    assert made.path == state / "made" / "ws"
    assert made.checkouts == {name: made.path / name for name in ("api", "web")}
    assert workspaces.create("ws", ["api", "web"], "task/ws", "main") == made == workspaces.find("ws")
    assert outside_tools.calls(state) == [
        ["create", "ws", "--repos", "api,web", "--branch", "task/ws", "--base-branch", "main"]
    ]


def test_it_begins_at_the_newest_base(workspaces: WsmWorkspaces, state: Path, code: Path, tmp_path: Path) -> None:
    """wsm itself does not fetch."""
    mine = clone(code / "api", tmp_path / "mine" / "api")
    _know(state, mine)
    newest = commit(code / "api", "a", "newer")
    made = workspaces.create("ws", ["api"], "task/ws", "main")
    assert git(made.path / "api", "rev-parse", "HEAD") == newest


def test_what_it_would_ask_about_is_refused_before(workspaces: WsmWorkspaces, state: Path, code: Path) -> None:
    """A branch that exists; a repository that it does not know; a workspace with other contents."""
    git(code / "web", "branch", "task/ws")
    with pytest.raises(Obstructed, match=f'Branch "task/ws" exists in {code / "web"}'):
        workspaces.create("ws", ["api", "web"], "task/ws", "main")
    with pytest.raises(Obstructed, match=r"repositories not found: other: .*`wsm discover`"):
        workspaces.create("ws", ["api", "other"], "task/x", "main")
    assert not (state / "calls").exists()
    workspaces.create("ws", ["api"], "task/x", "main")
    with pytest.raises(Obstructed, match='is on branch "task/x", not "task/y"'):
        workspaces.create("ws", ["api"], "task/y", "main")
    with pytest.raises(Obstructed, match="lacks web"):
        workspaces.create("ws", ["api", "web"], "task/x", "main")


def test_a_fork_names_its_source(workspaces: WsmWorkspaces, state: Path) -> None:
    """It never depends on the folder it is called in."""
    made = workspaces.create("ws", ["api"], "task/ws", "main")
    newest = commit(made.path / "api", "work", "done\n")
    fork = workspaces.fork("second", "ws", "task/second")
    assert workspaces.fork("second", "ws", "task/second") == fork
    assert git(fork.path / "api", "rev-parse", "HEAD") == newest
    assert outside_tools.calls(state)[-1] == ["fork", "second", "ws", "--branch", "task/second"]
    with pytest.raises(Obstructed, match="no workspace gone to fork"):
        workspaces.fork("third", "gone", "task/third")


def test_an_exit_code_of_0_is_not_believed(workspaces: WsmWorkspaces, state: Path) -> None:
    """A question that nobody answered ends with 0 and the word cancelled."""
    outside_tools.will(state, say="\033[33mOperation cancelled.\033[0m")
    with pytest.raises(ProgramFailed, match=r"wsm create made no workspace ws: Operation cancelled\.$"):
        workspaces.create("ws", ["api"], "task/ws", "main")
    outside_tools.will(state)
    workspaces.create("ws", ["api"], "task/ws", "main")
    outside_tools.will(state, say="Operation cancelled.")
    with pytest.raises(ProgramFailed, match="wsm did not delete workspace ws: Operation cancelled"):
        workspaces.delete("ws")


def test_its_words_are_told_when_it_fails(workspaces: WsmWorkspaces, state: Path) -> None:
    """Without its colours."""
    outside_tools.will(state, fail="\033[31m\u2717 Error:\033[0m merge conflict detected")
    with pytest.raises(
        ProgramFailed, match=r"^wsm create failed with exit code 1: \u2717 Error: merge conflict detected$"
    ):
        workspaces.create("ws", ["api"], "task/ws", "main")


def test_words_are_told_with_what_it_left(workspaces: WsmWorkspaces, state: Path, code: Path) -> None:
    """It failed in the middle: a repeat could only stumble over the branch, and would lose the words."""
    workspaces.create("source", ["api"], "task/source", "main")
    outside_tools.will(state, fail="no space left on device", after="branch")
    left = rf'exit code 1: no space left on device\. It left branch "task/ws" in {code / "api"}: .*cleanup.*resume'
    with pytest.raises(Obstructed, match=left):
        workspaces.create("ws", ["api", "web"], "task/ws", "main")
    git(code / "api", "branch", "-D", "task/ws")
    with pytest.raises(Obstructed, match=left):
        workspaces.fork("ws", "source", "task/ws")
    with pytest.raises(
        Obstructed, match=r'Branch "task/ws" exists in .*if a wsm that was cut off has left it, .*clean'
    ):
        workspaces.create("ws", ["api", "web"], "task/ws", "main")


def test_what_a_killed_wsm_left_is_deleted(workspaces: WsmWorkspaces, state: Path, code: Path) -> None:
    """By the rules of all work; a worktree on the branch that is somewhere else is a person's."""
    mains = {name: code / name for name in ("api", "web")}
    outside_tools.will(state, after="worktree")
    with pytest.raises(Obstructed, match=r"was ended by signal 9: .* It left branch"):
        workspaces.create("ws", list(mains), "task/ws", "main")
    git(code / "web", "worktree", "add", "-b", "task/ws", str(state / "mine" / "web"))
    place = state / "made" / "ws" / "api"
    (place / "new").write_text("x")
    with pytest.raises(Obstructed, match=r"api has uncommitted changes: new\.$"):
        workspaces.delete("ws", mains=mains, branch="task/ws")
    workspaces.delete("ws", mains=mains, branch="task/other", force=True)
    assert (place / "new").exists()
    for _ in range(2):
        workspaces.delete("ws", mains=mains, branch="task/ws", force=True)
    assert not place.parent.exists()
    assert [len(GitProgram().worktrees(main)) for main in mains.values()] == [1, 2]
    assert git(code / "api", "branch", "--list", "task/ws") != ""


def test_links_and_names_lead_nowhere_else(workspaces: WsmWorkspaces, state: Path) -> None:
    """Neither is followed, and nothing is called that would."""
    other = workspaces.create("other", ["api"], "task/other", "main")
    made = workspaces.create("ws", ["web"], "task/ws", "main")
    file = state / "workspaces" / "ws.json"
    told = json.loads(file.read_text())
    count = len(outside_tools.calls(state))
    for name in ("../other/api", "..", str(other.checkouts["api"])):
        file.write_text(json.dumps(told | {"repositories": [{"name": name, "path": "x"}]}))
        with pytest.raises(Obstructed, match="is no name for a folder in workspace"):
            workspaces.delete("ws", force=True)
    file.write_text(json.dumps(told | {"repositories": [{"name": "api", "path": "x"}]}))
    (made.path / "api").symlink_to(other.checkouts["api"])
    with pytest.raises(Obstructed, match=f"{made.path / 'api'} is a link"):
        workspaces.delete("ws", force=True)
    file.write_text(json.dumps(told | {"path": str(state / "link")}))
    (state / "link").symlink_to(other.path)
    with pytest.raises(Obstructed, match=f"{state / 'link'} is a link"):
        workspaces.delete("ws", force=True)
    assert len(outside_tools.calls(state)) == count


def test_work_is_deleted_only_by_force(workspaces: WsmWorkspaces) -> None:
    """Untracked files, about which it asks even then, included; a repeat is fine."""
    made = workspaces.create("ws", ["api", "web"], "task/ws", "main")
    (made.path / "api" / "new").write_text("x")
    with pytest.raises(Obstructed, match=r"api has uncommitted changes: new\.$"):
        workspaces.delete("ws")
    for _ in range(2):
        workspaces.delete("ws", force=True)
    assert workspaces.find("ws") is None
    assert not (made.path / "api").exists()


def test_files_that_cannot_be_read_are_named(workspaces: WsmWorkspaces, state: Path) -> None:
    """And a name leads nowhere else."""
    (state / "workspaces").mkdir()
    (state / "workspaces" / "ws.json").write_text("{")
    with pytest.raises(Obstructed, match=r"ws\.json cannot be read"):
        workspaces.find("ws")
    with pytest.raises(Obstructed, match="no name for a workspace"):
        workspaces.find("../registry")


def test_a_missing_wsm_is_told_with_the_policy_that_helps(code: Path, tmp_path: Path) -> None:
    """The key that makes metawsm make the workspaces itself."""
    _know(tmp_path, *code.iterdir())
    with pytest.raises(ProgramMissing, match=r"wsm is not installed .* set workspace\.tool to builtin in the policy"):
        WsmWorkspaces(GitProgram(), tmp_path).create("ws", ["api"], "task/ws", "main")
