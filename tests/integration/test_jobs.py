"""Long effects: in lanes, tried again, taken up after a crash, told once, held after a restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest

from metawsm.bus.jobs import Job, JobSpec, Later, NewJob, record_step, shown
from metawsm.daemon import job_worker
from metawsm.daemon.job_worker import JobWorker
from metawsm.daemon.read_models import ago, now
from metawsm.domain.errors import Obstructed, OutcomeUnknown, ProgramFailed
from metawsm.storage.jobs_table import JobTable
from tests.support.run_lab import RunLab, until
from tests.support.storage_lab import LockHolder

Do = Callable[[Job], dict[str, Any]]


class Shop:
    """A process with a worker of jobs that note what they do; how each kind acts, the test says."""

    def __init__(self, lab: RunLab, retries: int = 1, **kinds: JobSpec) -> None:
        self.lab = lab
        tools: Any = SimpleNamespace(now=now)
        self.worker = JobWorker(
            lab.writer, lab.read, lab.jobs, list(kinds.values()), tools, lab.internal, retries, lab.sent.extend
        )
        self.loop = gevent.spawn(self.worker.run)

    def add(self, *jobs: NewJob) -> None:
        """Have jobs done."""
        for job in jobs:
            self.lab.writer.run(lambda db, job=job: self.lab.jobs.insert(db, job, now()))  # type: ignore[misc]
        self.worker.prompt()

    def rows(self, what: str = "status, attempt") -> list[tuple[Any, ...]]:
        """What the table says of all jobs, in order."""
        return self.lab.rows(f"SELECT {what} FROM jobs ORDER BY id")

    def told(self) -> list[tuple[Any, ...]]:
        """The commands that told outcomes."""
        return self.lab.rows(
            "SELECT message_id, payload_json ->> '$.payload.state', payload_json ->> '$.payload.error'"
            " FROM forum_outbox WHERE topic = 'forum.commands.record_step' ORDER BY id"
        )

    def ended(self, count: int = 1) -> bool:
        """Whether so many jobs have ended."""
        return sum(status in ("done", "failed") for status, _ in self.rows()) == count

    def end(self) -> None:
        """The process ends; what is at work stays at work in the table."""
        self.loop.kill()


def kind(do: Do, *, inspect: Any = None, at_once: int = 4, name: str = "test", record: Any = record_step) -> JobSpec:
    """A kind of job."""
    return JobSpec(name, lambda tools, job: do(job), record, inspect and (lambda tools, job: inspect(job)), at_once)


def new(number: int = 1, lane: str = "run-7", kind_: str = "test", **more: Any) -> NewJob:
    """The job of step `number` of run-7."""
    return NewJob(kind_, f"step:run-7:{number}", lane, {"run_id": "run-7", "step": number}, "run-7", **more)


@pytest.fixture
def open_shop(tmp_path: Path) -> Iterator[Callable[..., Shop]]:
    """Start a process with these kinds of jobs; one that was there before is ended as by a crash."""
    shops: list[Shop] = []

    def start(*specs: JobSpec, epoch: int = 1, retries: int = 1) -> Shop:
        close()
        lab = RunLab(tmp_path, boot=f"boot-{len(shops)}", epoch=epoch, reactions=[])
        shops.append(Shop(lab, retries, **{spec.kind: spec for spec in specs}))
        return shops[-1]

    def close() -> None:
        if shops:
            shops[-1].end()
            shops[-1].lab.close()

    yield start
    close()


def test_a_job_is_done_and_told(open_shop: Any) -> None:
    """Its outcome is a command in the commit that ends it, with what was found, under the job's name."""
    shop = open_shop(kind(lambda job: {"found": job.payload["step"]}))
    shop.add(new(3))
    until(shop.ended)
    assert shop.rows("status, attempt, error") == [("done", 1, None)]
    assert shop.told() == [("job:step:run-7:3", "done", None)]
    assert [queued.message_id for queued in shop.lab.sent] == ["job:step:run-7:3"]
    assert '"result":{"found":3}' in shop.lab.sent[0].text
    shop.add(new(3))
    gevent.sleep(0.05)
    assert shop.rows() == [("done", 1)]


