"""The documentation's pages: their fenced blocks, and shells that a person could have typed them into."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType

from attrs import frozen

from tests.support.shell import ROOT, environment

FENCE = re.compile(r"^```(\w*) ?([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== status"


@frozen
class Block:
    """One fenced block: its language, what stands behind the language (how a test has to take it), and its lines."""

    language: str
    how: str
    text: str


def page(path: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return [Block(*found.groups()) for found in FENCE.finditer(page(path))]


def sections(path: str, level: int = 2) -> dict[str, str]:
    """The texts under the headings of one level, by heading."""
    parts = re.split(rf"^{'#' * level} (.+)$", page(path), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def path_with(*folders: Path) -> str:
    """PATH with these folders and the one of this Python in front, as `metawsm.pyz` needs its own Python."""
    return os.pathsep.join([*map(str, folders), str(Path(sys.executable).parent), os.environ["PATH"]])


class Terminal:
    """A bash that takes commands as if typed. `strict`: the first command that fails ends it."""

    def __init__(self, folder: Path, env: Mapping[str, str], *, strict: bool = True) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc"], cwd=folder, env=_clean(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        if strict:
            self.run("set -eo pipefail")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def run(self, commands: str, timeout: float = 60.0) -> tuple[int, str]:
        """Type the commands and wait for the last one: its status, and all that was written."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{{\n{commands}\n}} </dev/null\nprintf '\\n{MARK} %s\\n' $?\n".encode())
        self._shell.stdin.flush()
        patience = threading.Timer(timeout, self._shell.kill)
        patience.start()
        try:
            lines = list(self._lines())
        finally:
            patience.cancel()
        output = "".join(lines[:-1])
        assert lines and lines[-1].startswith(MARK), f"{commands}\nended the shell:\n{''.join(lines)}"
        return int(lines[-1].removeprefix(MARK)), output.removesuffix("\n")

    def _lines(self) -> Iterator[str]:
        """What the shell writes, up to the mark or its end."""
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            yield line.decode(errors="replace")
            if line.startswith(MARK.encode()):
                return

    def close(self) -> None:
        """Close the window: whatever still runs in it ends."""
        _end(self._shell, signal.SIGKILL)
        for pipe in (self._shell.stdin, self._shell.stdout):
            if pipe is not None:
                pipe.close()


class Running:
    """A terminal in which something runs on; `log` holds what it writes."""

    def __init__(self, commands: str, folder: Path, env: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as output:
            self._shell = subprocess.Popen(
                ["bash", "-c", commands], cwd=folder, env=_clean(env), stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def written(self) -> str:
        """Everything it has written so far; fails when it has ended."""
        text = self.log.read_text(encoding="utf-8")
        assert self._shell.poll() is None, text
        return text

    def interrupt(self) -> None:
        """Ctrl-C, and wait for the end."""
        _end(self._shell, signal.SIGINT)


def _clean(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without our variables and without the checkout, and with these."""
    inherited = environment()
    del inherited["PYTHONPATH"]
    return inherited | dict(env)


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Send a signal to everything in the terminal and wait; what does not listen is killed."""
    if process.poll() is None:
        os.killpg(process.pid, how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        raise
