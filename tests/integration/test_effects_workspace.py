"""Workspaces over the real git: made, completed, forked, found, deleted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from metawsm.domain.errors import Obstructed
from metawsm.effects.git import GitProgram
from metawsm.effects.workspace import WorktreeWorkspaces
from tests.support import repositories
from tests.support.repositories import clone, commit, git, repository

NAME, BRANCH = "met-1-20260504-101112", "task/met-1-20260504-101112"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repositories.own_settings(monkeypatch, tmp_path)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with the repositories `api` and `web`."""
    for name in ("api", "web"):
        repository(tmp_path / "code" / name)
    return tmp_path / "code"


@pytest.fixture
def workspaces(tmp_path: Path, code: Path) -> WorktreeWorkspaces:
    """Workspaces below `ws`."""
    return WorktreeWorkspaces(GitProgram(), tmp_path / "ws", [code])


def test_a_workspace_has_a_worktree_of_each_repository(
    workspaces: WorktreeWorkspaces, tmp_path: Path, code: Path
) -> None:
    """Side by side, on one new branch from the base; a repeat finds it."""
    assert workspaces.find(NAME) is None
    made = workspaces.create(NAME, ["api", "web"], BRANCH, "main")
    assert made.path == tmp_path / "ws" / NAME
    assert made.branch == BRANCH
    assert made.checkouts == {name: made.path / name for name in ("api", "web")}
    assert git(made.path / "web", "rev-parse", "HEAD") == git(code / "web", "rev-parse", "main")
    assert workspaces.create(NAME, ["api", "web"], BRANCH, "main") == made == workspaces.find(NAME)


def test_what_the_base_has_to_say_is_told(workspaces: WorktreeWorkspaces, tmp_path: Path, code: Path) -> None:
    """An origin that does not answer, for example."""
    mine = clone(code / "api", tmp_path / "mine" / "api")
    git(mine, "remote", "set-url", "origin", str(tmp_path / "gone"))
    made = WorktreeWorkspaces(GitProgram(), tmp_path / "ws", [mine]).create(NAME, ["api"], BRANCH, "main")
    assert len(made.notes) == 1
    assert "origin was not asked" in made.notes[0]


def test_a_partly_made_workspace_is_completed_or_deleted(
    workspaces: WorktreeWorkspaces, tmp_path: Path, code: Path
) -> None:
    """The second repository has no such base: what was made until then is found, and goes without a trace."""
    git(code / "api", "branch", "release")
    with pytest.raises(Obstructed, match=f'base branch "release" not found for repo {code / "web"}'):
        workspaces.create(NAME, ["api", "web"], BRANCH, "release")
    found = workspaces.find(NAME)
    assert found is not None
    assert list(found.checkouts) == ["api"]
    git(code / "web", "branch", "release")
    assert list(workspaces.create(NAME, ["api", "web"], BRANCH, "release").checkouts) == ["api", "web"]
    workspaces.delete(NAME)
    assert not (tmp_path / "ws" / NAME).exists()
    assert [len(GitProgram().worktrees(code / name)) for name in ("api", "web")] == [1, 1]


def test_a_fork_begins_where_its_source_is(workspaces: WorktreeWorkspaces, code: Path) -> None:
    """At its newest commits; what is not committed there is told and left out."""
    source = workspaces.create(NAME, ["api", "web"], BRANCH, "main")
    newest = commit(source.path / "api", "work", "done\n")
    (source.path / "web" / "README.md").write_text("in work")
    fork = workspaces.fork("fork", NAME, "task/fork")
    assert git(fork.path / "api", "rev-parse", "HEAD") == newest
    assert fork.branch == "task/fork"
    assert fork.notes == (f"{source.path / 'web'} has uncommitted changes, which the fork does not have",)
    with pytest.raises(Obstructed, match="no workspace gone to fork"):
        workspaces.fork("x", "gone", "task/x")


def test_work_is_deleted_only_by_force(workspaces: WorktreeWorkspaces, tmp_path: Path) -> None:
    """Nothing at all goes while one checkout has uncommitted work."""
    made = workspaces.create(NAME, ["api", "web"], BRANCH, "main")
    (made.path / "web" / "new").write_text("x")
    with pytest.raises(Obstructed, match=r"web has uncommitted changes: new\.$"):
        workspaces.delete(NAME)
    assert workspaces.find(NAME) == made
    workspaces.delete(NAME, force=True)
    assert not made.path.exists()
    workspaces.delete(NAME)


