"""A real daemon in a folder of its own, as a process."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from metawsm.client.errors import DaemonUnreachable
from metawsm.client.http import Client
from tests.support.eventually import eventually
from tests.support.shell import environment


class Daemon:
    """Starts `command serve ...` in `folder` and waits until it is ready. `url` says where it answers."""

    def __init__(self, command: Sequence[str], folder: Path, *options: str, addr: str = "127.0.0.1:0") -> None:
        self.command = list(command)
        self.folder = folder
        self.log = folder / "serve.log"
        self._options = options
        self._addr = addr
        self.start()

    def start(self) -> None:
        """Start, again on the same port after the first time."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--addr", self._addr, *self._options],
                cwd=self.folder, stdout=log, stderr=log, env=environment(),
            )  # fmt: skip
        found = eventually(lambda: re.search(r"serving http://(127\.0\.0\.1:\d+)", self._written(seen)), timeout=30)
        self._addr = found.group(1)
        self.url = f"http://{self._addr}"
        eventually(self.is_ready, timeout=20)

    def _written(self, after: int) -> str:
        text = self.log.read_bytes()[after:].decode()
        assert self.process.poll() is None, text
        return text

    def is_ready(self) -> bool:
        """Whether it takes requests."""
        try:
            return Client(self.url).request("GET", "/readyz").status == 200
        except DaemonUnreachable:
            return False

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(20)
