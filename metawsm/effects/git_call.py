"""How git is called: in which folder, with which settings, for how long; and what every call needs to know."""

from __future__ import annotations

import re
from pathlib import Path

from metawsm.bus.outside import Checkout
from metawsm.domain.errors import Obstructed
from metawsm.effects import git_pointer, program
from metawsm.effects.program import Ran

SLOW_SECONDS = 900.0
"""For what copies a whole tree: a checkout of a large repository on a slow disk."""

SETTINGS = (
    "-c", "log.showSignature=false", "-c", "core.quotePath=false", "-c", "advice.detachedHead=false",
    "-c", "core.fsmonitor=",
)  # fmt: skip
"""Whatever the configuration says, the output is the one that we can read, and no program is asked what has changed."""

AT_AGENTS = ("-c", "submodule.recurse=false")
"""What else is set in a checkout of agents: a submodule in it may be theirs, with programs in its settings."""

IDENTITY = ("-c", "user.name=metawsm", "-c", "user.email=metawsm@localhost")

UNKNOWN_OPTION = 129
"""What git ends with when it does not know an option."""

Where = Path | Checkout
"""A repository of the user's, or what should be a worktree of one and is looked at first (`git_pointer`)."""

_COMMIT = re.compile(r"[0-9a-f]{40,64}")


def ask(
    path: Where,
    *args: str,
    timeout: float = program.TIMEOUT_SECONDS,
    most_bytes: int = program.MOST_BYTES,
    keeps: int | None = None,
) -> Ran:
    """Run git in a checkout; its exit code is an answer. `keeps`: see `program.run`."""
    return program.run(_argv(path, args), timeout=timeout, most_bytes=most_bytes, keeps=keeps)


def tell(path: Where, *args: str, timeout: float = program.TIMEOUT_SECONDS, keeps: int | None = None) -> str:
    """Like `ask`, for its output; raises ProgramFailed with its words."""
    return program.check(_argv(path, args), timeout=timeout, keeps=keeps).out


def commit_at(repo: Where, ref: str) -> str:
    """The commit at a full reference (`refs/heads/main`), or with this id; "" if there is none."""
    ran = ask(repo, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if ran.code > 1:  # this is no repository, or not ours
        raise program.failure(["git", "rev-parse"], ran)
    return ran.out.strip()


def local(branch: str) -> str:
    """The full reference of a local branch."""
    return f"refs/heads/{branch}"


def upstream(branch: str) -> str:
    """The full reference of a branch as it was last seen at `origin`."""
    return f"refs/remotes/origin/{branch}"


def commit_of(repo: Path, name: str) -> str:
    """The commit of a local branch, of one of a remote (`origin/main`), or with this id; "" if there is none."""
    return (
        commit_at(repo, local(name))
        or commit_at(repo, f"refs/remotes/{name}")
        or (commit_at(repo, name) if _COMMIT.fullmatch(name) else "")
    )


def needed_commit(repo: Path, name: str) -> str:
    """Like `commit_of`; raises Obstructed when there is none."""
    commit = commit_of(repo, name)
    if not commit:
        raise Obstructed(f'There is no branch "{name}" in {repo}.')
    return commit


def identity(path: Where) -> tuple[str, ...]:
    """The flags that sign a commit as metawsm, where the user has set no identity."""
    set_by_user = ask(path, "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT").code == 0
    return () if set_by_user else IDENTITY


def folder(where: Where) -> Path:
    """The checkout's folder."""
    return where.path if isinstance(where, Checkout) else where


def _argv(where: Where, args: tuple[str, ...]) -> list[str]:
    known = (*AT_AGENTS, f"--git-dir={git_pointer.own_folder(where)}") if isinstance(where, Checkout) else ()
    return ["git", *SETTINGS, "-C", str(folder(where)), *known, *args]
