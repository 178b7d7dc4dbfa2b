"""The folder of the daemon's own files, kept out of the repository that it may lie in."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

NAME = ".metawsm"
IGNORED = """\
# Written by metawsm: all but the policy and the skills is this machine's own.
*
!.gitignore
!policy.json
!skills/
!skills/**
"""


def keep_out_of_git(folder: Path) -> None:
    """Tell git to leave the folder alone, above all the token in it; a file that is there stays as it is.

    Only a folder of our own name: another one may hold what somebody wants to commit.
    """
    if folder.name == NAME:
        with suppress(OSError), (folder / ".gitignore").open("x", encoding="utf-8") as file:
            file.write(IGNORED)
