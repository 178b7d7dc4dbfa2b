"""Which program an agent's command line runs, and whether text from a thread may be pasted into it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

from metawsm.domain.errors import Obstructed
from metawsm.effects import regular_file

RUNS_TEXT = frozenset({
    "ash", "bash", "busybox", "csh", "dash", "elvish", "fish", "ksh", "mksh", "nu", "oksh", "osh", "pwsh", "rbash",
    "sh", "tcsh", "xonsh", "yash", "zsh",
    "chroot", "dialog", "doas", "docker", "expect", "kubectl", "lxc", "machinectl", "mosh", "nsenter", "podman",
    "runuser", "screen", "script", "setpriv", "socat", "ssh", "su", "sudo", "telnet", "tmux", "unshare", "zellij",
})  # fmt: skip
"""Shells, which would run a pasted text, and programs that have one inside: nothing is pasted into them."""

_BEFORE = re.compile(r"(exec|env|nohup|time|[A-Za-z_]\w*=.*)")
_SHEBANG_BYTES = 256


def takes_text(front: str, command: str, path: str) -> bool:
    """Whether the program in front of a pane is the one a command line names, and no shell.

    `front` is what tmux calls it: the name of the file that runs, which for a script is its interpreter's.
    """
    word = _first_word(command)
    return bool(word and front) and front not in RUNS_TEXT and front in (Path(word).name, _interpreter(word, path))


def _first_word(command: str) -> str:
    """The program a line for the shell begins with; empty where it does not begin with one."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return next((word for word in words if not _BEFORE.fullmatch(word)), "")


def _interpreter(word: str, path: str) -> str:
    """The name of the program that runs a script; empty where it is none."""
    found = shutil.which(word, path=path)
    if found is None:
        return ""
    try:
        with regular_file.opened(Path(os.path.realpath(found))) as file:
            head = file.read(_SHEBANG_BYTES)
    except (OSError, Obstructed):
        return ""
    if not head.startswith(b"#!"):
        return ""
    words = head[2:].split(b"\n")[0].decode("utf-8", "replace").split()
    names = [Path(part).name for part in words if not part.startswith("-")]
    return next((name for name in names if name != "env"), "")
