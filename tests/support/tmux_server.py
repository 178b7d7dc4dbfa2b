"""A real tmux server for a test, on a socket of its own."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metawsm.effects.tmux import TmuxProgram
from tests.support.services import program


def in_front(tmux: TmuxProgram, session: str) -> str:
    """The name of the program in front; empty where there is no such session."""
    pane = tmux.panes().get(session)
    return pane.command if pane else ""


@contextmanager
def socket(folder: Path) -> Iterator[str]:
    """The path of a socket; whatever server runs there in the end is ended."""
    tmux, path = program("tmux"), str(folder / "tmux.sock")
    try:
        yield path
    finally:
        subprocess.run([tmux, "-S", path, "kill-server"], capture_output=True)
