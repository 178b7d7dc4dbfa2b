"""Making the read models anew while serving: one rebuild at a time, in short writer jobs."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from metawsm.bus.letters import PROJECTION_FAILED
from metawsm.bus.ports import Subscription, Writer
from metawsm.bus.projecting import ProjectionFailed
from metawsm.bus.receive import DeadLetter
from metawsm.daemon.read_models import now
from metawsm.domain.errors import Unavailable
from metawsm.storage.dead_letters import DeadLetterTable
from metawsm.storage.rebuild import Progress, Rebuild, prepare

ATTEMPTS = 3
CHUNK = 200  # letters ended in one job
PAUSE = 0.5  # seconds after a step that could not be stored
log = logging.getLogger("metawsm.rebuild")


class Rebuilding:
    """The rebuild of this daemon. `begin` asks for one; `run` is the loop that does it.

    An event that it has to leave out is a dead letter, as on the `feed`; those that it could apply end.
    """

    def __init__(self, writer: Writer, letters: DeadLetterTable, feed: Subscription) -> None:
        self._writer = writer
        self._letters = letters
        self._feed = feed
        self._whole = True
        self._rebuild = Rebuild(now)
        self._wanted = Event()
        self._again = False
        self._failures: dict[tuple[str, int], int] = {}
        self._progress = Progress(0, 0, finished=True)
        self._started_at: str | None = None
        self._finished_at: str | None = None

    def bring_up_to_date(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """At the start: make the tables of a new database, or rebuild those of another version before serving.

        When `stopping` says so it leaves off in the middle; the next start begins anew.
        """
        outdated = self._writer.run(lambda db: prepare(db, now()))
        if outdated:
            log.info("the read models are of another version and are made anew before serving")
            self._rebuild = Rebuild(now, step_seconds=0.1)  # nobody is served yet: longer steps get there sooner
            self._writer.run(self._rebuild.start)
            self._work(stopping)
            self._rebuild = Rebuild(now)
        elif self._writer.run(self._rebuild.is_running):
            self._whole = False  # what the process before this one left out is not known here
            self._wanted.set()

    def begin(self) -> None:
        """Start a rebuild; while one runs, another follows it: that one may be past what is to be mended."""
        if self._progress.finished and not self._wanted.is_set():
            self._start()
        else:
            self._again = True

    def facts(self) -> dict[str, Any]:
        """How far it is: events done of all."""
        shown: dict[str, Any] = {
            "running": self._again or not self._progress.finished,
            "done": self._progress.done,
            "total": self._progress.total,
            "started_at": self._started_at,
            "finished_at": self._finished_at,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def run(self) -> None:
        """The loop; ends only by being killed."""
        while True:
            self._wanted.wait()
            self._work()
            self._wanted.clear()
            while self._again:
                self._follow()

    def _start(self) -> None:
        self._rebuild, self._failures, self._whole = Rebuild(now), {}, True
        self._writer.run(self._rebuild.start)
        self._again = False
        self._progress = Progress(0, 0)
        self._started_at, self._finished_at = now(), None
        self._wanted.set()

    def _follow(self) -> None:
        """Start the rebuild that was asked for meanwhile."""
        try:
            self._start()
        except Unavailable as error:
            log.warning("rebuild postponed: %s", error)
            gevent.sleep(PAUSE)

    def _work(self, stopping: Callable[[], bool] = lambda: False) -> None:
        self._started_at = self._started_at or now()
        self._progress = Progress(0, 0)
        while not self._progress.finished:
            if stopping():
                return
            self._step()  # requests get their turn before the next one: see `GroupWriter._arm`
        self._finished_at = now()
        if self._whole:
            self._end_letters(self._started_at)
        log.info("the read models were made anew from %d events", self._progress.total)

    def _step(self) -> None:
        try:
            self._progress = self._writer.run(self._rebuild.step)
        except ProjectionFailed as error:
            place = (error.projection, error.sequence)
            self._failures[place] = self._failures.get(place, 0) + 1
            log.error("%s", error)
            if self._failures[place] >= ATTEMPTS:
                self._leave_out(error)
        except Unavailable as error:
            log.warning("rebuild postponed: %s", error)
            gevent.sleep(PAUSE)

    def _leave_out(self, error: ProjectionFailed) -> None:
        group = f"{self._feed.group}.{error.projection}"
        letter = DeadLetter(
            PROJECTION_FAILED,
            error.projection,
            group,
            self._feed.topic,
            f"{error.sequence}-0",
            now(),
            attempts=ATTEMPTS,
            error=repr(error.cause),
            traceback="".join(traceback.format_exception(error.cause)),
            message_id=error.event_id,
        )
        self._writer.run(lambda db: self._letters.insert(db, letter))
        self._rebuild.leave_out(error.projection, error.sequence)

    def _end_letters(self, began: str) -> None:
        """Every read model holds the events up to the last one now, but for what was left out since it began."""
        end = partial(self._letters.mended, upto=self._progress.done, before=began, now=now(), limit=CHUNK)
        try:
            while self._writer.run(end):
                continue
        except Unavailable as error:
            log.warning("dead letters of the read models stay open: %s", error)
