"""A replay whose failure cannot be counted says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import gevent
import pytest

from metawsm.bus.letters import Person
from metawsm.bus.receive import DeadLetter
from metawsm.bus.replay import Replayer
from metawsm.bus.work import Tools
from metawsm.daemon.command_path import CommandPath
from metawsm.daemon.identity import new_id
from metawsm.daemon.read_models import now
from metawsm.daemon.replaying import Replaying
from metawsm.domain.errors import Overloaded
from metawsm.storage.choose import make_writer
from metawsm.storage.connection import open_writer
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.group_writer import WriterLimits
from metawsm.storage.migrations import migrate
from metawsm.storage.schema_steps import STEPS

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


def test_a_failure_that_could_not_be_counted_is_no_answer(tmp_path: Path) -> None:
    """The fresh look runs into a bug, and the note of it is not stored: who asked hears that, not of a count."""
    connection = open_writer(tmp_path / "db")
    migrate(connection, STEPS)
    table = DeadLetterTable()
    writer = make_writer(tmp_path / "db", kind="hub", connection=connection)
    commands = CommandPath(writer, NOBODY, NOBODY, NOBODY, NOBODY, NOBODY, undone_limit=1)
    # Nobody receives: an error that is none of ours, as a bug makes it.
    replayer = Replayer(NOBODY, NOBODY, table, Tools(now, new_id, 30, NOBODY))
    replaying = Replaying(writer, replayer, commands, lambda error: None, NOBODY, NOBODY)
    letter = DeadLetter("undecodable", "receive", "g", "t", "1-0", now(), payload=b"?")
    writer.run(lambda db: table.insert(db, letter))
    writer.run(lambda db: db.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON dead_letters BEGIN SELECT raise(FAIL, 'no room'); END"
    ))  # fmt: skip
    with pytest.raises(apsw.ConstraintError, match="no room"):
        replaying.replay(1, Person("operator"), 0.0)
    writer.close()
