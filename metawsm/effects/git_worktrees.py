"""Worktrees: which there are, adding and removing one so that a repeat after a crash is harmless."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from attrs import frozen

from metawsm.bus.outside import Changes, Checkout, Worktree
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import file_lock, folder_tree, git_call, git_pointer, git_submodules, program

OURS = ".metawsm"
"""A folder of ours beside worktrees; it goes with the workspace."""

NAMED = 8
"""How many changed files or commits an error names."""


@frozen
class _Entry:
    """One paragraph of `git worktree list`: a worktree, and whether git was cut off while it made it.

    One that is not `there` was removed by hand, or its disk is away: only the one at a path of ours is ever forgotten.
    `told` is the path in git's own spelling, which it finds again whatever has become of the folders above.
    """

    tree: Worktree
    half_made: bool
    there: bool
    told: str


def listed(repo: Path) -> tuple[Worktree, ...]:
    """All checkouts that exist, the main one first; a bare repository has no main one."""
    return tuple(entry.tree for entry in _entries(repo) if entry.there)


def has_branch(repo: Path, branch: str) -> bool:
    """Whether a branch is checked out somewhere, also where the worktree's disk is away."""
    return any(entry.tree.branch == branch for entry in _entries(repo))


def below(repo: Path, folder: Path) -> Iterator[Path]:
    """The worktrees that git knows in a folder, also those that are not there any more."""
    return (entry.tree.path for entry in _entries(repo) if entry.tree.path.parent == _real(folder))


def add(repo: Path, path: Path, branch: str, start: str) -> None:
    """Make the worktree, or leave it as it is if it is the wanted one. Raises Obstructed.

    A git of a process that was killed meanwhile is waited for: it goes on, and when it fails it removes its worktree,
    which would be ours by then.
    """
    with file_lock.held(path.parent / OURS / f"{path.name}.lock", git_call.SLOW_SECONDS) as lock:
        _add(repo, path, branch, start, lock)


def _add(repo: Path, path: Path, branch: str, start: str, lock: int) -> None:
    refuse_link(path)
    over: tuple[str, ...] = ()
    for entry in _entries(repo):
        if entry.tree.path != _real(path):
            _refuse_branch(repo, entry, branch)
        elif entry.half_made:
            _forget(repo, entry, force=True)
        elif entry.there:
            return _expect(entry.tree, branch)
        else:
            over = ("--force",)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise Obstructed(f"{path} exists and is no worktree of {repo}: move it away.")
    what = _what(repo, path, branch, start)
    git_call.tell(repo, "worktree", "add", *over, *what, timeout=git_call.SLOW_SECONDS, keeps=lock)
    return None


def remove(repo: Path, path: Path, *, force: bool) -> None:
    """Remove a linked worktree, all of it or nothing unless `force`; what is not there is fine. Raises Obstructed."""
    refuse_link(path)
    entry = next((entry for entry in _entries(repo) if entry.tree.path == _real(path)), None)
    if entry is None:
        return
    if entry.tree.main:
        raise Obstructed(f"{path} is the main checkout of its repository and is not removed.")
    checkout = Checkout(path, repo)
    if path.exists() and not force:
        refuse_losses(checkout)
    if git_pointer.is_worktree(checkout):
        _take_away(repo, path, force=force)
        return
    if path.exists():  # a removal was cut off before, or somebody else's folder or repository took the place
        folder_tree.remove(path)
    _forget(repo, entry, force=force)


def refuse_losses(checkout: Checkout) -> None:
    """Raise Obstructed when removing the worktree would lose something that is nowhere else."""
    path = checkout.path
    if not os.path.lexists(path / ".git"):
        raise Obstructed(f"{path} is no worktree any more: look at what is left in it, and remove it by force.")
    refuse_changes(path, git_submodules.status(checkout).changes())
    if git_call.commit_at(checkout, "HEAD"):
        listed = ("rev-list", "--oneline", f"--max-count={NAMED}", "HEAD", "--not", "--branches", "--tags", "--remotes")
        if loose := [clean(line) for line in git_call.tell(checkout, *listed).splitlines()]:
            mend = shlex.join(["git", "-C", str(path), "branch", f"kept-{loose[0].partition(' ')[0]}"])
            raise Obstructed(f"{path} has commits that are on no branch: {'; '.join(loose)}: give them one ({mend}).")
    git_submodules.refuse_losses(checkout)


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


def _refuse_branch(repo: Path, entry: _Entry, branch: str) -> None:
    if entry.tree.branch != branch:
        return
    if entry.there:
        raise Obstructed(f'Branch "{branch}" of {repo} is checked out at {clean(str(entry.tree.path))} already.')
    mend = shlex.join(["git", "-C", str(repo), "worktree", "remove", "--force", entry.told])
    raise Obstructed(
        f'Branch "{branch}" of {repo} is checked out at {clean(str(entry.tree.path))}, which is not there:'
        f" bring it back, or have it forgotten with {clean(mend)}"
    )


def _forget(repo: Path, entry: _Entry, *, force: bool) -> None:
    """Remove what git remembers of one worktree, and what is there of it. Force twice: one that is locked, too."""
    git_call.tell(repo, "worktree", "remove", "--force", *(["--force"] if force else []), entry.told)


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
    # By force in any case: git refuses each worktree with submodules, since their repositories go with it; whether
    # something is only there has been looked at. Twice: also one that the user has locked.
    git_call.tell(
        repo, "worktree", "remove", *(["--force"] * (2 if force else 1)), str(path), timeout=git_call.SLOW_SECONDS
    )


def _entries(repo: Path) -> list[_Entry]:
    return list(_parse(_listing(repo)))


def _listing(repo: Path) -> str:
    """What git lists, each line ended by NUL: a path may have line ends, and what looks like an entry behind them."""
    listing = ("worktree", "list", "--porcelain")
    ran = git_call.ask(repo, *listing, "-z")
    if ran.code == 0:
        return ran.out
    if ran.code != git_call.UNKNOWN_OPTION:
        raise program.failure(["git", *listing], ran)
    if git_pointer.has_line_ends(repo):
        raise Obstructed(f"{repo} has a worktree whose path has line ends: move it, or install git 2.36 or newer.")
    return git_call.tell(repo, *listing).replace("\n", "\0")


def _parse(out: str) -> Iterator[_Entry]:
    for number, paragraph in enumerate(out.split("\0\0")):
        marks = dict(line.partition(" ")[::2] for line in paragraph.split("\0"))
        if "worktree" in marks and "bare" not in marks:
            branch = marks.get("branch", "").removeprefix("refs/heads/")
            told = marks["worktree"]
            tree = Worktree(_real(Path(told)), branch, marks.get("HEAD", ""), main=number == 0)
            there = tree.main or ("prunable" not in marks and os.path.lexists(told))  # no locked one is prunable
            yield _Entry(tree, marks.get("locked") == "initializing", there, told)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
