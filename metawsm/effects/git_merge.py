"""Merging one branch into another without ever leaving anything half merged.

The merge is done in a passing worktree of its own; the base is moved only when the result is there, by a fast-forward:
in the checkout that has the base, else as a mere reference. So neither a conflict nor a crash touches anybody's files.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metawsm.bus.outside import Merged
from metawsm.domain.errors import MergeConflict, Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import file_lock, git_call, git_status, git_worktrees, program

ALONE = ("-c", "maintenance.auto=false", "-c", "gc.auto=0")
"""It leaves nobody behind who would keep the lock."""


def merge(repo: Path, branch: str, base: str, message: str) -> Merged:
    """Merge `branch` into the local branch `base`. Raises Obstructed, MergeConflict, ProgramFailed."""
    tip = git_call.needed_commit(repo, branch)
    old = _local(repo, base)
    if git_call.ask(repo, "merge-base", "--is-ancestor", tip, old).code == 0:
        return Merged(old, changed=False)
    place = next((tree.path for tree in git_worktrees.listed(repo) if tree.branch == base), None)
    if place is not None:
        git_worktrees.refuse_changes(place, git_status.status(place, untracked="no").changes())
    with _passing_worktree(repo, tip, old) as (bench, lock):
        _merge_at(bench, tip, branch, base, message, lock)
        new = git_call.tell(bench, "rev-parse", "HEAD").strip()
    if place is not None:
        git_call.tell(place, "merge", "--ff-only", "--quiet", new, timeout=git_call.SLOW_SECONDS)
    else:
        git_call.tell(repo, "update-ref", "-m", f"merge {branch}", f"refs/heads/{base}", new, old)
    return Merged(new, changed=True)


def _local(repo: Path, base: str) -> str:
    """The commit of the local base; one that exists only at `origin` gets a local branch."""
    found = git_call.commit_at(repo, git_call.local(base))
    if not found:
        found = git_call.commit_at(repo, git_call.upstream(base))
        if not found:
            raise Obstructed(f'base branch "{base}" not found for repo {repo}')
        git_call.tell(repo, "branch", "--track", base, f"origin/{base}")
    return found


@contextmanager
def _passing_worktree(repo: Path, tip: str, start: str) -> Iterator[tuple[Path, int]]:
    """A worktree at `start` inside the repository's own folder, and the lock on it; what a crash left goes first."""
    own = git_call.tell(repo, "rev-parse", "--path-format=absolute", "--git-common-dir").rstrip("\n")
    place = Path(own) / "metawsm"
    bench = place / f"merge-{tip[:16]}"
    with file_lock.held(place / "lock", git_call.SLOW_SECONDS) as lock:
        for left in place.glob("merge-*"):
            git_worktrees.remove(repo, left, force=True)
            shutil.rmtree(left, ignore_errors=True)
        try:
            add = ("worktree", "add", "--detach", str(bench), start)
            git_call.tell(repo, *add, timeout=git_call.SLOW_SECONDS, keeps=lock)
            yield bench, lock
        finally:
            git_worktrees.remove(repo, bench, force=True)


def _merge_at(bench: Path, tip: str, branch: str, base: str, message: str, lock: int) -> None:
    argv = (*ALONE, *git_call.identity(bench), "merge", "--no-ff", "--no-edit", "-m", message, tip)
    ran = git_call.ask(bench, *argv, timeout=git_call.SLOW_SECONDS, keeps=lock)
    if ran.code == 0:
        return
    listing = git_call.tell(bench, "diff", "--name-only", "--diff-filter=U", "-z")
    files = [clean(name) for name in listing.split("\0") if name]
    if not files:
        raise program.failure(["git", "merge"], ran)
    raise MergeConflict(
        f'"{branch}" conflicts with "{base}" in {", ".join(files[:8])}{" and more" if len(files) > 8 else ""}: merge'
        f' "{base}" into "{branch}" and settle it there.',
        details={"files": files[: git_status.MOST_FILES]},
    )
