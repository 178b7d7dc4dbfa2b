"""The port Git over the real git: finding repositories, bases, worktrees, what changed, commits."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from metawsm.bus.outside import Changes, Worktree
from metawsm.domain.errors import Obstructed, OutsideError, ProgramFailed
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


def test_the_version() -> None:
    """It is a number with dots."""
    assert all(part.isdigit() for part in GIT.version().split(".")[:2])


def test_repositories_are_found_by_the_name_of_their_folder(repo: Path, tmp_path: Path) -> None:
    """Below a root, or the root itself; a linked worktree of the same name does not count."""
    library = repository(tmp_path / "library")
    git(repo, "worktree", "add", str(tmp_path / "ws" / "app"))
    found = GIT.find(["app", "library"], [repo.parent, library, tmp_path / "ws"])
    assert found == {"app": repo, "library": library}


def test_deeper_repositories_are_found_when_asked_for(tmp_path: Path) -> None:
    """Two levels below the root, hidden folders left out."""
    deep = repository(tmp_path / "root" / "team" / "app")
    repository(tmp_path / "root" / ".cache" / "app")
    assert GitProgram(depth=2).find(["app"], [tmp_path / "root"]) == {"app": deep}
    with pytest.raises(Obstructed):
        GIT.find(["app"], [tmp_path / "root"])


def test_all_missing_repositories_are_named_at_once(repo: Path, tmp_path: Path) -> None:
    """With the places that were looked at, and which of them do not even exist."""
    (repo.parent / "plain").mkdir()
    with pytest.raises(Obstructed) as refused:
        GIT.find(["app", "plain", "other"], [repo.parent, tmp_path / "gone"])
    assert refused.value.message == (
        f"repositories not found: plain, other. Looked in {repo.parent}, {tmp_path / 'gone'} (no such folder)."
    )


def test_a_repository_found_twice_is_told_with_both_places(repo: Path, tmp_path: Path) -> None:
    """The same place by two roads is one."""
    other = repository(tmp_path / "b" / "app")
    (tmp_path / "link").symlink_to(repo.parent)
    assert GIT.find(["app"], [repo.parent, repo, tmp_path / "link"]) == {"app": repo}
    with pytest.raises(Obstructed, match=r"there more than once") as refused:
        GIT.find(["app"], [repo.parent, other.parent])
    assert str(repo) in refused.value.message
    assert str(other) in refused.value.message


def test_the_base_is_the_newest_state_at_origin(repo: Path, tmp_path: Path) -> None:
    """It is fetched first, and what only the local branch has is told."""
    mine = clone(repo, tmp_path / "mine")
    newest = commit(repo, "a", "new at origin")
    assert GIT.base(mine, "main").commit == newest
    assert GIT.base(mine, "origin/main").note == ""
    commit(mine, "b", "mine alone")
    start = GIT.base(mine, "main")
    assert start.commit == newest
    assert 'the local "main" has 1 commit(s) that origin has not' in start.note


def test_an_origin_that_cannot_be_asked_is_a_note(repo: Path, tmp_path: Path) -> None:
    """What was last seen of it is taken."""
    mine = clone(repo, tmp_path / "mine")
    seen = git(mine, "rev-parse", "HEAD")
    git(mine, "remote", "set-url", "origin", str(tmp_path / "gone"))
    start = GIT.base(mine, "main")
    assert start.commit == seen
    assert "origin was not asked" in start.note
    assert "does not appear to be a git repository" in start.note


def test_an_origin_that_does_not_answer_is_not_waited_for(repo: Path, tmp_path: Path) -> None:
    """After the given seconds the work goes on with what is there."""
    mine = clone(repo, tmp_path / "mine")
    git(mine, "remote", "set-url", "origin", "ext::sleep 60")
    git(mine, "config", "protocol.ext.allow", "always")
    started = time.monotonic()
    assert "did not end within 2 seconds" in GIT.base(mine, "main").note
    assert time.monotonic() - started < 10


def test_without_origin_the_local_branch_is_the_base(repo: Path) -> None:
    """And without that there is nothing to start from."""
    assert GIT.base(repo, "main").commit == git(repo, "rev-parse", "main")
    with pytest.raises(Obstructed, match=f'base branch "develop" not found for repo {repo}'):
        GIT.base(repo, "develop")


def test_a_folder_that_is_no_repository_is_told_so(tmp_path: Path) -> None:
    """In git's own words, not as a missing branch."""
    with pytest.raises(ProgramFailed, match="not a git repository"):
        GIT.base(tmp_path, "main")


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


