"""A replay that cannot even be counted answers all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest

from metawsm.bus.letters import Person
from metawsm.bus.replay import Replayer
from metawsm.daemon.command_path import CommandPath
from metawsm.daemon.replaying import Replaying
from metawsm.domain.errors import Overloaded
from metawsm.storage.choose import make_writer
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.group_writer import WriterLimits

NOBODY: Any = None


def test_a_full_queue_is_told_and_not_waited_for(tmp_path: Path) -> None:
    """The fresh look runs into a bug, and the note of it finds the writer's queue full: who asked hears of it."""
    writer = make_writer(tmp_path / "db", kind="hub", limits=WriterLimits(waiting_jobs=2))
    commands = CommandPath(writer, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, undone_limit=1)
    # The database has no table of letters: an error that is none of ours, as a bug makes it.
    replayer = Replayer(NOBODY, NOBODY, DeadLetterTable(), NOBODY)
    replaying = Replaying(writer, replayer, commands, lambda error: None, NOBODY, NOBODY)

    def fill(_: object) -> None:
        for _number in range(2):
            writer.enqueue(lambda db: None, lambda outcome: None)

    asked = gevent.spawn(replaying.replay, 1, Person("operator"), 0.0)
    writer.enqueue(lambda db: None, fill)  # it comes first: the replay is handed in when we wait, for the same batch
    with gevent.Timeout(5), pytest.raises(Overloaded, match="wait for the database already"):
        asked.get()
    writer.close()