def test_a_lane_is_one_by_one_and_lanes_go_side_by_side(open_shop: Any) -> None:
    """Two of a lane never overlap; another lane does not wait, not even behind very many of a busy one."""
    active: dict[str, int] = {}
    most: dict[str, int] = {}

    def do(job: Job) -> dict[str, Any]:
        active[job.lane] = active.get(job.lane, 0) + 1
        most[job.lane] = max(most.get(job.lane, 0), active[job.lane])
        order.append(job.payload["step"])
        gevent.sleep(0.003)
        active[job.lane] -= 1
        return {}

    order: list[int] = []
    shop = open_shop(kind(do))
    jobs = [*(new(n, "a") for n in range(1, 101)), *(new(n, "b") for n in range(101, 104))]
    shop.lab.writer.run(lambda db: [shop.lab.jobs.insert(db, job, now()) for job in jobs])
    shop.worker.prompt()
    until(lambda: shop.ended(103), 10)
    assert most == {"a": 1, "b": 1}
    assert [step for step in order if step <= 100] == list(range(1, 101))
    assert order.index(103) < 20


def test_a_kind_has_its_bound_and_leaves_room_for_others(open_shop: Any) -> None:
    """No more than `at_once`, nor more than the worker takes in all; others go on beside them."""
    counts: dict[str, list[int]] = {"slow": [0, 0], "quick": [0, 0]}

    def do(job: Job) -> dict[str, Any]:
        count = counts[job.kind]
        count[0] += 1
        count[1] = max(count)
        gevent.sleep(60 if job.kind == "slow" else 0.001)
        count[0] -= 1
        return {}

    shop = open_shop(kind(do, name="slow", at_once=2), kind(do, name="quick", at_once=99))
    shop.add(*(new(n, f"lane-{n}", "slow") for n in range(20)))
    until(lambda: counts["slow"][0] == 2)
    shop.add(*(new(100 + n, f"lane-{100 + n}", "quick") for n in range(40)))
    until(lambda: shop.ended(40))
    assert counts["slow"] == [2, 2]
    assert counts["quick"][1] <= job_worker.MOST


def test_a_failure_is_tried_again_with_a_pause(open_shop: Any) -> None:
    """As often as the policy says; then it has failed, in the words of the newest attempt."""
    tries: list[float] = []

    def do(job: Job) -> dict[str, Any]:
        tries.append(time.monotonic())
        raise ProgramFailed(f"attempt {job.attempt} failed")

    shop = open_shop(kind(do), retries=2)
    shop.add(new())
    until(shop.ended)
    assert shop.rows("status, attempt, error") == [("failed", 3, "attempt 3 failed")]
    assert shop.told() == [("job:step:run-7:1", "failed", "attempt 3 failed")]
    first, second = tries[1] - tries[0], tries[2] - tries[1]
    assert 0.35 < first < 0.9 and 0.7 < second < 1.6


def test_a_failure_that_passes(open_shop: Any) -> None:
    """The attempt that succeeds ends it, and tells how many there were."""

    def do(job: Job) -> dict[str, Any]:
        if job.attempt < 2:
            raise RuntimeError("a bug")
        return {}

    shop = open_shop(kind(do))
    shop.add(new())
    until(shop.ended)
    assert shop.rows() == [("done", 2)] and '"attempts":2' in shop.lab.sent[0].text


def test_what_stands_in_the_way_is_told_at_once(open_shop: Any) -> None:
    """Trying again would not help before somebody has changed it."""

    def do(job: Job) -> dict[str, Any]:
        raise Obstructed("app has uncommitted work")

    shop = open_shop(kind(do), retries=5)
    shop.add(new())
    until(shop.ended)
    assert shop.rows() == [("failed", 1)]
    assert shop.told()[0][2] == "app has uncommitted work"