def test_other_peoples_files_stay(workspaces: WorktreeWorkspaces) -> None:
    """Our own folder goes."""
    made = workspaces.create(NAME, ["api"], BRANCH, "main")
    (made.path / ".metawsm").mkdir(exist_ok=True)
    (made.path / ".metawsm" / "note").write_text("x")
    (made.path / "notes of mine").write_text("x")
    (made.path / "folder of mine").mkdir()
    workspaces.delete(NAME, force=True)
    assert sorted(path.name for path in made.path.iterdir()) == ["folder of mine", "notes of mine"]


def test_what_a_link_leads_to_stays(workspaces: WorktreeWorkspaces) -> None:
    """The checkout of another workspace is neither looked at nor removed, not even by force; nor is the link."""
    other = workspaces.create("other", ["api"], "task/other", "main")
    (other.path / "api" / "new").write_text("x")
    for force in (False, True):
        made = workspaces.create(NAME, ["api"], BRANCH, "main")
        (made.path / "x").unlink(missing_ok=True)
        (made.path / "x").symlink_to("../other/api")
        found = workspaces.find(NAME)
        assert found is not None and list(found.checkouts) == ["api"]
        workspaces.delete(NAME, force=force)
        assert [path.name for path in made.path.iterdir()] == ["x"]
        assert git(other.path / "api", "status", "--porcelain") == "?? new"


def test_a_link_in_the_place_of_a_checkout_bars(workspaces: WorktreeWorkspaces) -> None:
    """Nothing is made or removed before it is away."""
    other = workspaces.create("other", ["api"], BRANCH, "main")
    made = workspaces.create(NAME, ["web"], BRANCH, "main")
    (made.path / "api").symlink_to("../other/api")
    for force in (False, True):
        with pytest.raises(Obstructed, match=f"{made.path / 'api'} is a link: .*remove the link itself"):
            workspaces.delete(NAME, force=force)
    with pytest.raises(Obstructed, match="is a link"):
        workspaces.create(NAME, ["api", "web"], BRANCH, "main")
    assert workspaces.find("other") == other
    assert workspaces.find(NAME) == made


def test_a_workspace_that_is_a_link_is_none(workspaces: WorktreeWorkspaces) -> None:
    """What it leads to stays."""
    other = workspaces.create("other", ["api"], BRANCH, "main")
    (other.path.parent / NAME).symlink_to("other")
    for act in (workspaces.find, workspaces.delete, lambda name: workspaces.create(name, ["api"], BRANCH, "main")):
        with pytest.raises(Obstructed, match=f"{other.path.parent / NAME} is a link"):
            act(NAME)
    assert workspaces.find("other") == other


def test_a_removal_that_was_cut_off_is_completed(workspaces: WorktreeWorkspaces) -> None:
    """The checkout's pointer was gone already."""
    made = workspaces.create(NAME, ["api"], BRANCH, "main")
    (made.path / "api" / ".git").unlink()
    with pytest.raises(Obstructed, match="is no worktree any more"):
        workspaces.delete(NAME)
    workspaces.delete(NAME, force=True)
    assert not made.path.exists()


def test_a_workspace_outlives_its_repository(workspaces: WorktreeWorkspaces, code: Path) -> None:
    """Only force removes what nobody else has any more."""
    made = workspaces.create(NAME, ["api"], BRANCH, "main")
    shutil.rmtree(code / "api")
    mains = {"api": code / "api"}
    with pytest.raises(Obstructed, match="which is gone: save what you need"):
        workspaces.delete(NAME, mains=mains)
    assert (made.path / "api" / "README.md").exists()
    workspaces.delete(NAME, force=True, mains=mains)
    assert not made.path.exists()


@pytest.mark.parametrize("name", ["..", "a/b", "", "-x"])
def test_a_name_leads_nowhere_else(workspaces: WorktreeWorkspaces, name: str) -> None:
    """It is one folder below ours."""
    with pytest.raises(Obstructed, match="no name for a workspace"):
        workspaces.delete(name, force=True)
