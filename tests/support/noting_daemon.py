"""A real daemon whose commands are notes: `python -m tests.support.noting_daemon LOG TOPICS serve --addr A --redis U`.

TOPICS are names with commas. Everything is the product's, from the relay to the lanes; only the commands are these, one
for each topic. Each call of a handler is a line in LOG. A note that is not ready makes its handler fail as if a part of
the machine were away.
"""

from __future__ import annotations

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import argparse
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.receive import Identity
from metawsm.bus.specs import CommandSpec, Verb
from metawsm.bus.work import Work
from metawsm.daemon.bootstrap import Core, build
from metawsm.daemon.options import Options
from metawsm.daemon.process import Process
from metawsm.daemon.redis_side import RedisSide
from metawsm.domain.errors import Unavailable
from metawsm.policy import load
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.readers import Readers
from tests.faults.transport_properties import Note


@frozen
class TakeNote:
    """A note as a command; its key is the thread."""

    thread_id: str = fields.in_path("the key")
    note: str = fields.text("the note as JSON", required=True)


def _handler(topic: str, log: int, calls: Counter[str]) -> Callable[[Work, TakeNote], Mapping[str, Any]]:
    def handle(_: Work, message: TakeNote) -> Mapping[str, Any]:
        note = Note(**json.loads(message.note))
        calls[note.uuid] += 1
        done = note.is_ready(calls[note.uuid])
        os.write(log, f"{json.dumps({'topic': topic, 'done': done, 'note': asdict(note)})}\n".encode())
        if not done:
            raise Unavailable(f"{note.uuid} is not ready")
        return {"note": {"uuid": note.uuid}}

    return handle


def specs(topics: Sequence[str], log: int) -> tuple[CommandSpec, ...]:
    """One command for each topic."""
    calls: Counter[str] = Counter()
    return tuple(
        CommandSpec(
            name=topic,
            message=TakeNote,
            summary="Take a note",
            path=f"/forum/threads/{{thread_id}}/{topic}",
            key=existing_thread,
            handle=_handler(topic, log, calls),
            answer="note",
            verb=Verb(topic, "Take a note.", (), actor="agent"),
        )
        for topic in topics
    )


class NotingProcess(Process):
    """The daemon with these commands."""

    def __init__(self, options: Options, commands: tuple[CommandSpec, ...]) -> None:
        super().__init__(options)
        self._commands = commands

    def _core(self, identity: Identity, writer: GroupWriter, readers: Readers, redis: RedisSide) -> Core:
        return build(self._options, identity, writer, readers, redis, self._commands)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser()
    for name in ("log", "topics", "serve", "--addr", "--redis"):
        parser.add_argument(name)
    given = parser.parse_args()
    host, _, port = given.addr.rpartition(":")
    loaded = load(None, os.environ, {"forum.redis.url": given.redis})
    options = Options((host, int(port)), Path(".metawsm/metawsm.db"), loaded, 5.0)
    log = os.open(given.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    NotingProcess(options, specs(given.topics.split(","), log)).run()


if __name__ == "__main__":
    main()
