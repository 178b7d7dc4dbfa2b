"""Removing a folder that an agent may have filled."""

from __future__ import annotations

from pathlib import Path

from metawsm.effects import git_call, program


def remove(path: Path, *, quietly: bool = False) -> None:
    """Remove a folder with all that is in it; a missing one is fine, and a link stays.

    Raises ProgramFailed where something cannot be removed, unless `quietly`. Another process does it: in ours everybody
    would wait for as long as a hundred thousand files take.
    """
    if path.is_symlink() or not path.is_dir():
        return
    call = program.run if quietly else program.check
    call(["rm", "-rf", "--", str(path)], timeout=git_call.SLOW_SECONDS)
