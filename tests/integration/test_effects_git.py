"""The port Git over the real git: finding repositories, bases, what changed, commits."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from metawsm.bus.outside import Changes
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
    """With the places that were looked at, which of them do not even exist, and what is there."""
    (repo.parent / "plain").mkdir()
    with pytest.raises(Obstructed) as refused:
        GIT.find(["app", "plain", "other"], [repo.parent, tmp_path / "gone"])
    assert refused.value.message == (
        f"repositories not found: plain, other. Looked in {repo.parent}, {tmp_path / 'gone'} (no such folder);"
        " there are: app."
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
    with pytest.raises(Obstructed, match=rf'"develop" not found for repo {repo} \(it has main\): .* --base-branch'):
        GIT.base(repo, "develop")


def test_a_folder_that_is_no_repository_is_told_so(tmp_path: Path) -> None:
    """In git's own words, not as a missing branch."""
    with pytest.raises(ProgramFailed, match="not a git repository"):
        GIT.base(tmp_path, "main")


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


@pytest.mark.parametrize("rule", ["ttmp", "ttmp/", "/ttmp/*", "*.md"])
def test_a_page_that_is_needed_and_ignored_is_refused(repo: Path, rule: str) -> None:
    """The rule is named and nothing is committed; what git has already it goes on having, whatever the rule."""
    exclude, page = repo / ".git" / "info" / "exclude", repo / "ttmp" / "index.md"
    exclude.write_text(f"# mine\n{rule}\n")
    page.parent.mkdir()
    page.write_text("x")
    before = git(repo, "rev-parse", "HEAD")
    with pytest.raises(Obstructed, match=rf"^git ignores {page} by \.git/info/exclude:2:{re.escape(rule)}: it would"):
        GIT.commit_all(repo, "docs", ["ttmp"], [page])
    assert git(repo, "rev-parse", "HEAD") == before
    git(repo, "add", "--force", "ttmp")
    git(repo, "commit", "-qm", "by force")
    assert GIT.commit_all(repo, "docs", ["ttmp"], [page]) == ""
    exclude.write_text("")
    page.write_text("y")
    assert GIT.commit_all(repo, "docs", ["ttmp"], [page]) == git(repo, "rev-parse", "HEAD")


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
