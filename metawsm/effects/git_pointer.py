"""Which worktree of its repository a checkout is: what its `.git` file says, where the repository says the same.

A checkout belongs to its agent, who may put another repository in the place of that file; git would run the programs
that the settings of such a repository name, with our rights. So git is told the folder that was found here, and never
looks for one itself.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from metawsm.bus.outside import Checkout
from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean
from metawsm.effects import regular_file

MOST_BYTES = 8192
"""Of a file that holds one path."""

_MARK = "gitdir: "


def own_folder(checkout: Checkout) -> Path:
    """The folder in which its repository keeps the worktree. Raises Obstructed where the checkout is none of it."""
    path, main = checkout.path, checkout.main
    found = _followed(path / ".git")
    if found is None or found.parent != _git_folder(main) / "worktrees":
        mend = shlex.join(["git", "-C", str(main), "worktree", "repair"])
        raise Obstructed(f"{path} is no worktree of {main} by its .git: move {path / '.git'} away and do {mend}")
    if _real(found / _text(found / "gitdir")) != _place(path) / ".git":
        mend = shlex.join(["git", "-C", str(main), "worktree", "repair", str(path)])
        raise Obstructed(f"{path} is not where {main} has its worktree {clean(found.name)}; if it was moved: {mend}")
    return found


def is_worktree(checkout: Checkout) -> bool:
    """Whether the checkout is a worktree of its repository."""
    with suppress(Obstructed):
        return bool(own_folder(checkout))
    return False


def _git_folder(main: Path) -> Path:
    """Where a main checkout has its repository: mostly below it. A bare repository is that folder itself."""
    pointer = main / ".git"
    return _followed(pointer) or _real(pointer if pointer.exists() else main)


def has_line_ends(main: Path) -> bool:
    """Whether the path of any of its worktrees has line ends in it."""
    return any("\n" in _text(file) for file in (_git_folder(main) / "worktrees").glob("*/gitdir"))


def _followed(pointer: Path) -> Path | None:
    """The folder that a `.git` file names, which may be relative to the file's; None where it is no such file."""
    text = _text(pointer)
    return _real(_place(pointer.parent) / text[len(_MARK) :]) if text.startswith(_MARK) else None


def _text(file: Path) -> str:
    """What stands in a small file; "" for a link, and for a pipe, at which we would wait."""
    with suppress(OSError, Obstructed), regular_file.opened(file) as source:
        told = source.read(MOST_BYTES)
        return "" if b"\0" in told else os.fsdecode(told).rstrip("\r\n")
    return ""


def _place(path: Path) -> Path:
    """A path as its folder really is; a link in the path's own place is not followed."""
    return _real(path.parent) / path.name


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
