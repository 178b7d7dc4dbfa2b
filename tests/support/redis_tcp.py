"""A real redis-server on a TCP port, as an administrator would have one running."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from attrs import define

from tests.support import services
from tests.support.eventually import eventually


@define
class RedisTcp:
    """A running server on 127.0.0.1; its data lie in `folder`. It can be stopped, killed and started again."""

    port: int
    folder: Path
    options: tuple[str, ...]
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """What goes into `--redis`; add `/1` and so on for another database number."""
        return f"redis://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End it in order: with persistence on, everything is on disk afterwards."""
        self.process.terminate()
        self.process.wait(timeout=20)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait(timeout=20)

    def start(self) -> None:
        """Start it again on the same port and data."""
        self.process = _launch(self.port, self.folder, self.options)


def start_redis_tcp(folder: Path, port: int, *options: str) -> RedisTcp:
    """Start redis-server with `options` appended ("--maxmemory", "10mb"); without any, nothing is kept on disk."""
    return RedisTcp(port, folder, options, _launch(port, folder, options))


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _launch(port: int, folder: Path, options: tuple[str, ...]) -> subprocess.Popen[bytes]:
    config = folder / "redis.conf"
    config.write_text(f"bind 127.0.0.1\nport {port}\ndir {folder}\nsave ''\ndaemonize no\n", encoding="utf-8")
    command = [services.program("redis-server"), str(config), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    eventually(lambda: _answers(port), timeout=10)
    return process


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")
