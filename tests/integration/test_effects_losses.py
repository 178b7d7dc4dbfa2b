"""What would be lost with a worktree, and what is none: over the real git, with its submodules."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from metawsm.bus.outside import Changes, Checkout
from metawsm.domain.errors import Obstructed
from metawsm.effects.git import GitProgram
from metawsm.effects.workspace import WorktreeWorkspaces
from tests.support import repositories
from tests.support.repositories import IDENTITY, clone, commit, git, repository

GIT = GitProgram()


@pytest.fixture
def repo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository with a submodule `lib`, which is a clone of one beside it."""
    more = '[protocol "file"]\n\tallow = always\n[status]\n\tshowUntrackedFiles = no\n'
    repositories.own_settings(monkeypatch, tmp_path, IDENTITY + more)
    origin = clone(repository(tmp_path / "lib"), tmp_path / "lib.git")
    git(origin, "checkout", "-q", "--detach")
    made = repository(tmp_path / "repos" / "app")
    git(made, "submodule", "--quiet", "add", str(origin), "lib")
    git(made, "commit", "-qm", "lib")
    return made


@pytest.fixture
def tree(repo: Path, tmp_path: Path) -> Path:
    """A worktree with the submodule checked out."""
    made = tmp_path / "ws" / "app"
    GIT.add_worktree(repo, made, "task/one", "main")
    git(made, "submodule", "--quiet", "update", "--init")
    return made


def test_a_worktree_with_a_submodule_is_removed(repo: Path, tree: Path) -> None:
    """Where nothing is only in it. Git by itself would not."""
    commit(tree, "work", "x")
    GIT.remove_worktree(repo, tree)
    assert not tree.exists()


def test_changes_in_a_submodule_bar(repo: Path, tree: Path) -> None:
    """They are changes of the checkout."""
    (tree / "lib" / "new").write_text("x")
    assert GIT.status(Checkout(tree, repo)) == Changes(("lib",))
    with pytest.raises(Obstructed, match="has uncommitted changes: lib"):
        GIT.remove_worktree(repo, tree)
    (tree / "lib" / "new").unlink()
    GIT.remove_worktree(repo, tree)


def test_commits_in_a_submodule_bar(repo: Path, tree: Path) -> None:
    """Until they are pushed: main would name a commit that exists nowhere. By force they go."""
    made = commit(tree / "lib", "work", "x")
    git(tree, "commit", "-qam", "newest lib")
    lib = f"submodule {tree / 'lib'} has commits that are on no remote: {made[:7]} work: x: push them"
    with pytest.raises(Obstructed, match=lib):
        GIT.remove_worktree(repo, tree)
    git(tree / "lib", "push", "-q", "origin", "HEAD:refs/heads/work")
    assert GIT.unpublished(Checkout(tree, repo)) == {}
    commit(tree / "lib", "more", "x")
    git(tree, "commit", "-qam", "newer lib")
    GIT.remove_worktree(repo, tree, force=True)
    assert not tree.exists()


def test_commits_on_a_branch_of_a_submodule_that_is_not_there_any_more_bar(repo: Path, tree: Path) -> None:
    """Its folder is empty, its repository is not."""
    git(tree / "lib", "checkout", "-q", "-b", "work")
    commit(tree / "lib", "work", "x")
    git(tree / "lib", "checkout", "-q", "--detach", "origin/main")
    git(tree, "submodule", "--quiet", "deinit", "-f", "lib")
    with pytest.raises(Obstructed, match="lib has commits that are on no remote"):
        GIT.remove_worktree(repo, tree)


def test_a_commit_that_was_fetched_by_its_id_does_not_bar(repo: Path, tree: Path, tmp_path: Path) -> None:
    """Its branch at the remote is gone, the remote has it all the same."""
    origin = tmp_path / "lib.git"
    git(origin, "config", "uploadpack.allowAnySHA1InWant", "true")
    old = commit(origin, "old", "x")
    git(tree / "lib", "fetch", "-q", "origin", old)
    git(tree / "lib", "checkout", "-q", "--detach", old)
    git(tree, "commit", "-qam", "old lib")
    assert GIT.unpublished(Checkout(tree, repo)) == {}
    GIT.remove_worktree(repo, tree)


def test_a_repository_inside_bars(repo: Path, tree: Path) -> None:
    """One that was recorded as a submodule without being one has its commits nowhere else."""
    repository(tree / "inner")
    git(tree, "add", "inner")
    git(tree, "commit", "-q", "--allow-empty", "-m", "inner")
    with pytest.raises(Obstructed, match=f"{tree / 'inner'} is a repository of its own: move it away, or make it a"):
        GIT.remove_worktree(repo, tree)


