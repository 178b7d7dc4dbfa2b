"""What `git status` says about a checkout, read from its form for programs (`--porcelain=v2 -z`)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from attrs import frozen

from metawsm.bus.outside import Changes, Checkout
from metawsm.effects import git_call, program

MOST_FILES = 50
"""How many changed files are named."""

MOST_TIMES = 500
"""Of how many changed files the time is looked at."""

MOST_BYTES = 200_000

FIELDS_BEFORE_PATH = {"1": 8, "2": 9, "u": 10, "?": 1}


@frozen
class Status:
    """HEAD's commit ("" before the first) and the paths that differ from it."""

    head: str
    files: tuple[str, ...]

    def changes(self) -> Changes:
        """As others see it: the first paths, and how many more."""
        return Changes(self.files[:MOST_FILES], max(0, len(self.files) - MOST_FILES))

    def newest(self, path: Path) -> float:
        """The latest time of the changed files, 0 without any."""
        times = [0.0]
        for name in self.files[:MOST_TIMES]:
            with suppress(OSError):  # deleted, or its name is not text
                times.append(os.lstat(path / name).st_mtime)
        return max(times)


def status(path: git_call.Where, untracked: str = "normal", within: Sequence[str] = ()) -> Status:
    """Ask git. `untracked`: `normal` names a new folder once, `all` each file in it, `no` only what git knows.

    Takes no lock that an agent's own git would stumble over, and enters no submodule of agents: see `git_submodules`.
    """
    argv = ("--no-optional-locks", "status", "--porcelain=v2", "--branch", "-z", f"--untracked-files={untracked}")
    outside = ("--ignore-submodules=dirty",) if isinstance(path, Checkout) else ()
    ran = git_call.ask(path, *argv, *outside, *(("--", *within) if within else ()), most_bytes=MOST_BYTES)
    if ran.code:
        raise program.failure(["git", "status"], ran)
    return parse(ran.out, cut=ran.cut)


def parse(out: str, *, cut: bool = False) -> Status:
    """Read the output; of one that was cut off, the last entry is left out."""
    entries = out.split("\0")[:-1]
    head = next((entry[13:] for entry in entries if entry.startswith("# branch.oid ")), "")
    files = tuple(_paths(iter(entries[:-1] if cut else entries)))
    return Status("" if head == "(initial)" else head, files)


def _paths(entries: Iterator[str]) -> Iterator[str]:
    for entry in entries:
        kind = entry[:1]
        if kind in FIELDS_BEFORE_PATH:
            yield entry.split(" ", FIELDS_BEFORE_PATH[kind])[-1]
        if kind == "2":  # a renamed file's old path has an entry of its own
            next(entries, None)
