"""Starting what is measured: the daemon, the floor and a Redis server, each a process in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PYZ = ROOT / "dist" / "metawsm.pyz"
SOURCE = os.environ.get("METAWSM_BENCH_SOURCE", "")
Requests = Sequence[tuple[str, str, dict[str, str], str | None]]


def until(what: Callable[[], Any], seconds: float, pause: float = 0.002) -> Any:
    """Ask until the answer is true. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} was not true within {seconds:g} s")
        time.sleep(pause)
    return answer


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that goes away at the end, on the disk that holds temporary files."""
    path = Path(tempfile.mkdtemp(prefix="metawsm-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Process:
    """A program that runs until the end of a `with`."""

    def __init__(self, command: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> None:
        self.cwd = cwd
        self.log = cwd / "out.log"
        self._out: IO[bytes] = self.log.open("ab")
        self.begun = time.perf_counter()
        self.command = list(command)
        self.popen = subprocess.Popen(
            command, cwd=cwd, stdout=self._out, stderr=self._out, env={**os.environ, **(env or {})}
        )

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(20)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._out.close()

    def said(self, pattern: str, seconds: float = 30) -> re.Match[str]:
        """Wait for a line of its output."""

        def look() -> re.Match[str] | None:
            text = self.log.read_text(errors="replace")
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.command} ended: {text[-2000:]}")
            return re.search(pattern, text)

        found: re.Match[str] = until(look, seconds)
        return found


class Floor(Process):
    """The floor's server."""

    def __init__(self, cwd: Path) -> None:
        super().__init__([sys.executable, str(HERE / "floor.py"), str(cwd / "floor.db")], cwd)
        self.port = int(self.said(r"(?m)^(\d+)$").group(1))


def daemon_command() -> list[str]:
    """How the daemon is started: the built file, or the source tree that METAWSM_BENCH_SOURCE names."""
    return [sys.executable, "-m", "metawsm"] if SOURCE else [sys.executable, str(PYZ)]


class Daemon(Process):
    """A daemon. `seconds_to_ready` is the time from its start to its first 200 on /readyz (or to its first answer)."""

    def __init__(self, cwd: Path, *options: str, ready: bool = True) -> None:
        self.environment = {"PYTHONPATH": SOURCE} if SOURCE else {}
        self.port = free_port()
        command = [*daemon_command(), "serve", "--addr", f"127.0.0.1:{self.port}", *options]
        super().__init__(command, cwd, self.environment)
        path = "/readyz" if ready else "/livez"
        until(lambda: self.popen.poll() is not None or self.get(path)[0] == 200, 30)
        self.seconds_to_ready = time.perf_counter() - self.begun
        if self.popen.poll() is not None:
            raise RuntimeError(self.log.read_text(errors="replace")[-2000:])

    def cpu_seconds(self) -> float:
        """Processor time it has used."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> dict[str, float]:
        """Resident memory (`rss`) and its share where pages are shared (`pss`), in MB, without the Redis server."""
        text = Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text()
        return {name.lower(): _kib(text, name) / 1024 for name in ("Rss", "Pss")}

    def peak_mb(self) -> float:
        """The most resident memory it ever had, in MB."""
        return _kib(Path(f"/proc/{self.popen.pid}/status").read_text(), "VmHWM") / 1024

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer; status 0 when nobody listens."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except OSError:
            return 0, None
        finally:
            connection.close()


def _kib(text: str, name: str) -> int:
    return int(next(line for line in text.splitlines() if line.startswith(f"{name}:")).split()[1])


class Redis(Process):
    """A Redis server with an append-only file, as one would run it."""

    def __init__(self, cwd: Path, port: int) -> None:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]
        super().__init__(["redis-server", *options, "--dir", str(cwd)], cwd)
        self.said("Ready to accept connections")


def free_port() -> int:
    """A port nobody listens on now."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def load(port: int, requests: Requests, clients: int, **bound: float) -> dict[str, Any]:
    """Run the load generator in a process of its own; `bound` is `seconds` or `count`."""
    job = {"host": "127.0.0.1", "port": port, "requests": requests, "clients": clients, **bound}
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py")], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
