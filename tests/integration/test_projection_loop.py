"""The loop of the read models: an event that one of them cannot apply is left out, and a dead letter says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from metawsm.bus.ports import Db
from metawsm.bus.projecting import Projector
from metawsm.bus.specs import Change, ProjectionSpec
from metawsm.daemon.projection_loop import ProjectionLoop
from metawsm.daemon.read_models import now
from metawsm.domain import actions
from metawsm.projections import ALL, thread_views
from metawsm.storage.choose import make_writer
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.group_writer import GroupWriter
from tests.support.read_side import Forum
from tests.support.run_lab import until

FULL = "CREATE TRIGGER full BEFORE INSERT ON dead_letters BEGIN SELECT raise(FAIL, 'no room'); END"


def sour(name: str, *sequences: int) -> ProjectionSpec:
    """A read model that cannot cope with the events of these sequences, and keeps nothing of the others."""

    def build(_prefix: str) -> Callable[[Db, Change], None]:
        def apply(_db: Db, change: Change) -> None:
            if change.event.sequence in sequences:
                raise RuntimeError(f"{name} cannot cope with {change.event.sequence}")

        return apply

    return ProjectionSpec(name, 1, (), lambda _prefix: "", build)


class Lab:
    """A log of six events whose read models have not been told of any, and a loop with some more read models."""

    def __init__(self, path: Path, writer: GroupWriter, *more: ProjectionSpec) -> None:
        self.path, self.writer = path, writer
        self.applied: list[int] = []
        projector = Projector((*ALL, *more), thread_views.finder, lambda error: False)
        group, feed = "metawsm-forum.projections", "metawsm-forum"
        self.loop = ProjectionLoop(writer, projector, DeadLetterTable(), group, feed, now, self.applied.append)

    def rows(self, sql: str) -> list[Any]:
        """What the database holds."""
        found: list[Any] = self.writer.run(lambda db: list(db.execute(sql)))
        return found

    def letters(self) -> list[tuple[str, str, str]]:
        """The letters' states, read models and events."""
        return self.rows("SELECT status, handler, entry_id FROM dead_letters ORDER BY id")

    def position(self) -> int:
        """How far the read models are."""
        ((sequence,),) = self.rows("SELECT min(sequence) FROM projection_cursors")
        return int(sequence)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A thread with five posts, not yet in the read models."""
    forum = Forum(tmp_path / "db")
    thread = forum.open()
    for number in range(5):
        forum.do(thread, actions.post, f"post {number}")
    forum.db.close()
    return tmp_path / "db"


@pytest.fixture
def writer(path: Path) -> Iterator[GroupWriter]:
    """The writer of that database."""
    made = make_writer(path, kind="hub")
    yield made
    made.close()


def test_a_letter_that_cannot_be_stored_loses_nothing(path: Path, writer: GroupWriter) -> None:
    """The letter and the step past its event are one commit: until it can be made, the cursor stays before it."""
    lab = Lab(path, writer, sour("sour", 3))
    lab.rows(FULL)
    lab.loop.prompt()
    until(lambda: "no room" in (lab.loop.fault or ""), 10)
    gevent.sleep(0.5)
    assert (lab.position(), lab.letters(), lab.applied) == (0, [], [])
    lab.rows("DROP TRIGGER full")
    until(lambda: lab.position() == 6, 10)
    assert lab.letters() == [("open", "sour", "3-0")]
    assert (lab.applied, lab.loop.fault) == ([6], None)


def test_each_failure_has_its_letter(path: Path, writer: GroupWriter) -> None:
    """Two events in one batch, one of them in two read models: each pair is left out once, and told once."""
    lab = Lab(path, writer, sour("sour", 2, 5), sour("bitter", 5))
    lab.loop.prompt()
    until(lambda: lab.position() == 6, 20)
    assert sorted(lab.letters()) == [("open", "bitter", "5-0"), ("open", "sour", "2-0"), ("open", "sour", "5-0")]
    assert {attempts for (attempts,) in lab.rows("SELECT attempts FROM dead_letters")} == {3}