def test_what_comes_too_early_waits_uncounted(open_shop: Any) -> None:
    """However often: its attempts are those that were real. A job may also be put off from the start."""
    left = [0.02] * 6

    def do(job: Job) -> dict[str, Any]:
        if left:
            raise Later(left.pop(), "the agent is busy")
        return {}

    shop = open_shop(kind(do))
    began = time.monotonic()
    shop.add(new(delay=0.2))
    until(shop.ended)
    assert shop.rows() == [("done", 1)] and time.monotonic() - began > 0.3


@pytest.mark.parametrize("was_done", [True, False])
def test_a_crash_in_the_middle(open_shop: Any, was_done: bool) -> None:
    """The next process looks first: what was done is told, what was not is done again; either is told once."""
    effects: list[int] = []

    def never_ends(job: Job) -> dict[str, Any]:
        effects.append(job.attempt)
        gevent.sleep(60)
        return {}

    shop = open_shop(kind(never_ends))
    shop.add(new())
    until(lambda: effects)
    assert shop.rows() == [("running", 1)]

    def again(job: Job) -> dict[str, Any]:
        effects.append(job.attempt)
        return {"how": "done again"}

    looked: list[bool] = []

    def inspect(job: Job) -> dict[str, Any] | None:
        looked.append(job.interrupted)
        return {"how": "found"} if was_done else None

    shop = open_shop(kind(again, inspect=inspect))
    until(shop.ended)
    assert looked == [True]
    assert effects == ([1] if was_done else [1, 2])
    assert ('"found"' in shop.lab.sent[0].text) is was_done
    assert shop.rows() == [("done", 2)] and len(shop.told()) == 1


def test_what_another_process_has_claimed_is_open_only_to_the_next(open_shop: Any) -> None:
    """A row that this process runs is not offered again, however often the table is looked at."""
    runs: list[int] = []

    def do(job: Job) -> dict[str, Any]:
        runs.append(job.id)
        gevent.sleep(0.1)
        return {}

    shop = open_shop(kind(do))
    shop.add(new())
    for _ in range(20):
        shop.worker.prompt()
        gevent.sleep(0.005)
    until(shop.ended)
    assert runs == [1]


def test_held_jobs_wait_for_their_release(open_shop: Any) -> None:
    """After a restore the outside has moved on: what the backup brought waits, what is new does not."""
    shop = open_shop()
    shop.end()
    shop.add(new(1, "a"), new(2, "b"))
    shop.lab.writer.run(lambda db: shop.lab.jobs.claim(db, shop.lab.jobs.ready(db, now(), (), (), 1)[0], now()))
    done: list[int] = []

    def do(job: Job) -> dict[str, Any]:
        done.append(job.payload["step"])
        return {}

    shop = open_shop(kind(do), epoch=2)
    shop.loop.kill()

    def hold() -> int:
        held: int = shop.lab.writer.run(lambda db: shop.lab.jobs.hold(db, now()))
        return held

    assert hold() == 2
    shop.add(new(3, "c"))
    assert hold() == 0
    shop.loop = gevent.spawn(shop.worker.run)
    until(lambda: done == [3])
    gevent.sleep(0.05)
    assert shop.lab.read(shop.lab.jobs.counts) == {"pending": 0, "running": 0, "held": 2}
    shop.loop.kill()
    assert shop.lab.writer.run(lambda db: shop.lab.jobs.release(db, now())) == 2
    assert hold() == 0
    shop.loop = gevent.spawn(shop.worker.run)
    until(lambda: sorted(done) == [1, 2, 3])


def test_an_outage_while_recording(open_shop: Any, tmp_path: Path) -> None:
    """The effect happens once; its outcome waits until it can be stored."""
    effects: list[int] = []
    holders: list[LockHolder] = []

    def do(job: Job) -> dict[str, Any]:
        holders.append(LockHolder(tmp_path / "db"))
        effects.append(job.attempt)
        return {}

    shop = open_shop(kind(do))
    shop.add(new())
    until(lambda: effects)
    gevent.sleep(1.0)
    assert shop.rows() == [("running", 1)]
    holders[0].release()
    until(shop.ended, 20)
    assert (effects, len(shop.told()), shop.rows()) == ([1], 1, [("done", 1)])


