"""Workspaces through the program `wsm`: the port `metawsm.bus.outside.Workspaces`.

It is written for people: it asks, and says "cancelled" with exit code 0 when nobody answers. So what it would ask about
is looked at before, and whether it did something is read from its own files afterwards, never from its words.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from metawsm.bus.outside import Checkout, Git, Workspace
from metawsm.domain.errors import Obstructed, OutsideError, ProgramFailed
from metawsm.domain.plain_text import clean
from metawsm.effects import git_call, git_worktrees, program, regular_file
from metawsm.effects.workspace import checked_name

_MEND = "`metawsm.pyz cleanup` removes what was made, and `resume` begins anew"


class WsmWorkspaces:
    """The workspaces of wsm. Raises ProgramMissing when it is not installed, ProgramFailed with its words."""

    def __init__(self, git: Git, state: Path | None = None) -> None:
        settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        self._state = state or Path(settings) / "workspace-manager"
        self._git = git

    def create(self, name: str, repositories: Sequence[str], branch: str, base: str) -> Workspace:
        """See the port. wsm does not fetch: the new branches are moved to the newest state of the base afterwards."""
        found = self.find(name)
        if found is not None:
            return _expect(found, repositories, branch)
        mains = self._registered(repositories)
        self._refuse_branch(mains, branch)
        starts = {repository: self._git.base(main, base) for repository, main in mains.items()}
        wanted = ("--repos", ",".join(repositories), "--branch", branch, "--base-branch", base)
        made = self._make(name, mains, branch, "create", name, *wanted)
        for repository, start in starts.items():
            git_call.tell(made.checkouts[repository], "reset", "--hard", "--quiet", start.commit)
        notes = tuple(start.note for start in starts.values() if start.note)
        return Workspace(name, made.path, branch, made.checkouts, notes)

    def fork(self, name: str, source: str, branch: str) -> Workspace:
        """See the port."""
        origin = self.find(source)
        if origin is None:
            raise Obstructed(f"There is no workspace {source} to fork, in {self._state}.")
        found = self.find(name)
        if found is not None:
            return _expect(found, list(origin.checkouts), branch)
        mains = self._registered(list(origin.checkouts))
        self._refuse_branch(mains, branch)
        return self._make(name, mains, branch, "fork", name, source, "--branch", branch)

    def find(self, name: str) -> Workspace | None:
        """See the port. The path is the one that wsm wrote down: a name alone does not give it."""
        told = self._read(Path("workspaces", f"{checked_name(name)}.json"))
        if not told.get("path"):
            return None
        path = Path(told["path"])
        places = {str(repo["name"]): _place(path, str(repo["name"])) for repo in told.get("repositories") or []}
        checkouts = {repository: place for repository, place in places.items() if (place / ".git").exists()}
        return Workspace(name, path, str(told.get("branch", "")), checkouts)

    def delete(
        self, name: str, *, force: bool = False, mains: Mapping[str, Path] | None = None, branch: str = ""
    ) -> None:
        """See the port."""
        found = self.find(name)
        known = found.checkouts if found else {}
        left = self._left(name, list(known.values()), mains or {}, branch)
        for path, main in {**self._mains_of(known, mains or {}), **left}.items() if not force else ():
            self._git.refuse_losses(Checkout(path, main))
        if found is not None:
            self._delete(name, force)
        for path, main in left.items():
            self._git.remove_worktree(main, path, force=force)
            with suppress(OSError):  # somebody else's files are in it
                path.parent.rmdir()

    def _mains_of(self, checkouts: Mapping[str, Path], mains: Mapping[str, Path]) -> dict[Path, Path]:
        known = {**self._registered([repo for repo in checkouts if repo not in mains]), **mains}
        return {path: known[repo] for repo, path in checkouts.items()}

    def _left(self, name: str, known: Sequence[Path], mains: Mapping[str, Path], branch: str) -> dict[Path, Path]:
        """Worktrees where wsm puts those of this workspace, which it made and did not write down; each with its main.

        One elsewhere on the same branch is somebody's own.
        """
        written = {path.resolve() for path in known}
        return {
            tree.path: main
            for repo, main in mains.items()
            if (main / ".git").exists()
            for tree in self._git.worktrees(main)
            if tree.branch == branch and tree.path.parts[-2:] == (name, repo) and tree.path not in written
        }

    def _delete(self, name: str, force: bool) -> None:
        """With untracked files wsm asks even when forced; then it is answered."""
        flags = ("--force-worktrees",) if force else ()
        argv = ["wsm", "delete", name, "--force", "--remove-files", *flags]
        ran = program.check(argv, stdin=b"y\n" if force else None, timeout=git_call.SLOW_SECONDS)
        if self.find(name) is not None:
            raise ProgramFailed(f"wsm did not delete workspace {name}: {ran.words}")

    def _make(self, name: str, mains: Mapping[str, Path], branch: str, *args: str) -> Workspace:
        """Have it made. A failure that left something is told at once: a repeat would only stumble over that."""
        try:
            return _expect(self._call(name, *args), list(mains), branch)
        except OutsideError as error:
            left = [str(main) for main in mains.values() if self._git.branch_exists(main, branch)]
            found = self.find(name)
            if not left or (found is not None and set(mains) <= set(found.checkouts)):
                raise
            said = f'{error.message.removesuffix(".")}. It left branch "{branch}" in {", ".join(left)}: {_MEND}.'
            raise Obstructed(said, details=error.details) from error

    def _call(self, name: str, *args: str) -> Workspace:
        ran = program.check(["wsm", *args], timeout=git_call.SLOW_SECONDS)
        made = self.find(name)
        if made is None:
            raise ProgramFailed(f"wsm {args[0]} made no workspace {name}: {ran.words}")
        return made

    def _registered(self, repositories: Sequence[str]) -> dict[str, Path]:
        """The main checkouts as wsm knows them by name."""
        known = {
            str(repo.get("name")): Path(repo.get("path", ""))
            for repo in self._read("registry.json").get("repositories") or []
        }
        missing = [name for name in repositories if name not in known]
        if missing:
            raise Obstructed(f"repositories not found: {', '.join(missing)}: tell wsm of them with `wsm discover`.")
        return {name: known[name] for name in repositories}

    def _refuse_branch(self, mains: Mapping[str, Path], branch: str) -> None:
        for main in mains.values():
            if self._git.branch_exists(main, branch):
                raise Obstructed(
                    f'Branch "{branch}" exists in {main}; wsm would ask what to do with it: delete it; if a wsm that'
                    f" was cut off has left it, {_MEND}."
                )

    def _read(self, file: str | Path) -> Mapping[str, Any]:
        try:
            told = json.loads(regular_file.read(Path(os.path.realpath(self._state / file))))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise Obstructed(f"{self._state / file} cannot be read: {error}.") from error
        return told if isinstance(told, dict) else {}


def _place(folder: Path, repository: str) -> Path:
    """Where a checkout is; raises Obstructed where that leads somewhere else."""
    place = folder / repository
    if place.parent != folder or repository == "..":
        raise Obstructed(f"{clean(repository)!r} is no name for a folder in workspace {folder}: mend the notes of wsm.")
    git_worktrees.refuse_link(folder)
    git_worktrees.refuse_link(place)
    return place


def _expect(found: Workspace, repositories: Sequence[str], branch: str) -> Workspace:
    missing = [name for name in repositories if name not in found.checkouts]
    if missing or found.branch != branch:
        lacks = f"lacks {', '.join(missing)}" if missing else f'is on branch "{clean(found.branch)}", not "{branch}"'
        raise Obstructed(f"Workspace {found.name} exists at {found.path} and {lacks}: delete it.")
    return found
