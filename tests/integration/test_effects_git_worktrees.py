"""The port Git over the real git: worktrees are made, kept and removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from metawsm.bus.outside import Worktree
from metawsm.domain.errors import Obstructed, ProgramFailed
from metawsm.effects.git import GitProgram
from tests.support import repositories
from tests.support.repositories import clone, commit, git, repository

GIT = GitProgram(fetch_seconds=2)


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repositories.own_settings(monkeypatch, tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository named `app`."""
    return repository(tmp_path / "code" / "app")


def test_a_worktree_is_added_once(repo: Path, tmp_path: Path) -> None:
    """Its branch is new, begins at the start and follows no other branch; a repeat finds it there."""
    start = git(repo, "rev-parse", "main")
    commit(repo, "later", "x")
    path = tmp_path / "ws" / "app"
    for _ in range(2):
        GIT.add_worktree(repo, path, "task/one", start)
    assert git(path, "rev-parse", "HEAD") == start
    assert GIT.current_branch(path) == "task/one"
    assert GIT.worktrees(repo) == (
        Worktree(repo, "main", git(repo, "rev-parse", "main"), main=True),
        Worktree(path, "task/one", start),
    )
    assert git(repo, "for-each-ref", "--format=%(upstream)", "refs/heads/task/one") == ""


def test_an_existing_branch_is_used_and_not_reset(repo: Path, tmp_path: Path) -> None:
    """Work of an earlier run stays; a branch that exists only at origin is followed."""
    git(repo, "branch", "task/old")
    theirs = clone(repo, tmp_path / "theirs")
    kept = git(repo, "rev-parse", "task/old")
    newer = commit(repo, "a", "newer")
    GIT.add_worktree(repo, tmp_path / "old", "task/old", newer)
    assert git(tmp_path / "old", "rev-parse", "HEAD") == kept
    GIT.add_worktree(theirs, tmp_path / "followed", "task/old", git(theirs, "rev-parse", "HEAD"))
    assert git(tmp_path / "followed", "rev-parse", "--abbrev-ref", "@{upstream}") == "origin/task/old"


