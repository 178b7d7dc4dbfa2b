"""The properties' adapter over the daemon itself: publishers are other programs, the subscriber is the whole daemon."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.transport_properties import Attempt, Note
from tests.support.daemon import Daemon
from tests.support.redis_servers import ServerHandle
from tests.support.stream_consumer import StreamPublisher, pending_count


def command_topic(topic: str) -> str:
    """The stream of a note's command."""
    return f"forum.commands.{topic}"


class CommandPublisher(StreamPublisher):
    """Publishes notes as commands of another program."""

    def publish(self, topic: str, notes: Sequence[Note]) -> None:
        """On the topic of the command."""
        super().publish(command_topic(topic), notes)

    def payload(self, topic: str, note: Note) -> bytes:
        """Envelope and body."""
        envelope = {"event_type": topic, "actor_type": "agent", "event_id": note.uuid, "thread_id": note.key}
        return json.dumps({"envelope": envelope, "payload": {"note": note.to_json()}}).encode()


class DaemonSubscriber:
    """A daemon on the medium's database; `close` is SIGTERM, and it has to end in order."""

    def __init__(self, folder: Path, log: Path, topics: Sequence[str], url: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "tests.support.noting_daemon", str(log), ",".join(topics)]
        self._daemon = Daemon(command, folder, "--redis", url)

    def attempts(self) -> list[Attempt]:
        """What its handlers wrote."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        found = map(json.loads, lines)
        return [Attempt(each["topic"], Note(**each["note"]), each["done"]) for each in found]

    def close(self) -> None:
        """End it if it runs."""
        if self._daemon.process.poll() is None:
            assert self._daemon.stop() == 0


class DaemonMedium:
    """One daemon at a time on one database and one server."""

    def __init__(self, broker: ServerHandle, folder: Path) -> None:
        self._broker = broker
        self._folder = folder
        self._logs = itertools.count()
        self._publishers: list[CommandPublisher] = []
        self._subscribers: list[DaemonSubscriber] = []

    def publisher(self) -> CommandPublisher:
        """Another program that sends commands."""
        self._publishers.append(CommandPublisher(self._broker.url))
        return self._publishers[-1]

    def subscribe(
        self, topics: Sequence[str], group: str = "shared", name: str = "", broken: bool = False
    ) -> DaemonSubscriber:
        """The daemon; its group and its name are the policy's."""
        assert group == "shared" and not broken, (group, name)
        log = self._folder / f"notes-{next(self._logs)}.log"
        self._subscribers.append(DaemonSubscriber(self._folder, log, topics, self._broker.url))
        return self._subscribers[-1]

    def unacknowledged(self, topic: str) -> int:
        """Among the commands."""
        return pending_count(self._broker, command_topic(topic))

    def restart(self, kill: bool) -> None:
        """A real restart on the append-only file."""
        if kill:
            self._broker.kill()
        else:
            self._broker.stop()
        self._broker.start()

    def close(self) -> None:
        """End everything that was started."""
        for subscriber in self._subscribers:
            subscriber.close()
        for publisher in self._publishers:
            publisher.close()
