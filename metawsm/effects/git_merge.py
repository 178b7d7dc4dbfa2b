"""Merging one branch into another without ever leaving anything half merged.

The merge is done in a passing worktree of its own; the base is moved only when the result is there, by a fast-forward:
in the checkout that has the base, else as a mere reference. So neither a conflict nor a crash touches anybody's files.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metawsm.bus.outside import Checkout, Merged
from metawsm.domain.errors import MergeConflict, Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import file_lock, folder_tree, git_call, git_status, git_worktrees, program

ALONE = ("-c", "maintenance.auto=false", "-c", "gc.auto=0")
"""It leaves nobody behind who would keep the lock."""


def merge(repo: Path, branch: str, base: str, message: str) -> Merged:
    """Merge `branch` into the local branch `base`. Raises Obstructed, MergeConflict, ProgramFailed."""
    tip = git_call.needed_commit(repo, branch)
    old = _local(repo, base)
    if _has(repo, old, tip):
        return Merged(old, changed=False)
    place = _open_checkout(repo, base)
    with _passing_worktree(repo, tip, old) as (bench, lock):
        _merge_at(bench, tip, branch, base, message, lock)
        new = git_call.tell(bench, "rev-parse", "HEAD").strip()
    if place is not None:
        git_call.tell(place, "merge", "--ff-only", "--quiet", new, timeout=git_call.SLOW_SECONDS)
    else:
        git_call.tell(repo, "update-ref", "-m", f"merge {branch}", f"refs/heads/{base}", new, old)
    return Merged(new, changed=True)


def check(repo: Path, branch: str, base: str, *, grows: bool) -> None:
    """Raise what `merge` would, as far as that can be told without changing a branch or a file.

    `grows`: the branch gets another commit before it is merged, so that there is something to merge in any case.
    """
    tip, old = git_call.needed_commit(repo, branch), _known(repo, base)
    merged = _has(repo, old, tip)
    if grows or not merged:
        _open_checkout(repo, base)
    if not merged:
        _refuse_conflicts(repo, tip, old, branch, base)


def _has(repo: Path, base: str, tip: str) -> bool:
    return git_call.ask(repo, "merge-base", "--is-ancestor", tip, base).code == 0


def _open_checkout(repo: Path, base: str) -> git_call.Where | None:
    """Where the base is checked out, if anywhere. Raises Obstructed when something there is not committed.

    A checkout that is away would come back behind its branch: what it shows would undo the merge.
    """
    tree = next((tree for tree in git_worktrees.listed(repo) if tree.branch == base), None)
    if tree is None and git_worktrees.has_branch(repo, base):
        raise Obstructed(
            f'"{base}" is checked out in a worktree of {repo} that is not there now: bring its disk back, or forget it'
            f" (git -C {shlex.quote(str(repo))} worktree prune)"
        )
    if tree is None:
        return None
    place = tree.path if tree.main else Checkout(tree.path, repo)  # one that is not the user's may be another agent's
    git_worktrees.refuse_changes(tree.path, git_status.status(place, untracked="no").changes())
    return place


def _refuse_conflicts(repo: Path, tip: str, old: str, branch: str, base: str) -> None:
    """Raise MergeConflict; a git before 2.38 cannot tell, and is not asked again."""
    look = ("merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", old, tip)
    ran = git_call.ask(repo, *look, timeout=git_call.SLOW_SECONDS)
    if ran.code == 1:
        raise _conflict(branch, base, ran.out.split("\0")[1:])
    if ran.code not in (0, git_call.UNKNOWN_OPTION):
        raise program.failure(["git", "merge-tree"], ran)


def _conflict(branch: str, base: str, names: Iterable[str]) -> MergeConflict:
    files = [clean(name) for name in names if name]
    return MergeConflict(
        f'"{branch}" conflicts with "{base}" in {", ".join(files[:8])}{" and more" if len(files) > 8 else ""}: merge'
        f' "{base}" into "{branch}" and settle it there.',
        details={"files": files[: git_status.MOST_FILES]},
    )


def _known(repo: Path, base: str) -> str:
    """The commit of the local base, else of the one at `origin`. Raises Obstructed."""
    found = git_call.commit_at(repo, git_call.local(base)) or git_call.commit_at(repo, git_call.upstream(base))
    if not found:
        raise Obstructed(f'base branch "{base}" not found for repo {repo}')
    return found


def _local(repo: Path, base: str) -> str:
    """The commit of the local base; one that exists only at `origin` gets a local branch."""
    found = _known(repo, base)
    if not git_call.commit_at(repo, git_call.local(base)):
        git_call.tell(repo, "branch", "--track", base, f"origin/{base}")
    return found


@contextmanager
def _passing_worktree(repo: Path, tip: str, start: str) -> Iterator[tuple[Path, int]]:
    """A worktree at `start` inside the repository's own folder, and the lock on it; what a crash left goes first."""
    own = git_call.tell(repo, "rev-parse", "--path-format=absolute", "--git-common-dir").rstrip("\n")
    place = Path(own) / "metawsm"
    bench = place / f"merge-{tip[:16]}"
    with file_lock.held(place / "lock", git_call.SLOW_SECONDS) as lock:
        for left in {*place.glob("merge-*"), *git_worktrees.below(repo, place)}:
            git_worktrees.remove(repo, left, force=True)
            folder_tree.remove(left, quietly=True)
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
    if not listing:
        raise program.failure(["git", "merge"], ran)
    raise _conflict(branch, base, listing.split("\0"))