def test_what_stands_in_the_way_of_a_worktree_is_named(repo: Path, tmp_path: Path) -> None:
    """A used path, a used branch, a missing start; nothing of it is touched."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "note").write_text("mine")
    with pytest.raises(Obstructed, match=f"{full} exists and is no worktree"):
        GIT.add_worktree(repo, full, "task/one", "main")
    with pytest.raises(Obstructed, match=f'Branch "main" of {repo} is checked out at {repo} already'):
        GIT.add_worktree(repo, tmp_path / "b", "main", "main")
    GIT.add_worktree(repo, tmp_path / "one", "task/one", "main")
    with pytest.raises(Obstructed, match='one is a worktree on branch "task/one", not on "task/two"'):
        GIT.add_worktree(repo, tmp_path / "one", "task/two", "main")
    with pytest.raises(Obstructed, match='no branch "nowhere"'):
        GIT.add_worktree(repo, tmp_path / "c", "task/three", "nowhere")
    assert (full / "note").read_text() == "mine"
    assert not GIT.branch_exists(repo, "task/two")


def test_a_worktree_that_was_cut_off_in_the_making_is_made_anew(repo: Path, tmp_path: Path) -> None:
    """Git marks it until it is complete."""
    path = tmp_path / "ws" / "app"
    GIT.add_worktree(repo, path, "task/one", "main")
    (path / "README.md").unlink()
    (repo / ".git" / "worktrees" / "app" / "locked").write_text("initializing")
    GIT.add_worktree(repo, path, "task/one", "main")
    assert (path / "README.md").exists()
    assert not (repo / ".git" / "worktrees" / "app" / "locked").exists()


def test_a_worktree_whose_folder_was_deleted_is_made_anew(repo: Path, tmp_path: Path) -> None:
    """What git still remembers of it does not stand in the way."""
    path = tmp_path / "app"
    GIT.add_worktree(repo, path, "task/one", "main")
    os.rename(path, tmp_path / "elsewhere")
    assert [tree.path for tree in GIT.worktrees(repo)] == [repo]
    GIT.add_worktree(repo, path, "task/one", "main")
    assert GIT.status(path).files == ()


def test_a_worktree_on_a_disk_that_is_away_is_not_forgotten(repo: Path, tmp_path: Path) -> None:
    """Adding, completing and removing ours leaves what git knows of it; its branch stays its own."""
    usb, away, path = tmp_path / "usb", tmp_path / "away", tmp_path / "ws" / "app"
    GIT.add_worktree(repo, usb, "usb", "main")
    usb.rename(away)
    GIT.add_worktree(repo, path, "task/one", "main")
    path.rename(tmp_path / "elsewhere")
    GIT.add_worktree(repo, path, "task/one", "main")
    with pytest.raises(Obstructed, match=rf"checked out at {usb}, which is not there: bring .*remove --force {usb}$"):
        GIT.add_worktree(repo, tmp_path / "other", "usb", "main")
    assert not GIT.drop_branch(repo, "usb", "main")
    GIT.remove_worktree(repo, path)
    GIT.remove_worktree(repo, tmp_path / "never")
    away.rename(usb)
    assert git(usb, "status", "--porcelain") == ""
    assert [tree.path for tree in GIT.worktrees(repo)] == [repo, usb]


def test_a_worktree_whose_folders_above_were_deleted_too(repo: Path, tmp_path: Path) -> None:
    """It is made anew, or forgotten; one that is locked is forgotten by force alone."""
    path = tmp_path / "root" / "ws" / "app"
    GIT.add_worktree(repo, path, "task/one", "main")
    shutil.rmtree(tmp_path / "root")
    GIT.add_worktree(repo, path, "task/one", "main")
    shutil.rmtree(tmp_path / "root")
    GIT.remove_worktree(repo, path)
    assert not path.exists()
    GIT.add_worktree(repo, path, "task/one", "main")
    git(repo, "worktree", "lock", str(path))
    shutil.rmtree(tmp_path / "root")
    assert [tree.path for tree in GIT.worktrees(repo)] == [repo]
    with pytest.raises(ProgramFailed, match="locked"):
        GIT.add_worktree(repo, path, "task/one", "main")
    with pytest.raises(ProgramFailed, match="locked"):
        GIT.remove_worktree(repo, path)
    GIT.remove_worktree(repo, path, force=True)
    assert git(repo, "worktree", "list", "--porcelain").count("worktree ") == 1


def test_a_worktree_with_changes_is_removed_only_by_force(repo: Path, tmp_path: Path) -> None:
    """The error names the files; afterwards a repeat is fine, and the branch is still there."""
    path = tmp_path / "app"
    GIT.add_worktree(repo, path, "task/one", "main")
    (path / "new\x1b[31m.txt").write_text("x")
    with pytest.raises(Obstructed, match=r"has uncommitted changes: new\.txt\."):
        GIT.remove_worktree(repo, path)
    assert (path / "README.md").exists()
    for _ in range(2):
        GIT.remove_worktree(repo, path, force=True)
    assert not path.exists()
    assert GIT.branch_exists(repo, "task/one")


def test_a_clean_worktree_is_removed_and_a_main_checkout_never(repo: Path, tmp_path: Path) -> None:
    """Not even by force."""
    GIT.add_worktree(repo, tmp_path / "app", "task/one", "main")
    GIT.remove_worktree(repo, tmp_path / "app")
    assert [tree.path for tree in GIT.worktrees(repo)] == [repo]
    with pytest.raises(Obstructed, match="main checkout"):
        GIT.remove_worktree(repo, repo, force=True)


def test_nothing_is_made_or_removed_through_a_link(repo: Path, tmp_path: Path) -> None:
    """A link to a worktree is not that worktree, and one to nothing is no free place."""
    path, link = tmp_path / "app", tmp_path / "link"
    GIT.add_worktree(repo, path, "task/one", "main")
    for target in (path, tmp_path / "nothing"):
        link.symlink_to(target)
        for force in (False, True):
            with pytest.raises(Obstructed, match=f"{link} is a link: no worktree is made or removed through it"):
                GIT.remove_worktree(repo, link, force=force)
        with pytest.raises(Obstructed, match=f"{link} is a link"):
            GIT.add_worktree(repo, link, "task/one", "main")
        link.unlink()
    assert [tree.path for tree in GIT.worktrees(repo)] == [repo, path]


def test_a_removal_that_was_cut_off_is_completed_by_force(repo: Path, tmp_path: Path) -> None:
    """What is left of the folder goes, and what git remembers of it."""
    path = tmp_path / "app"
    GIT.add_worktree(repo, path, "task/one", "main")
    (path / ".git").unlink()
    with pytest.raises(Obstructed, match="is no worktree any more"):
        GIT.remove_worktree(repo, path)
    GIT.remove_worktree(repo, path, force=True)
    assert not path.exists()
    assert len(GIT.worktrees(repo)) == 1


def _forged(folder: Path) -> Path:
    return Path(f"{folder}/x\n\nworktree {folder}/evil\nHEAD {'0' * 40}\nbranch refs/heads/main\n\nworktree {folder}/y")


def test_a_path_forges_no_worktree(repo: Path, tmp_path: Path) -> None:
    """Its line ends are its own: nothing is merged where such a path says that the base is checked out."""
    git(repo, "checkout", "-q", "--detach")
    forged = _forged(tmp_path)
    GIT.add_worktree(repo, forged, "task/one", "main")
    evil = repository(tmp_path / "evil")
    assert [(tree.path, tree.branch) for tree in GIT.worktrees(repo)] == [(repo, ""), (forged, "task/one")]
    made = commit(forged, "work", "x")
    merged = GIT.merge(repo, "task/one", "main", "merge")
    assert git(repo, "rev-parse", "main^2", "main") == f"{made}\n{merged.commit}"
    assert git(evil, "log", "--oneline").count("\n") == 0


def test_an_older_git_lists_its_worktrees(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 2.36 it has no form that ends each entry with what no path has."""
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text(
        f'#!/bin/sh\ncase "$*" in *"list --porcelain -z"*) exit 129 ;; esac\nexec {shutil.which("git")} "$@"\n'
    )
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    GIT.add_worktree(repo, tmp_path / "app", "task/one", "main")
    assert [tree.path for tree in GIT.worktrees(repo)] == [repo, tmp_path / "app"]
    forged = _forged(tmp_path)
    git(repo, "worktree", "add", "-q", "-b", "task/two", str(forged))
    with pytest.raises(Obstructed, match=f"{repo} has a worktree whose path has line ends"):
        GIT.worktrees(repo)


def test_only_an_empty_branch_is_dropped(repo: Path, tmp_path: Path) -> None:
    """One with commits of its own, or checked out, stays; one that is gone is fine."""
    path = tmp_path / "app"
    GIT.add_worktree(repo, path, "task/one", "main")
    assert not GIT.drop_branch(repo, "task/one", "main")
    commit(path, "work", "x")
    assert GIT.ahead(repo, "task/one", "main") == 1
    git(repo, "update-ref", "refs/remotes/origin/main", "task/one")
    assert GIT.ahead(repo, "task/one", "main") == 0  # it began at a newer state of origin
    git(repo, "update-ref", "-d", "refs/remotes/origin/main")
    GIT.remove_worktree(repo, path)
    assert not GIT.drop_branch(repo, "task/one", "main")
    git(repo, "branch", "task/two")
    assert GIT.drop_branch(repo, "task/two", "main")
    assert GIT.drop_branch(repo, "task/two", "main")
    assert not GIT.branch_exists(repo, "task/two")
