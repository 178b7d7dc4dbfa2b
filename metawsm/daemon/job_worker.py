"""The job worker: long effects run outside every transaction, in lanes, and end as commands that tell their outcome."""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.pool import Group

from metawsm.bus.internal import Internal
from metawsm.bus.jobs import Job, JobSpec, JobTools, Later, Result, record_step, shown
from metawsm.bus.ports import Db, Writer
from metawsm.bus.work import Queued
from metawsm.domain.errors import MetawsmError, Obstructed, OutcomeUnknown, Unavailable

MOST = 16  # jobs at work at once, of all kinds
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between attempts
LAST_SECONDS, END_SECONDS = 1.0, 4.0  # at the end: for jobs to end by themselves, then for their programs to be ended
LOOK = 30.0  # seconds after which the table is looked at, prompted or not
log = logging.getLogger("metawsm.jobs")


class Jobs(Protocol):
    """The rows of jobs."""

    def ready(self, db: Db, now: str, lanes: Collection[str], kinds: Collection[str], limit: int) -> list[Job]:
        """Jobs that may begin now, without those of busy lanes and kinds."""
        ...

    def next_at(self, db: Db, now: str) -> str | None:
        """When the next one may begin."""
        ...

    def claim(self, db: Db, job: Job, now: str) -> bool:
        """Take it for this process."""
        ...

    def postpone(self, db: Db, job: Job, seconds: float, error: str, now: str, counted: bool = True) -> None:
        """Try it again in so many seconds."""
        ...

    def finish(self, db: Db, job: Job, state: str, error: str | None, now: str) -> bool:
        """It has ended; False if it had before."""
        ...


