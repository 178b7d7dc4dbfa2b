"""The clock of the machine is set back by an hour: what was noted before has times that are to come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from metawsm.bus.clockwork import Clockwork, Retention, Sent
from metawsm.daemon.read_models import ago, now
from metawsm.schedules import republish
from metawsm.storage.jobs_table import later
from tests.integration.test_jobs import Shop, kind, new
from tests.support.run_lab import RunLab, until

NOBODY: Any = None
HOUR = 3600.0


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunLab]:
    """A process over a database of its own."""
    made = RunLab(tmp_path, boot="boot-1", reactions=[])
    yield made
    made.close()


def test_a_job_from_before_begins_at_once(lab: RunLab) -> None:
    """It does not wait until the clock is there again; one whose time is to come by this clock does."""
    before = later(now(), HOUR)
    lab.writer.run(lambda db: lab.jobs.insert(db, new(1), before))
    lab.writer.run(lambda db: lab.jobs.insert(db, new(2, lane="other", delay=HOUR), now()))
    shop = Shop(lab, test=kind(lambda job: {"found": job.payload["step"]}))
    until(shop.ended)
    assert shop.rows() == [("done", 1), ("pending", 0)]
    shop.end()


def test_one_that_waits_for_its_lane_is_due_now(lab: RunLab) -> None:
    """What health and the worker's pause go by: due since now, or since its time if that has passed."""
    before = later(now(), HOUR)
    lab.writer.run(lambda db: lab.jobs.insert(db, new(1), before))
    moment = now()
    assert lab.read(lambda db: lab.jobs.next_at(db, moment)) == moment
    lab.writer.run(lambda db: db.execute("UPDATE jobs SET not_before = ?", (ago(90.0),)))
    assert ago(100.0) < str(lab.read(lambda db: lab.jobs.next_at(db, moment))) < ago(80.0)


def test_a_retry_from_before_is_tried_once_at_once(lab: RunLab) -> None:
    """The pause that it was given is by the clock of before; the next one is by this clock."""
    calls: list[int] = []

    def fail(job: Any) -> dict[str, Any]:
        calls.append(job.attempt)
        raise RuntimeError("not yet")

    before = later(now(), HOUR)
    lab.writer.run(lambda db: lab.jobs.insert(db, new(1, delay=30.0), before))
    shop = Shop(lab, retries=5, test=kind(fail))
    until(lambda: calls)
    gevent.sleep(0.2)
    assert calls == [1]
    shop.end()


@pytest.mark.parametrize(("age", "looked_after"), [(-HOUR, True), (30.0, True), (0.1, False)])
def test_a_lost_command_is_looked_after(age: float, looked_after: bool) -> None:
    """Sent and pending rows from before are not taken for new ones until the clock is there again."""
    at = ago(age)
    repeated: list[int] = []
    reread: list[bool] = []
    tools = Clockwork(
        NOBODY, ago, lambda query: query(NOBODY), lambda: True, list, repeated.append,
        lambda _: Sent(7, "t", at, 7), lambda _: at, reread.append, lambda: None, (), NOBODY, Retention(1, 1),
        lambda _: None,
    )  # fmt: skip
    republish.run(tools)
    republish.run(tools)
    assert (bool(reread), repeated) == (looked_after, [7] if looked_after else [])
