"""The daemon's rebuild: who asks while one runs gets another one, which ends what failed since the first began."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import gevent
import pytest

from metawsm.bus.ports import Subscription
from metawsm.bus.receive import DeadLetter
from metawsm.daemon.read_models import now
from metawsm.daemon.rebuilding import Rebuilding
from metawsm.storage.choose import make_writer
from metawsm.storage.connection import open_writer
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.group_writer import GroupWriter
from metawsm.storage.migrations import migrate
from metawsm.storage.rebuild import Rebuild
from metawsm.storage.schema_steps import STEPS

FEED = Subscription("metawsm-forum", "metawsm-forum.projections")
TABLE = DeadLetterTable()


class Lab(NamedTuple):
    """A rebuild on a database of its own, and the writer beside it."""

    writer: GroupWriter
    rebuilding: Rebuilding

    def fail(self) -> None:
        """A read model fails on an event now."""
        group = f"{FEED.group}.stats"
        letter = DeadLetter("projection_failed", "stats", group, FEED.topic, "0-0", now())
        self.writer.run(lambda db: TABLE.insert(db, letter))

    def status(self) -> str:
        """What became of its letter."""
        found = self.writer.run(lambda db: TABLE.find(db, 1))
        assert found is not None
        return found.status

    def settle(self) -> None:
        """Wait until nothing is said to run."""
        with gevent.Timeout(10):
            while self.rebuilding.facts()["running"]:
                gevent.sleep(0.001)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with the newest schema."""
    db = open_writer(tmp_path / "db")
    migrate(db, STEPS)
    db.close()
    return tmp_path / "db"


@pytest.fixture
def lab(path: Path) -> Iterator[Lab]:
    """Read models that are up to date, and the loop."""
    writer = make_writer(path, kind="hub")
    made = Lab(writer, Rebuilding(writer, TABLE, FEED))
    made.rebuilding.bring_up_to_date()
    loop = gevent.spawn(made.rebuilding.run)
    yield made
    loop.kill()
    writer.close()


def test_a_rebuild_ends_what_failed_before_it(lab: Lab) -> None:
    """Asked for once, it runs once."""
    lab.fail()
    lab.rebuilding.begin()
    lab.settle()
    assert lab.status() == "replayed"


def test_who_asks_while_one_runs_gets_another(lab: Lab) -> None:
    """A letter of a failure during a rebuild ends with the next one, which begins by itself; all is said to run."""
    lab.rebuilding.begin()
    first = lab.rebuilding.facts()["started_at"]
    lab.fail()
    assert lab.rebuilding.facts()["running"]
    lab.rebuilding.begin()
    lab.rebuilding.begin()
    assert lab.rebuilding.facts()["started_at"] == first
    lab.settle()
    assert lab.status() == "replayed"
    facts = lab.rebuilding.facts()
    assert facts["started_at"] > first and facts["finished_at"] > facts["started_at"]


def test_who_asks_while_one_is_resumed_gets_a_whole_one(path: Path) -> None:
    """A rebuild left over from a crash ends no letter; the one that was asked for meanwhile does."""
    writer = make_writer(path, kind="hub")
    lab = Lab(writer, Rebuilding(writer, TABLE, FEED))
    lab.rebuilding.bring_up_to_date()
    lab.fail()
    writer.run(Rebuild(now).step)
    resumed = lab._replace(rebuilding=Rebuilding(writer, TABLE, FEED))
    resumed.rebuilding.bring_up_to_date()
    resumed.rebuilding.begin()
    loop = gevent.spawn(resumed.rebuilding.run)
    resumed.settle()
    assert resumed.status() == "replayed"
    loop.kill()
    writer.close()
