"""Workspaces made with git alone: the port `metawsm.bus.outside.Workspaces`.

A workspace is the folder `<root>/<name>/` with a linked worktree per repository in it. What it consists of is read
from the disk each time, so there is nothing that could say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from metawsm.bus.outside import Checkout, Git, Start, Workspace
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import folder_tree, git_pointer, git_worktrees
from metawsm.effects.git_worktrees import OURS

MOST_INSIDE = 1000
"""Entries of a workspace's folder: it has one for each repository."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class WorktreeWorkspaces:
    """Workspaces below one folder, over the repositories that are found at `repo_roots`."""

    def __init__(self, git: Git, folder: Path, repo_roots: Sequence[Path]) -> None:
        self._git = git
        self._folder = folder
        self._roots = repo_roots

    def create(self, name: str, repositories: Sequence[str], branch: str, base: str) -> Workspace:
        """See the port."""
        notes = []
        for repository, main in self._git.find(repositories, self._roots).items():
            place = self._place(name) / repository
            start = self._start(main, place, branch, base)
            notes += [start.note] if start.note else []
            self._git.add_worktree(main, place, branch, start.commit)
        return self._made(name, notes)

    def fork(self, name: str, source: str, branch: str) -> Workspace:
        """See the port."""
        origin = self.find(source)
        if origin is None:
            raise Obstructed(f"There is no workspace {source} to fork, in {self._folder}.")
        notes = []
        for repository, main in self._git.find(list(origin.checkouts), self._roots).items():
            checkout = Checkout(origin.checkouts[repository], main)
            if self._git.status(checkout).files:
                notes.append(f"{checkout.path} has uncommitted changes, which the fork does not have")
            self._git.add_worktree(main, self._place(name) / repository, branch, self._git.newest_commit(checkout))
        return self._made(name, notes)

    def find(self, name: str) -> Workspace | None:
        """See the port."""
        checkouts = {path.name: path for path in self._inside(name) if (path / ".git").is_file()}
        if not checkouts:
            return None
        known = (Checkout(path, main) for path in checkouts.values() if (main := self._named(path.name)))
        first = next(known, None)
        branch = self._git.current_branch(first) if first else ""
        return Workspace(name, self._place(name), branch, checkouts)

    def delete(
        self, name: str, *, force: bool = False, mains: Mapping[str, Path] | None = None, branch: str = ""
    ) -> None:
        """See the port. What there is of it is in its folder: nothing else is looked for."""
        self._refuse_links(name)
        trees = {path: main for path in self._inside(name) if (main := self._main_of(path, mains or {}))}
        for path, main in trees.items() if not force else ():
            self._refuse_losses(Checkout(path, main))
        for path, main in trees.items():
            if (main / ".git").exists():
                self._git.remove_worktree(main, path, force=force)
            if force:
                folder_tree.remove(path, quietly=True)
        folder_tree.remove(self._place(name) / OURS, quietly=True)
        with suppress(OSError):  # it is not there, or somebody else's files are in it
            self._place(name).rmdir()

    def _start(self, main: Path, place: Path, branch: str, base: str) -> Start:
        """What the branch begins at; one that exists is used as it is, which may not be what was expected."""
        if not self._git.branch_exists(main, branch):
            return self._git.base(main, base)
        return Start("", "" if place.exists() else f'{main}: branch "{branch}" is there already; work goes on from it')

    def _place(self, name: str) -> Path:
        place = self._folder / checked_name(name)
        git_worktrees.refuse_link(place)
        return place

    def _inside(self, name: str) -> list[Path]:
        """The folders in it. A link is none: what it leads to is another's."""
        return [path for path in self._entries(name) if path.is_dir() and not path.is_symlink()]

    def _entries(self, name: str) -> list[Path]:
        place = self._place(name)
        found = sorted(islice(place.iterdir(), MOST_INSIDE + 1)) if place.is_dir() else []
        if len(found) > MOST_INSIDE:
            raise Obstructed(f"{place} has more than {MOST_INSIDE} entries: remove what does not belong to the run.")
        return found

    def _made(self, name: str, notes: Sequence[str]) -> Workspace:
        found = self.find(name)
        if found is None:
            raise Obstructed(f"Workspace {name} has no repositories.")
        return Workspace(found.name, found.path, found.branch, found.checkouts, tuple(notes))

    def _main_of(self, path: Path, mains: Mapping[str, Path]) -> Path | None:
        """The main checkout that a folder is a worktree of by its name, or else as one that an agent has added.

        Never one that only the folder names: an agent can write there what it likes.
        """
        named = mains.get(path.name) or self._named(path.name)
        return named or next((main for main in mains.values() if git_pointer.is_worktree(Checkout(path, main))), None)

    def _named(self, repository: str) -> Path | None:
        with suppress(Obstructed):
            return self._git.find([repository], self._roots)[repository]
        return None

    def _refuse_links(self, name: str) -> None:
        """Raise Obstructed for a link that has taken a checkout's place. Other links are other people's files."""
        for path in self._entries(name):
            if path.is_symlink() and self._named(path.name):
                git_worktrees.refuse_link(path)

    def _refuse_losses(self, checkout: Checkout) -> None:
        """Raise Obstructed when removing the folder would lose something that is nowhere else."""
        path, main = checkout.path, checkout.main
        if not (main / ".git").exists():
            raise Obstructed(f"{path} belongs to {main}, which is gone: save what you need, and remove it by force.")
        self._git.refuse_losses(checkout)


def checked_name(name: str) -> str:
    """The name, if a workspace may have it. Raises Obstructed."""
    if not _NAME.fullmatch(name):
        raise Obstructed(f"{clean(name)!r} is no name for a workspace: letters, digits, '.', '_' and '-' are.")
    return name
