"""A real daemon in a folder of its own, as a process, and requests to it as any HTTP client sends them."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.eventually import eventually
from tests.support.shell import COMMAND, environment

BASE = "/api/v1"


class Reply(NamedTuple):
    """An answer: status, headers by lower-case name, and the body as text and as JSON."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        """The JSON value of the body."""
        return json.loads(self.text)

    @property
    def error(self) -> Any:
        """The error object of the body."""
        return self.body["error"]


class Daemon:
    """Starts `command serve ...` in `folder` and waits until it is ready. `url` says where it answers.

    `options` are those of `serve`, `env` further variables for the process. Without `command` it is the source tree.
    Ready means that Redis is connected, too, unless `needs_redis` is False.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        folder: Path,
        *options: str,
        addr: str = "127.0.0.1:0",
        env: Mapping[str, str] | None = None,
        needs_redis: bool = True,
    ) -> None:
        self.command = list(command or COMMAND)
        self.folder = folder
        self.log = folder / "serve.log"
        self._options = options
        self._addr = addr
        self._env = dict(env or {})
        self._needs_redis = needs_redis
        self.start()

    def start(self) -> None:
        """Start, again on the same port after the first time."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command, "serve", "--addr", self._addr, *self._options],
                cwd=self.folder, stdout=log, stderr=log, env=environment(**self._env),
            )  # fmt: skip
        try:
            self._addr = str(eventually(lambda: self._ended() or self._address(seen), timeout=30))
            self.url = f"http://{self._addr}"
            eventually(lambda: self._ended() or self.is_ready(), timeout=20)
            assert not self._ended(), self.log.read_bytes()[seen:].decode()
        except BaseException:
            self.end()
            raise

    def use(self, *options: str) -> None:
        """Other options of `serve` from the next start on."""
        self._options = options

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def _address(self, after: int) -> str | None:
        found = re.search(r"serving http://(127\.0\.0\.1:\d+)", self.log.read_bytes()[after:].decode())
        return found and found.group(1)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return int(self._addr.rpartition(":")[2])

    @property
    def token(self) -> str:
        """The line of its token file."""
        return (self.folder / ".metawsm" / "token").read_text().strip()

    @property
    def database(self) -> Path:
        """Its database."""
        return self.folder / ".metawsm" / "metawsm.db"

    def is_ready(self) -> bool:
        """Whether it takes requests and, where needed, has its Redis."""
        try:
            if self.request("GET", "/readyz", anonymous=True).status != 200:
                return False
            return not self._needs_redis or bool(self.request("GET", "/health").body["forum_bus"]["healthy"])
        except (OSError, http.client.HTTPException):
            return False

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        *,
        anonymous: bool = False,
        timeout: float = 40.0,
    ) -> Reply:
        """Send one request on a connection of its own; safe to call from several threads.

        `path` is below /api/v1 unless it is whole. A body that is not bytes is sent as JSON. The token goes along
        unless `anonymous`; `headers` come on top, None leaves one out.
        """
        sent: dict[str, str | None] = {} if anonymous else {"Authorization": f"Bearer {self.token}"}
        if method not in ("GET", "HEAD"):
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        whole = path if path.startswith(("/api/", "/livez", "/readyz")) else BASE + path
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            kept = {name: value for name, value in sent.items() if value is not None}
            connection.request(method, whole, data, kept)
            answer = connection.getresponse()
            lower = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, lower, answer.read().decode())
        finally:
            connection.close()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait(20)

    def end(self) -> None:
        """Stop it if it still runs: in order, so that its own Redis ends with it; by force if that takes too long."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()


def own_program(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the daemon's own program in its folder."""
    return subprocess.run(
        [*daemon.command, *arguments], cwd=daemon.folder, env=environment(), capture_output=True, text=True, timeout=60
    )
