"""Starts `tests.support.http_app` as a process of its own and ends it again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]


@frozen
class HttpProcess:
    """A running server process and its port on 127.0.0.1."""

    process: subprocess.Popen[str]
    port: int

    def terminate(self) -> None:
        """Ask for an orderly stop, without waiting."""
        self.process.send_signal(signal.SIGTERM)

    def log(self) -> str:
        """End the process and return all it wrote to stderr."""
        self.terminate()
        return self.process.communicate(timeout=10)[1]


@contextmanager
def http_process(**settings: Any) -> Iterator[HttpProcess]:
    """A server with the given settings (`http`: Limits, `socket`: SocketLimits, `stop_seconds`)."""
    command = [sys.executable, "-m", "tests.support.http_app", json.dumps(settings)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield HttpProcess(process, int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()
