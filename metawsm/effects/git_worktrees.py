"""Worktrees: which there are, adding and removing one so that a repeat after a crash is harmless."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from metawsm.bus.outside import Changes, Worktree
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import file_lock, git_call, git_status

OURS = ".metawsm"
"""A folder of ours beside worktrees; it goes with the workspace."""

NAMED = 8
"""How many changed files an error names."""


@frozen
class _Entry:
    """One paragraph of `git worktree list`: a worktree, and whether git was cut off while it made it."""

    tree: Worktree
    half_made: bool
    there: bool


def listed(repo: Path) -> tuple[Worktree, ...]:
    """All checkouts that exist, the main one first; a bare repository has no main one."""
    return tuple(entry.tree for entry in _entries(repo) if entry.there)


def add(repo: Path, path: Path, branch: str, start: str) -> None:
    """Make the worktree, or leave it as it is if it is the wanted one. Raises Obstructed.

    A git of a process that was killed meanwhile is waited for: it goes on, and when it fails it removes its worktree,
    which would be ours by then.
    """
    with file_lock.held(path.parent / OURS / f"{path.name}.lock", git_call.SLOW_SECONDS) as lock:
        _add(repo, path, branch, start, lock)


def _add(repo: Path, path: Path, branch: str, start: str, lock: int) -> None:
    refuse_link(path)
    git_call.tell(repo, "worktree", "prune")
    for entry in _entries(repo):
        if entry.tree.path == _real(path) and entry.half_made:
            git_call.tell(repo, "worktree", "remove", "--force", "--force", str(path))
        elif entry.tree.path == _real(path):
            return _expect(entry.tree, branch)
        elif entry.tree.branch == branch:
            raise Obstructed(f'Branch "{branch}" of {repo} is checked out at {entry.tree.path} already.')
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise Obstructed(f"{path} exists and is no worktree of {repo}: move it away.")
    what = _what(repo, path, branch, start)
    git_call.tell(repo, "worktree", "add", *what, timeout=git_call.SLOW_SECONDS, keeps=lock)
    return None


def remove(repo: Path, path: Path, *, force: bool) -> None:
    """Remove a linked worktree, all of it or nothing unless `force`; what is not there is fine. Raises Obstructed."""
    refuse_link(path)
    tree = next((entry.tree for entry in _entries(repo) if entry.tree.path == _real(path)), None)
    if tree is not None and tree.main:
        raise Obstructed(f"{path} is the main checkout of its repository and is not removed.")
    if tree is not None and path.exists():
        _take_away(repo, path, force=force)
    git_call.tell(repo, "worktree", "prune")


def refuse_link(path: Path) -> None:
    """Raise Obstructed for a link: what it leads to is somewhere else, and may be anybody's."""
    if path.is_symlink():
        said = f"{path} is a link: no worktree is made or removed through it; remove the link itself."
        raise Obstructed(said, details={"link": str(path)})


def refuse_changes(path: Path, changes: Changes) -> None:
    """Raise Obstructed, naming the files, when there are changes."""
    if changes.files:
        names = [clean(name) for name in changes.files]
        rest = len(names[NAMED:]) + changes.more
        said = f"{path} has uncommitted changes: {', '.join(names[:NAMED])}{f' and {rest} more' if rest else ''}."
        raise Obstructed(said, details={"path": str(path), "files": names})


def _expect(tree: Worktree, branch: str) -> None:
    if tree.branch != branch:
        found = f'on branch "{tree.branch}"' if tree.branch else "on no branch"
        raise Obstructed(f'{tree.path} is a worktree {found}, not on "{branch}".')


def _what(repo: Path, path: Path, branch: str, start: str) -> tuple[str, ...]:
    """The arguments: an existing branch as it is, one of the remote's tracked, else a new one."""
    if git_call.commit_at(repo, git_call.local(branch)):
        return (str(path), branch)
    if git_call.commit_at(repo, git_call.upstream(branch)):
        return ("--track", "-b", branch, str(path), f"origin/{branch}")
    return ("--no-track", "-b", branch, str(path), git_call.needed_commit(repo, start))


def _take_away(repo: Path, path: Path, *, force: bool) -> None:
    if not (path / ".git").exists():  # a removal was cut off before, or somebody else's folder took the place
        if not force:
            raise Obstructed(f"{path} is no worktree any more: look at what is left in it, and remove it by force.")
        shutil.rmtree(path)
        return
    if not force:
        refuse_changes(path, git_status.status(path).changes())
    # By force in any case: git refuses worktrees with submodules. Twice: also one that the user has locked.
    git_call.tell(
        repo, "worktree", "remove", *(["--force"] * (2 if force else 1)), str(path), timeout=git_call.SLOW_SECONDS
    )


def _entries(repo: Path) -> list[_Entry]:
    return list(_parse(git_call.tell(repo, "worktree", "list", "--porcelain")))


def _parse(out: str) -> Iterator[_Entry]:
    for number, paragraph in enumerate(out.split("\n\n")):
        marks = dict(line.partition(" ")[::2] for line in paragraph.splitlines())
        if "worktree" in marks and "bare" not in marks:
            branch = marks.get("branch", "").removeprefix("refs/heads/")
            tree = Worktree(_real(Path(marks["worktree"])), branch, marks.get("HEAD", ""), main=number == 0)
            yield _Entry(tree, marks.get("locked") == "initializing", "prunable" not in marks)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
