"""Real Redis and Valkey servers for tests: each in its own folder, on a unix socket, ended with its test."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import redis
from attrs import define
from redis.backoff import NoBackoff
from redis.retry import Retry

from metawsm.streams.bundled import find_binary
from tests.support.eventually import eventually
from tests.support.services import missing


@define
class ServerHandle:
    """A running server. `kind` is `redis` or `valkey`; it may be killed, started again on its data, stopped in time."""

    kind: str
    command: list[str]
    folder: Path
    socket: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{self.socket}"

    def client(self) -> redis.Redis:
        """Return a client of its own, to play another program or to look."""
        return redis.Redis(unix_socket_path=str(self.socket), protocol=2, retry=Retry(NoBackoff(), 0))

    def stop(self) -> None:
        """End it in order and wait."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to write anything."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Stop it in time: connections stay, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, cwd=self.folder)
        eventually(self._answers, timeout=10)

    def remove(self) -> None:
        """End it and remove its socket."""
        self.kill()
        shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _answers(self) -> bool:
        """Whether it takes commands; asking for a password is an answer too."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True

    def _end(self, how: signal.Signals) -> None:
        if self.process.poll() is None:
            self.process.send_signal(how)
            if how != signal.SIGKILL:
                self.process.send_signal(signal.SIGCONT)
            self.process.wait(timeout=20)


def start_redis(folder: Path, *args: str) -> ServerHandle:
    """Start Debian's redis-server with `args` appended; data in `folder`, in memory only unless the args say more."""
    binary = shutil.which("redis-server")
    if binary is None:
        missing("redis-server is not installed")
    return _start("redis", str(binary), folder, args)


def start_valkey(folder: Path, *args: str) -> ServerHandle:
    """Start the bundled Valkey binary the same way."""
    return _start("valkey", str(find_binary()), folder, args)


def _start(kind: str, binary: str, folder: Path, args: tuple[str, ...]) -> ServerHandle:
    folder.mkdir(parents=True, exist_ok=True)
    # Not under `folder`: the temporary folders of tests are too long for a socket's path.
    socket = Path(tempfile.mkdtemp(prefix="mw-")) / "s"
    settings = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", *args]
    handle = ServerHandle(kind, [binary, *settings], folder, socket, None)  # type: ignore[arg-type]
    try:
        handle.start()
    except BaseException:
        handle.remove()
        raise
    return handle
