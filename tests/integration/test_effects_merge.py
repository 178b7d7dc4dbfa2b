"""Merging over the real git: where the base is checked out or not, conflicts, hooks, what a crash left."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from metawsm.domain.errors import MergeConflict, Obstructed, ProgramFailed
from metawsm.effects.git import GitProgram
from tests.support import repositories
from tests.support.repositories import clone, commit, git, repository

GIT = GitProgram()
MESSAGE = "Merge MET-1"


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repositories.own_settings(monkeypatch, tmp_path)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository on `main`, with a commit on the branch `task/one` that is checked out beside it."""
    repo = repository(tmp_path / "app")
    GIT.add_worktree(repo, tmp_path / "ws", "task/one", "main")
    commit(tmp_path / "ws", "work", "done\n")
    return repo


def _left_over(repo: Path) -> list[str]:
    return [str(tree.path) for tree in GIT.worktrees(repo) if "merge-" in tree.path.name] + [
        str(path) for path in (repo / ".git" / "metawsm").glob("*")
    ]


def test_a_branch_is_merged_where_the_base_is_checked_out(repo: Path) -> None:
    """The main checkout shows the work; a repeat changes nothing; untracked files of the user's stay."""
    (repo / "notes of mine").write_text("x")
    merged = GIT.merge(repo, "task/one", "main", MESSAGE)
    assert merged.changed
    assert merged.commit == git(repo, "rev-parse", "main")
    assert (repo / "work").read_text() == "done\n"
    assert git(repo, "log", "-1", "--format=%s %an") == f"{MESSAGE} Tess Ter"
    again = GIT.merge(repo, "task/one", "main", MESSAGE)
    assert (again.commit, again.changed) == (merged.commit, False)
    assert GIT.ahead(repo, "task/one", "main") == 0
    assert _left_over(repo) == []


def test_a_branch_is_merged_where_nobody_has_the_base(repo: Path) -> None:
    """What is checked out meanwhile stays as it is."""
    git(repo, "checkout", "--quiet", "-b", "other")
    (repo / "README.md").write_text("in work")
    merged = GIT.merge(repo, "task/one", "main", MESSAGE)
    assert git(repo, "rev-parse", "main") == merged.commit
    assert git(repo, "show", "main:work") == "done"
    assert not (repo / "work").exists()
    assert GIT.status(repo).files == ("README.md",)
    assert _left_over(repo) == []


def test_both_sides_have_moved(repo: Path) -> None:
    """Then the merge has both."""
    commit(repo, "other", "meanwhile\n")
    GIT.merge(repo, "task/one", "main", MESSAGE)
    assert {path.name for path in repo.iterdir()} == {".git", "README.md", "work", "other"}


def test_a_base_known_only_to_origin_gets_a_local_branch(repo: Path, tmp_path: Path) -> None:
    """Which then has the merge; origin has not: nothing is pushed."""
    git(repo, "branch", "release")
    mine = clone(repo, tmp_path / "mine")
    git(mine, "checkout", "--quiet", "-b", "task/two")
    commit(mine, "two", "2\n")
    merged = GIT.merge(mine, "task/two", "release", MESSAGE)
    assert git(mine, "rev-parse", "release") == merged.commit
    assert git(repo, "rev-parse", "release") != merged.commit
    with pytest.raises(Obstructed, match='base branch "gone" not found'):
        GIT.merge(mine, "task/two", "gone", MESSAGE)


def test_a_checkout_of_the_base_with_changes_is_named(repo: Path) -> None:
    """Nothing is merged over somebody's work."""
    before = git(repo, "rev-parse", "main")
    (repo / "README.md").write_text("in work")
    with pytest.raises(Obstructed, match=rf"{repo} has uncommitted changes: README.md\.$"):
        GIT.merge(repo, "task/one", "main", MESSAGE)
    assert git(repo, "rev-parse", "main") == before


def test_a_file_in_the_way_stops_the_merge(repo: Path) -> None:
    """Git's own words name it, and the base has not moved."""
    before = git(repo, "rev-parse", "main")
    (repo / "work").write_text("mine")
    with pytest.raises(ProgramFailed, match=r"(?s)would be overwritten by merge.*work"):
        GIT.merge(repo, "task/one", "main", MESSAGE)
    assert (git(repo, "rev-parse", "main"), (repo / "work").read_text()) == (before, "mine")
    assert _left_over(repo) == []


def test_a_conflict_is_told_with_its_files_and_leaves_nothing(repo: Path) -> None:
    """No checkout is half merged."""
    before = commit(repo, "work", "otherwise\n")
    with pytest.raises(
        MergeConflict, match=r'^"task/one" conflicts with "main" in work: merge "main" into'
    ) as conflict:
        GIT.merge(repo, "task/one", "main", MESSAGE)
    assert conflict.value.details == {"files": ["work"]}
    assert git(repo, "rev-parse", "main") == before
    assert git(repo, "status", "--porcelain") == ""
    assert not (repo / ".git" / "MERGE_HEAD").exists()
    assert _left_over(repo) == []


