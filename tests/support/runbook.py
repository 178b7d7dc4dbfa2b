"""A person with the runbook: a project folder, ports and a tmux server of their own, and the page's terminals."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.support import redis_tcp, services
from tests.support.eventually import eventually
from tests.support.pages import Block, Running, Terminal, blocks, path_with
from tests.support.runs_lab import repository

PAGE = "docs/runbook.md"
PROGRAMS = ("redis-server", "redis-cli", "sqlite3", "curl", "jq", "git", "tmux")


@define
class Desk:
    """Where the page is followed. `beginning` is what every terminal begins with; `opened` are those that run on."""

    folder: Path
    env: dict[str, str]
    beginning: str
    opened: dict[str, Running] = field(factory=dict)

    def open(self, block: Block, health: str = "ok") -> None:
        """Type a block into a terminal of its own and wait until what runs there can be used."""
        name = block.how.removeprefix("terminal=")
        log = self.folder / f"{name}.log"
        log.unlink(missing_ok=True)
        running = self.opened[name] = Running(f"{self.beginning}{block.text}", self.folder, self.env, log)
        if name == "redis":
            eventually(lambda: "Ready to accept connections" in running.written(), timeout=15)
        elif name == "daemon":
            eventually(lambda: "serving http://" in running.written(), timeout=30)
            eventually(lambda: self.health()["status"] == health, timeout=20)
        else:
            eventually(running.written, timeout=15)

    def start(self, *names: str, health: str = "ok") -> None:
        """Open the page's terminals of these names."""
        for name in names:
            self.open(next(block for block in blocks(PAGE) if block.how == f"terminal={name}"), health)

    def interrupt(self, name: str) -> None:
        """Ctrl-C in one of them."""
        self.opened.pop(name).interrupt()

    def health(self) -> Any:
        """What the daemon says of itself, whatever the status of the answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.env['PORT']}/api/v1/health", timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as answer:
            return json.load(answer)

    @contextmanager
    def terminal(self, *, strict: bool = True) -> Iterator[Terminal]:
        """A terminal for commands that end."""
        with Terminal(self.folder, self.env, strict=strict) as opened:
            opened.run(self.beginning)
            yield opened

    def tmux(self, *arguments: str) -> str:
        """What this person's tmux says."""
        env = {"PATH": self.env["PATH"], "TMUX_TMPDIR": self.env["TMUX_TMPDIR"]}
        return subprocess.run(["tmux", *arguments], env=env, capture_output=True, text=True, timeout=20).stdout

    def close(self) -> None:
        """Ctrl-C in every terminal, the last first; then the end of the agents."""
        for name in reversed(list(self.opened)):
            self.interrupt(name)
        self.tmux("kill-server")
        shutil.rmtree(self.env["TMUX_TMPDIR"])


def new_desk(pyz: Path, folder: Path) -> Desk:
    """A project folder with the repository `metawsm`, the artifact and the programs of the page on PATH.

    The user's tmux server has its socket in a folder of its own, with a short name.
    """
    repository(folder / "metawsm")
    folders = {Path(services.program(name)).parent for name in PROGRAMS}
    ports = {"PORT": str(redis_tcp.free_port()), "REDIS_PORT": str(redis_tcp.free_port())}
    beginning = "".join(block.text for block in blocks(PAGE) if block.how == "every-terminal")
    env = {"PATH": path_with(pyz.parent, *sorted(folders)), "TMUX_TMPDIR": tempfile.mkdtemp(prefix="mwsm-"), **ports}
    return Desk(folder, env, beginning)
