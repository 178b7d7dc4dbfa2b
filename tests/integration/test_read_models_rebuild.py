"""A rebuild of real size beside readers and writers: short jobs, and always one or the other set of tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from metawsm.bus.reading import Filters
from metawsm.projections import ALL
from metawsm.projections.search import search
from metawsm.projections.thread_views import list_threads
from metawsm.storage.connection import open_reader
from metawsm.storage.log_reads import head
from metawsm.storage.rebuild import Rebuild, prepare
from tests.support.forum_stories import story, tell
from tests.support.read_side import MINUTES, Forum


@pytest.fixture
def forum(tmp_path: Path) -> Iterator[Forum]:
    """A forum in which much has happened."""
    made = Forum(tmp_path / "metawsm.db")
    tell(made, story(11, 1200))
    made.apply_all()
    yield made
    made.db.close()


def test_readers_see_whole_read_models_all_the_time(forum: Forum, tmp_path: Path) -> None:
    """Between any two steps another connection lists and searches, and gets everything."""
    reader = open_reader(tmp_path / "metawsm.db")

    def read() -> tuple[int, int]:
        when: dict[str, Any] = {"escalation_minutes": MINUTES}
        threads = list_threads(reader, Filters(), 500, None, now=forum.now, **when)["threads"]
        return len(threads), len(search(reader, "about", Filters(), None, 500, None, **when)["threads"])

    before = read()
    making = Rebuild(lambda: forum.now)
    progress = [forum.write(lambda: making.step(forum.db))]
    while not progress[-1].finished:
        assert read() == before
        progress.append(forum.write(lambda: making.step(forum.db)))
    assert read() == before
    reader.close()
    assert before[0] > 100
    done = [step.done for step in progress]
    assert done == sorted(done)
    assert done[-1] == progress[-1].total


def test_steps_are_short(forum: Forum) -> None:
    """Nearly all hold the writer for a few milliseconds; the one that swaps the tables is the longest."""
    tell(forum, story(12, 3600))  # quick machines need few steps
    making = Rebuild(lambda: forum.now)
    took: list[float] = []
    finished = False
    while not finished:
        started = time.process_time()
        finished = forum.write(lambda: making.step(forum.db)).finished
        took.append(time.process_time() - started)
    took.sort()
    assert len(took) > 10
    assert took[int(len(took) * 0.9)] < 0.010
    assert took[-1] < 0.100


def test_it_swaps_under_load(forum: Forum) -> None:
    """Also when more happens between any two steps than the step that swaps would take at first."""
    making = Rebuild(lambda: forum.now, step_seconds=10)
    steps = 0
    while not any(forum.db.execute("SELECT 1 FROM sqlite_schema WHERE name LIKE 'old^_%' ESCAPE '^'")):
        before = head(forum.db)
        tell(forum, story(1000 + steps, 100))
        forum.apply_all()
        assert head(forum.db) - before > 32
        forum.write(lambda: making.step(forum.db))
        steps += 1
        assert steps < 12


def test_another_version_is_noticed_and_made_anew(forum: Forum) -> None:
    """Tables of an older version, or of a read model that is no more, do not serve; a rebuild replaces them."""
    before = forum.read_models()
    newer = tuple(attrs.evolve(spec, version=spec.version + 1) for spec in ALL)
    assert forum.write(lambda: prepare(forum.db, forum.now, ALL)) is False
    assert forum.write(lambda: prepare(forum.db, forum.now, newer)) is True
    forum.db.execute("ALTER TABLE forum_thread_views RENAME COLUMN title TO headline")
    making = Rebuild(lambda: forum.now, newer)
    while not forum.write(lambda: making.step(forum.db)).finished:
        pass
    assert forum.write(lambda: prepare(forum.db, forum.now, newer)) is False
    assert forum.read_models() == before


def test_a_plan_of_another_version_is_begun_anew(forum: Forum) -> None:
    """What a process of another version left half done is cleared first."""
    newer = tuple(attrs.evolve(spec, version=spec.version + 1) for spec in ALL)
    making = Rebuild(lambda: forum.now, newer)
    for _ in range(3):
        forum.write(lambda: making.step(forum.db))
    before = forum.read_models()
    again = Rebuild(lambda: forum.now)
    assert again.is_running(forum.db)
    while not forum.write(lambda: again.step(forum.db)).finished:
        pass
    assert not again.is_running(forum.db)
    assert forum.read_models() == before