class JobWorker:
    """Runs jobs. `read(query)` is a short query, `on_commands` hears of the commands that tell outcomes.

    A failure is tried again, up to `retries` times; what stands in the way is told at once, since trying does not help.
    """

    def __init__(
        self,
        writer: Writer,
        read: Callable[[Callable[[Db], Any]], Any],
        jobs: Jobs,
        specs: Sequence[JobSpec],
        tools: JobTools,
        internal: Internal,
        retries: int,
        on_commands: Callable[[Sequence[Queued]], None],
    ) -> None:
        self._writer = writer
        self._read = read
        self._jobs = jobs
        self._specs: Mapping[str, JobSpec] = {spec.kind: spec for spec in specs}
        self._tools = tools
        self._internal = internal
        self._retries = retries
        self._on_commands = on_commands
        self._wake = Event()
        self._at_work = Group()
        self._ending = False
        self._lanes: set[str] = set()
        self._kinds: Counter[str] = Counter()

    def prompt(self) -> None:
        """There may be jobs that can begin."""
        self._wake.set()

    def end(self) -> None:
        """Begin nothing more. What does not end in a moment is cut off, with its program: the next process goes on."""
        self._ending = True
        self._at_work.join(LAST_SECONDS)
        self._at_work.kill(timeout=END_SECONDS)

    @property
    def at_work(self) -> int:
        """How many jobs are being done."""
        return len(self._lanes)

    def run(self) -> None:
        """The loop; ends only by being killed."""
        while True:
            self._wake.clear()
            try:
                while self._begin_what_can():
                    pass
                pause = self._pause()
            except Unavailable as error:
                log.warning("jobs wait: %s", error.message)
                pause = 1.0
            self._wake.wait(pause)

    def _pause(self) -> float:
        now = self._tools.now()
        at = self._read(partial(self._jobs.next_at, now=now))
        if at is None:
            return LOOK
        ahead = (datetime.fromisoformat(at) - datetime.fromisoformat(now)).total_seconds()
        # What is due and not begun waits for its lane or for room: the end of a job prompts.
        return min(max(ahead, 0.01), LOOK) if ahead > 0 else 1.0

    def _begin_what_can(self) -> bool:
        """Whether any began: then others may have come into view."""
        now, full = self._tools.now(), [kind for kind, spec in self._specs.items() if self._kinds[kind] >= spec.at_once]
        ready = self._read(lambda db: self._jobs.ready(db, now, self._lanes, full, MOST)) if self._has_room else []
        begun = [self._begin(job) for job in ready]
        return any(begun)

    @property
    def _has_room(self) -> bool:
        return self.at_work < MOST and not self._ending

    def _begin(self, job: Job) -> bool:
        spec = self._specs.get(job.kind)
        fits = job.lane not in self._lanes and (spec is None or self._kinds[job.kind] < spec.at_once)
        if not (fits and self._has_room and self._stored(partial(self._claim, job=job))):
            return False
        self._lanes.add(job.lane)
        self._kinds[job.kind] += 1
        self._at_work.spawn(self._work, job)
        return True

    def _claim(self, db: Db, job: Job) -> bool:
        return self._jobs.claim(db, job, self._tools.now())

    def _work(self, job: Job) -> None:
        try:
            self._do(job)
        except Exception as error:
            log.exception("the outcome of job %d (%s) could not be recorded", job.id, job.key)
            self._give_up(job, f"its outcome could not be recorded: {error!a}")
        finally:
            self._lanes.discard(job.lane)
            self._kinds[job.kind] -= 1
            self._wake.set()

    def _give_up(self, job: Job, why: str) -> None:
        """What cannot be told as it is has failed: who waits for it must hear of an end."""
        try:
            self._end(job, self._specs.get(job.kind), "failed", why, None)
        except Exception:
            log.exception("job %d (%s) is left for later", job.id, job.key)
            self._again(job, LONGEST_PAUSE, why)

    def _do(self, job: Job) -> None:
        spec = self._specs.get(job.kind)
        if spec is None:
            self._end(job, None, "failed", f"this program has no job {job.kind!r}", None)
            return
        try:
            result = self._result(spec, job)
        except Later as later:
            self._again(job, later.seconds, str(later), counted=False)
        except MetawsmError as error:
            self._failed(spec, job, error.message, final=isinstance(error, Obstructed), found=error.details)
        except Exception as error:
            log.exception("job %d (%s) failed", job.id, job.key)
            self._failed(spec, job, f"a fault of the program: {error!r}", final=False)
        else:
            self._end(job, spec, "done", None, result)

    def _result(self, spec: JobSpec, job: Job) -> Result:
        if job.interrupted and spec.inspect is not None:
            found = spec.inspect(self._tools, job)
            if found is not None:
                return found
        return spec.do(self._tools, job)

    def _failed(self, spec: JobSpec, job: Job, error: str, final: bool, found: Result | None = None) -> None:
        if final or job.attempt > self._retries:
            self._end(job, spec, "failed", error, found or None)
            return
        pause = min(FIRST_PAUSE * 2 ** (job.attempt - 1), LONGEST_PAUSE) * random.uniform(0.75, 1.25)
        log.warning("job %d (%s), attempt %d: %s", job.id, job.key, job.attempt, error)
        self._again(job, pause, error)

    def _again(self, job: Job, seconds: float, error: str, counted: bool = True) -> None:
        now = self._tools.now()
        self._stored(lambda db: self._jobs.postpone(db, job, seconds, shown(error), now, counted))

    def _end(self, job: Job, spec: JobSpec | None, state: str, error: str | None, result: Result | None) -> None:
        """The outcome becomes a command in the commit that ends the job."""
        told = (spec.record if spec else _record_unknown)(job, state, error, result)

        def end(db: Db) -> Queued | None:
            ended = self._jobs.finish(db, job, state, error and shown(error), self._tools.now())
            return self._internal.insert(db, *told, command_id=f"job:{job.key}") if ended and told else None

        queued = self._stored(end)
        if queued is not None:
            self._on_commands([queued])

    def _stored(self, job: Callable[[Db], Any]) -> Any:
        """Run a writer job until it is stored: an outcome that is lost would let its effect happen twice.

        One that was stored without our hearing of it has nothing to do any more; the relay finds its command.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                return self._writer.run(job)
            except (Unavailable, OutcomeUnknown) as error:
                log.warning("what became of a job waits to be stored: %s", error.message)
                gevent.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)


def _record_unknown(
    job: Job, state: str, error: str | None, result: Result | None
) -> tuple[str, dict[str, Any]] | None:
    """A step hears that nobody can do its job; other jobs of an unknown kind have nobody who waits for them."""
    return record_step(job, state, error, result) if "step" in job.payload else None