def test_a_hook_that_refuses_the_merge_is_heard(repo: Path) -> None:
    """Its words are in the error, and nothing is merged."""
    hook = repo / ".git" / "hooks" / "commit-msg"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'a ticket, please' >&2\nexit 1\n")
    hook.chmod(0o755)
    before = git(repo, "rev-parse", "main")
    with pytest.raises(ProgramFailed, match=r"^git merge failed with exit code 1: (?s:.*)a ticket, please"):
        GIT.merge(repo, "task/one", "main", MESSAGE)
    assert git(repo, "rev-parse", "main") == before
    assert _left_over(repo) == []


@pytest.mark.parametrize("left", ["folder and entry", "folder", "entry"])
def test_what_a_crash_left_does_not_stand_in_the_way(repo: Path, left: str) -> None:
    """A half merged passing worktree of an earlier call is removed, also when only git, or only the disk, has it."""
    tip = git(repo, "rev-parse", "task/one")
    bench = repo / ".git" / "metawsm" / f"merge-{tip[:16]}"
    git(repo, "worktree", "add", "--quiet", "--detach", str(bench), "main")
    git(bench, "merge", "--no-commit", "--no-ff", tip)
    if left == "folder":
        (bench / ".git").unlink()
        git(repo, "worktree", "prune", "--expire", "now")
    if left == "entry":
        shutil.rmtree(bench)
        commit(repo.parent / "ws", "more", "done\n")  # so the next one has another name
    assert GIT.merge(repo, "task/one", "main", MESSAGE).changed
    assert _left_over(repo) == []
    assert "merge-" not in git(repo, "worktree", "list")


def test_a_base_whose_checkout_is_away_is_not_moved_under_it(repo: Path, tmp_path: Path) -> None:
    """It would come back with files that undo the merge."""
    git(repo, "checkout", "--quiet", "--detach")
    git(repo, "worktree", "add", "--quiet", str(tmp_path / "usb"), "main")
    (tmp_path / "usb").rename(tmp_path / "away")
    before = git(repo, "rev-parse", "main")
    for attempt in (GIT.merge, GIT.check_merge):
        with pytest.raises(Obstructed, match=r'"main" is checked out in a worktree of .*/app that is not there now'):
            attempt(repo, "task/one", "main", *([MESSAGE] if attempt == GIT.merge else []))
    assert git(repo, "rev-parse", "main") == before
    (tmp_path / "away").rename(tmp_path / "usb")
    assert GIT.merge(repo, "task/one", "main", MESSAGE).changed
    assert (tmp_path / "usb" / "work").read_text() == "done\n"


def test_a_branch_that_is_not_there(repo: Path) -> None:
    """Is named."""
    with pytest.raises(Obstructed, match='no branch "task/two"'):
        GIT.merge(repo, "task/two", "main", MESSAGE)


def _state(repo: Path) -> str:
    return git(repo, "for-each-ref") + git(repo, "status", "--porcelain") + git(repo, "worktree", "list")


def test_what_bars_a_merge_is_known_before(repo: Path) -> None:
    """A dirty checkout of the base and a conflict are told as the merge would tell them, and nothing is changed."""
    GIT.check_merge(repo, "task/one", "main")
    (repo / "README.md").write_text("in work")
    before = _state(repo)
    with pytest.raises(Obstructed, match=rf"{repo} has uncommitted changes: README.md\.$"):
        GIT.check_merge(repo, "task/one", "main")
    assert _state(repo) == before
    git(repo, "checkout", "--", "README.md")
    commit(repo, "work", "otherwise\n")
    before = _state(repo)
    with pytest.raises(MergeConflict, match=r'^"task/one" conflicts with "main" in work: merge "main" into') as told:
        GIT.check_merge(repo, "task/one", "main")
    assert (told.value.details, _state(repo)) == ({"files": ["work"]}, before)
    with pytest.raises(Obstructed, match='base branch "gone" not found'):
        GIT.check_merge(repo, "task/one", "gone")


def test_a_branch_that_is_merged_asks_for_a_clean_base_only_where_it_grows(repo: Path) -> None:
    """As the merge: what is there already is not merged again."""
    GIT.merge(repo, "task/one", "main", MESSAGE)
    (repo / "README.md").write_text("in work")
    GIT.check_merge(repo, "task/one", "main")
    with pytest.raises(Obstructed, match="uncommitted changes"):
        GIT.check_merge(repo, "task/one", "main", grows=True)


def test_an_old_git_finds_no_conflict_before_the_merge(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not know the option, and that bars nothing."""
    commit(repo, "work", "otherwise\n")
    (tmp_path / "bin").mkdir()
    old = tmp_path / "bin" / "git"
    old.write_text(f'#!/bin/sh\ncase "$*" in *--write-tree*) exit 129 ;; esac\nexec {shutil.which("git")} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
    GIT.check_merge(repo, "task/one", "main")
