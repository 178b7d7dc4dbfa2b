"""What goes wrong during a soak, at random, one thing after the other."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from attrs import frozen

from tests.support.daemon import Daemon
from tests.support.redis_tcp import RedisTcp

COMMAND_TOPIC = "forum.commands.add_post"
RECOVERY_SECONDS = 30.0  # that are waited for


@frozen
class Broken:
    """One fault: when it began and ended (seconds), and how long after its end everything was healthy again."""

    name: str
    at: float
    until: float
    healthy_after: float | None


class Faults:
    """Breaks things until `close`. The daemon itself is killed only before `kills_until` (seconds after `begun`)."""

    def __init__(
        self, daemon: Daemon, server: RedisTcp, dice: random.Random, begun: float, kills_until: float, pause: float
    ) -> None:
        self.done: list[Broken] = []
        self.errors: list[str] = []
        self._daemon = daemon
        self._server = server
        self._dice = dice
        self._begun = begun
        self._kills_until = kills_until
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Break nothing more; wait for the end of the fault that is on."""
        self._over.set()
        self._thread.join(60)

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _run(self) -> None:
        while not self._over.wait(self._dice.uniform(0.6, 1.4) * self._pause):
            fault = self._dice.choice(self._possible())
            began = self._now()
            try:
                fault()
                ended = self._now()
                self.done.append(Broken(fault.__name__, began, ended, self._healthy_after(ended)))
            except Exception as error:  # noqa: BLE001 - the soak goes on and says what failed
                self.errors.append(f"{fault.__name__} at {began:.0f} s: {error!r}")
                return

    def _possible(self) -> Sequence[Callable[[], None]]:
        """Kills of the daemon count double in their time: they are what the ledger is most interested in."""
        kills = [self.kill_daemon, self.kill_daemon, self.stop_daemon] if self._now() < self._kills_until else []
        redis_faults = [self.kill_redis, self.stall_redis, self.flush_redis, self.cut_connections]
        return [*kills, *redis_faults, self.publish_rubbish, self.stall_daemon]

    def _healthy_after(self, ended: float) -> float | None:
        while self._now() < ended + RECOVERY_SECONDS:
            try:
                if self._daemon.request("GET", "/health", timeout=5).body["forum_bus"]["healthy"]:
                    return self._now() - ended
            except (OSError, ValueError):
                time.sleep(0.02)
            time.sleep(0.02)
        return None

    def kill_daemon(self) -> None:
        """SIGKILL, and a start at once."""
        self._daemon.kill()
        self._daemon.start()

    def stop_daemon(self) -> None:
        """SIGTERM, and a start."""
        code = self._daemon.stop()
        if code != 0:
            raise RuntimeError(f"the daemon ended with {code}")
        self._daemon.start()

    def stall_daemon(self) -> None:
        """It stands still for some seconds."""
        os.kill(self._daemon.process.pid, signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.5, 3.0))
        os.kill(self._daemon.process.pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        """SIGKILL; it comes back on its append-only file."""
        self._server.kill()
        time.sleep(self._dice.uniform(0.1, 5.0))
        self._server.start()

    def stall_redis(self) -> None:
        """It stands still; connections stay."""
        os.kill(self._server.process.pid, signal.SIGSTOP)
        time.sleep(self._dice.uniform(0.5, 8.0))
        os.kill(self._server.process.pid, signal.SIGCONT)

    def flush_redis(self) -> None:
        """Everything in it is gone."""
        with self._client() as client:
            client.flushall()

    def cut_connections(self) -> None:
        """All connections are closed, some of them in the middle of a reply."""
        with self._client() as client:
            for _ in range(20):
                client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.05)

    def publish_rubbish(self) -> None:
        """Entries that are no commands, and old copies of ours."""
        with self._client() as client:
            client.xadd(COMMAND_TOPIC, {"something": "else"})
            client.xadd(COMMAND_TOPIC, {"_watermill_message_uuid": "x", "payload": "{broken"})
            client.xadd(COMMAND_TOPIC, {"_watermill_message_uuid": "x", "metadata": b"\xc1", "payload": "{}"})
            for _, fields in client.xrange(COMMAND_TOPIC, count=20):
                client.xadd(COMMAND_TOPIC, fields)

    def _client(self) -> Any:
        return redis.Redis(port=self._server.port, socket_timeout=5.0)