def test_a_repository_inside_is_not_committed(repo: Path, tree: Path) -> None:
    """Neither a new one nor one that was recorded before: git would go into it by its own settings."""
    inner, place = repository(tree / "ttmp" / "inner"), Checkout(tree, repo)
    for _ in ("new", "recorded"):
        (tree / "ttmp" / "page").write_text("x")
        with pytest.raises(Obstructed, match=f"{inner} is a repository of its own: move it away"):
            GIT.commit_all(place, "docs", ["ttmp"])
        git(tree, "add", "-f", "ttmp/inner")
        git(tree, "commit", "-q", "--allow-empty", "-m", "inner")
    shutil.rmtree(inner)
    with pytest.raises(Obstructed, match=rf"have git forget it \(git -C {tree} rm -r --cached .* -- ttmp/inner\)"):
        GIT.commit_all(place, "docs", ["ttmp"])
    git(tree, "rm", "-r", "-q", "--cached", "--ignore-unmatch", "--", "ttmp/inner")
    assert GIT.commit_all(place, "docs", ["ttmp"]) == git(tree, "rev-parse", "HEAD")


def test_new_files_are_committed_whatever_the_user_has_set(repo: Path, tree: Path) -> None:
    """Here the user wants to see none of them."""
    (tree / "ttmp").mkdir()
    (tree / "ttmp" / "page").write_text("x")
    assert GIT.commit_all(Checkout(tree, repo), "docs", ["ttmp"]) == git(tree, "rev-parse", "HEAD")
    assert git(tree, "ls-files", "ttmp") == "ttmp/page"


def test_commits_on_no_branch_bar(repo: Path, tree: Path) -> None:
    """The command that is named keeps them."""
    git(tree, "checkout", "-q", "--detach")
    made = commit(tree, "work", "x")
    mend = f"git -C {tree} branch kept-{made[:7]}"
    with pytest.raises(Obstructed, match=rf"commits that are on no branch: {made[:7]} work: x: .*\({mend}\)"):
        GIT.remove_worktree(repo, tree)
    git(tree, *mend.split()[3:])
    GIT.remove_worktree(repo, tree)
    assert git(repo, "rev-parse", f"kept-{made[:7]}") == made


def _pipe(pointer: Path) -> None:
    os.mkfifo(pointer)


def _link(pointer: Path) -> None:
    pointer.symlink_to(pointer.parents[2] / "elsewhere")


def _nul(pointer: Path) -> None:
    pointer.write_text("gitdir: \0\n")


def _above(pointer: Path) -> None:
    pointer.write_text(f"gitdir: {pointer.parents[2] / 'repos/app/.git/worktrees/../../evil'}\n")


def _neighbour(pointer: Path) -> None:
    repo = pointer.parents[2] / "repos" / "app"
    GIT.add_worktree(repo, pointer.parent.parent / "other", "other", "main")
    shutil.copy(pointer.parent.parent / "other" / ".git", pointer)


@pytest.mark.parametrize("put", [_pipe, _link, _nul, _above, _neighbour, Path.mkdir])
def test_what_is_no_worktree_is_left_alone(repo: Path, tree: Path, put: object) -> None:
    """Whatever stands in the place of the file that leads to the repository; by force it goes, its neighbours stay."""
    (tree / ".git").rename(tree.parent / "elsewhere")
    assert callable(put)
    put(tree / ".git")
    place = Checkout(tree, repo)
    for ask in (GIT.status, GIT.look, GIT.current_branch, GIT.newest_commit, GIT.refuse_losses, GIT.unpublished):
        with pytest.raises(Obstructed, match=rf"{tree} is (no worktree of|not where) {repo}.*worktree repair"):
            ask(place)
    others = [each.path for each in GIT.worktrees(repo) if each.path != tree]
    GIT.remove_worktree(repo, tree, force=True)
    assert not tree.exists()
    assert [each.path for each in GIT.worktrees(repo)] == others


def test_a_workspace_that_was_renamed_is_not_forked(repo: Path, tmp_path: Path) -> None:
    """Its checkouts are not where their repository has them; mended as is said, they are."""
    workspaces = WorktreeWorkspaces(GIT, tmp_path / "spaces", [repo.parent])
    made = workspaces.create("one", ["app"], "task/two", "main")
    moved = made.path.rename(made.path.with_name("moved")) / "app"
    with pytest.raises(Obstructed, match=f"if it was moved: git -C {repo} worktree repair {moved}"):
        workspaces.fork("fork", "moved", "task/fork")
    git(repo, "worktree", "repair", str(moved))
    assert workspaces.fork("fork", "moved", "task/fork").branch == "task/fork"