@pytest.mark.parametrize("stored", [True, False])
def test_a_claim_in_doubt_is_neither_lost_nor_made_twice(open_shop: Any, stored: bool) -> None:
    """The commit's fate was not known, for the claim and for the outcome: each is settled by asking again."""
    effects: list[int] = []
    doubts = [2]

    def do(job: Job) -> dict[str, Any]:
        effects.append(job.attempt)
        doubts.append(2)
        return {}

    shop = open_shop(kind(do))
    real = shop.lab.writer.run

    def doubtful(job: Any) -> Any:
        if not doubts:
            return real(job)
        doubts.pop()
        if stored:
            real(job)
        raise OutcomeUnknown("nobody knows")

    shop.add(new())
    shop.lab.writer.run = doubtful
    until(shop.ended, 10)
    assert (effects, shop.rows(), len(shop.told())) == ([1], [("done", 1)], 1)


def test_words_that_cannot_be_stored_are_made_so(open_shop: Any) -> None:
    """NUL, half characters and very long texts, as tools print them; the run hears of the failure."""
    bad = "\x00\udcff" + "x" * 100_000 + "the end"

    def do(job: Job) -> dict[str, Any]:
        raise Obstructed(bad)

    shop = open_shop(kind(do))
    shop.add(new())
    until(shop.ended)
    error = shop.told()[0][2]
    assert error.startswith("\ufffd?x") and error.endswith("the end") and len(error) < 5000
    assert shop.rows("error") == [(error,)]
    assert shown("plain\nwörds") == "plain\nwörds"


def test_an_outcome_that_cannot_be_recorded_is_a_failure(open_shop: Any) -> None:
    """A result that no row can hold must not let the run wait for ever."""
    shop = open_shop(kind(lambda job: {"path": "\udcff"}))
    shop.add(new())
    until(shop.ended)
    ((_, state, error),) = shop.told()
    assert state == "failed" and "could not be recorded" in error and "surrogates not allowed" in error


def test_a_kind_that_this_program_does_not_know(open_shop: Any) -> None:
    """The run hears of it, as after a downgrade; a job that nobody waits for just ends."""
    shop = open_shop()
    shop.add(new(kind_="sing"), NewJob("dance", "dance:1", "floor", {}))
    until(lambda: shop.ended(2))
    assert shop.told() == [("job:step:run-7:1", "failed", "this program has no job 'sing'")]
    assert shop.rows("status") == [("failed",), ("failed",)]


def test_a_job_without_an_outcome_to_tell(open_shop: Any) -> None:
    """It ends without a command."""
    shop = open_shop(kind(lambda job: {}, record=lambda *told: None))
    shop.add(new())
    until(shop.ended)
    assert shop.told() == [] and shop.lab.sent == []


def test_ended_jobs_go_after_a_while(tmp_path: Path) -> None:
    """Those that are open never do."""
    lab = RunLab(tmp_path, reactions=[])
    jobs: JobTable = lab.jobs
    for number in range(3):
        lab.writer.run(lambda db, n=number: jobs.insert(db, new(n, f"lane-{n}"), ago(9e5)))  # type: ignore[misc]
    first = lab.read(lambda db: jobs.ready(db, now(), (), (), 9))[0]
    assert lab.writer.run(lambda db: jobs.claim(db, first, ago(9e5)))
    assert lab.writer.run(lambda db: jobs.finish(db, first, "done", None, ago(9e5)))
    assert not lab.writer.run(lambda db: jobs.finish(db, first, "done", None, ago(9e5)))
    assert lab.writer.run(lambda db: jobs.prune(db, ago(604_800), 100)) == 1
    assert lab.rows("SELECT status FROM jobs") == [("pending",), ("pending",)]
    lab.close()
