"""Work that is killed at a chosen step: each open, link, rename and removal below a folder is one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

STEPS = ("open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.chmod")


def dies_at(step: int, folder: Path, work: Callable[[], object]) -> bool:
    """Do `work` in a process of its own that gets SIGKILL right before its step number `step` (from 1) below `folder`.

    False when it came to its end before that. Nothing of it may be shared with this process: no open connection.
    """
    child = os.fork()
    if child == 0:
        _work(step, folder, work)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, f"the work failed, exit {os.WEXITSTATUS(status)}"
    return False


def _work(step: int, folder: Path, work: Callable[[], object]) -> None:
    left = step

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event in STEPS and any(str(folder) in str(argument) for argument in arguments):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    code = 1
    try:
        sys.addaudithook(watch)
        work()
        code = 0
    finally:
        os._exit(code)
