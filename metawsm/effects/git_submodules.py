"""Submodules in a checkout of agents: what is only in them goes with the worktree, which has their repositories.

Git itself goes into whatever repository stands in a submodule's place, and runs the programs that its settings name. So
git is kept out of them, and only those that the repository keeps with the worktree are asked, each by its name.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from attrs import frozen

from metawsm.bus.outside import Checkout
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import git_call, git_pointer, git_status
from metawsm.effects.program import Ran

MOST_COMMITS = 8
"""How many commits of a submodule are named."""

MOST_BYTES = 64_000_000
"""Of the list of all files of a checkout."""

_LINK = "160000 "
_LOOK = ("--no-optional-locks", "status", "--porcelain", "--untracked-files=normal", "--ignore-submodules=dirty")


@frozen
class _Submodule:
    """Its repository, and where it is checked out, or was: `name` is that, seen from the checkout it is in."""

    own: Path
    place: Path
    name: str

    @property
    def there(self) -> bool:
        """Whether there is something to look at."""
        return self.place.is_dir() and any(self.place.iterdir())

    def ask(self, *args: str) -> Ran:
        """Git's answer about it."""
        place = self.place if self.there else self.own
        return git_call.ask(place, *git_call.AT_AGENTS, f"--git-dir={self.own}", f"--work-tree={place}", *args)


def status(path: git_call.Where, untracked: str = "normal") -> git_status.Status:
    """What git says, and the submodules in which something is not committed."""
    found = git_status.status(path, untracked)
    inside = _submodules(path) if isinstance(path, Checkout) else ()
    changed = (each.name for each in inside if each.there and each.ask(*_LOOK).out)
    return attrs.evolve(found, files=tuple(dict.fromkeys((*found.files, *changed))))


def unpublished(checkout: Checkout) -> dict[str, tuple[str, ...]]:
    """By the path of each submodule the first of its commits that are on no remote, each in a line."""
    found = {each.name: _unpublished(each) for each in _submodules(checkout)}
    return {name: commits for name, commits in found.items() if commits}


def refuse_losses(checkout: Checkout) -> None:
    """Raise Obstructed for commits in submodules that would be lost with the worktree."""
    for name, commits in unpublished(checkout).items():
        place = clean(str(checkout.path / name))
        raise Obstructed(f"submodule {place} has commits that are on no remote: {'; '.join(commits)}: push them.")
    for name in _links(checkout):
        if (checkout.path / name / ".git").is_dir():
            raise Obstructed(_told(checkout, name, "submodule absorbgitdirs", "or make it a submodule"))


def refuse_inside(checkout: Checkout, within: Sequence[str], changed: Sequence[str]) -> None:
    """Raise Obstructed for repositories in folders that are to be committed: git would go into them.

    Also for one that is recorded and not there now: it may be back before git comes to it.
    """
    for name in (*_links(checkout, within), *(each for each in changed if each.endswith("/"))):
        raise Obstructed(_told(checkout, name, "rm -r --cached --ignore-unmatch", "and have git forget it"))


def _told(checkout: Checkout, name: str, verb: str, how: str) -> str:
    mend = shlex.join(["git", "-C", str(checkout.path), *verb.split(), "--", name])
    return f"{clean(str(checkout.path / name))} is a repository of its own: move it away, {how} ({clean(mend)})."


def _unpublished(submodule: _Submodule) -> tuple[str, ...]:
    """What was fetched by its id alone, as git does with a commit that no branch has any more, is not the agent's."""
    known = [
        name for name in ("HEAD", "FETCH_HEAD") if not submodule.ask("rev-parse", "--quiet", "--verify", name).code
    ]
    here, fetched = known[: "HEAD" in known], known["HEAD" in known :]
    listed = ("rev-list", "--oneline", f"--max-count={MOST_COMMITS}", *here, "--branches", "--not", "--remotes")
    return tuple(clean(line) for line in submodule.ask(*listed, *fetched).out.splitlines())


def _submodules(checkout: Checkout) -> Iterator[_Submodule]:
    """All that were ever made in this worktree, those inside of others, too."""
    top, modules = os.path.realpath(checkout.path), git_pointer.own_folder(checkout) / "modules"
    for folder, folders, files in os.walk(modules):
        if "HEAD" in files:
            folders[:] = [name for name in folders if name == "modules"]
            own = Path(folder)
            told = git_call.ask(own, "config", "--file", str(own / "config"), "--get", "core.worktree").out.rstrip("\n")
            # One that was taken out again (`deinit`) does not know where it was; its name is mostly that.
            place = os.path.realpath(own / told if told else Path(top, own.relative_to(modules)))
            yield _Submodule(own, Path(place), os.path.relpath(place, top))


def _links(checkout: Checkout, within: Sequence[str] = ()) -> list[str]:
    """The paths at which a commit of another repository is recorded. Raises Obstructed for too many files."""
    listed = git_call.ask(checkout, "ls-files", "--stage", "-z", "--", *within, most_bytes=MOST_BYTES)
    if listed.cut:
        raise Obstructed(f"{checkout.path} has more files than can be looked at.")
    return [entry.partition("\t")[2] for entry in listed.out.split("\0") if entry.startswith(_LINK)]