def test_what_is_uncommitted(repo: Path) -> None:
    """Changed, new, renamed and deleted files, whatever their names; ignored ones not."""
    names = ["with space", "with\nline", "ümlaut", "->arrow", '"quoted"']
    for name in [*names, "gone", "old"]:
        commit(repo, name, f"text of {name}\n" * 20)
    commit(repo, ".gitignore", "*.log\n")
    assert GIT.status(repo) == Changes()
    for name in names:
        (repo / name).write_text("other")
    (repo / "gone").unlink()
    git(repo, "mv", "old", "renamed")
    (repo / "a.log").write_text("ignored")
    (repo / "folder").mkdir()
    (repo / "folder" / "new").write_text("new")
    assert sorted(GIT.status(repo).files) == sorted([*names, "gone", "renamed", "folder/"])
    assert GIT.status(repo).files


def test_of_many_changes_some_are_named_and_the_others_counted(repo: Path) -> None:
    """A thousand new files are fifty names and a number."""
    for number in range(1000):
        (repo / f"{number}.txt").write_text("x")
    changes = GIT.status(repo)
    assert (len(changes.files), changes.more) == (50, 950)


def test_looking_takes_no_lock_from_an_agents_git(repo: Path) -> None:
    """The status does not write the index anew, as git likes to where it finds a touched file."""
    index = (repo / ".git" / "index").read_bytes()
    os.utime(repo / "README.md", (1_000_000_000, 1_000_000_000))
    assert GIT.status(repo).files == ()
    assert (repo / ".git" / "index").read_bytes() == index


def test_the_last_change_is_the_newest_commit_or_file(repo: Path) -> None:
    """A commit, a changed file, a file deep in a new folder: each moves it."""
    git(repo, "commit", "--quiet", "--amend", "--no-edit", "--date", "2020-01-01T00:00:00Z")
    committed = float(git(repo, "log", "-1", "--format=%ct"))
    assert GIT.look(repo)[1] == committed
    os.utime(repo / "README.md", (committed + 50, committed + 50))
    assert GIT.look(repo)[1] == committed  # touched, not changed
    (repo / "README.md").write_text("changed")
    os.utime(repo / "README.md", (committed + 60, committed + 60))
    assert GIT.look(repo)[1] == committed + 60
    (repo / "new" / "deep").mkdir(parents=True)
    (repo / "new" / "deep" / "file").write_text("x")
    os.utime(repo / "new" / "deep" / "file", (committed + 70, committed + 70))
    assert GIT.look(repo)[1] == committed + 70
    assert GIT.look(repo) == (Changes(("README.md", "new/deep/file")), committed + 70)


def test_a_repository_without_commits_has_no_change(tmp_path: Path) -> None:
    """Nothing has happened there yet."""
    git(tmp_path, "init", "--quiet", str(tmp_path / "empty"))
    assert GIT.look(tmp_path / "empty")[1] == 0
    assert GIT.current_branch(tmp_path / "empty") == "main"


def test_no_branch_is_checked_out(repo: Path) -> None:
    """A detached HEAD has an empty name."""
    git(repo, "checkout", "--quiet", "--detach")
    assert GIT.current_branch(repo) == ""


def test_all_or_some_of_the_changes_are_committed(repo: Path) -> None:
    """Under the user's name; without changes there is no commit."""
    assert GIT.commit_all(repo, "nothing") == ""
    (repo / "ttmp").mkdir()
    (repo / "ttmp" / "index.md").write_text("x")
    (repo / "code.py").write_text("x")
    git(repo, "add", "code.py")
    assert GIT.commit_all(repo, "docs: *[x]; $(y)", ["ttmp"]) == git(repo, "rev-parse", "HEAD")
    assert git(repo, "show", "--format=%an %s", "--name-only") == "Tess Ter docs: *[x]; $(y)\n\nttmp/index.md"
    assert GIT.commit_all(repo, "again", ["ttmp", "missing"]) == ""
    (repo / "README.md").unlink()
    GIT.commit_all(repo, "all")
    assert git(repo, "show", "--format=", "--name-only").splitlines() == ["README.md", "code.py"]
    assert GIT.status(repo).files == ()


def test_without_an_identity_metawsm_signs(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only then."""
    repositories.own_settings(monkeypatch, tmp_path, "")
    (repo / "a").write_text("x")
    GIT.commit_all(repo, "add a")
    assert git(repo, "log", "-1", "--format=%an <%ae>") == "metawsm <metawsm@localhost>"


def test_a_hook_that_refuses_is_heard(repo: Path) -> None:
    """Its words are in the error, and nothing is committed."""
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'no tabs, please' >&2\nexit 1\n")
    hook.chmod(0o755)
    before = git(repo, "rev-parse", "HEAD")
    (repo / "a").write_text("x")
    with pytest.raises(OutsideError, match=r"^git commit failed with exit code 1: no tabs, please$"):
        GIT.commit_all(repo, "add a")
    assert git(repo, "rev-parse", "HEAD") == before
