"""The event consumer of the read models: one writer job after the other until the log's end is reached."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import gevent

from metawsm.bus import ports
from metawsm.bus.ports import Db, Writer
from metawsm.bus.projecting import Applied, ProjectionFailed, Projector
from metawsm.bus.receive import DeadLetter, DeadLetters
from metawsm.domain.errors import Unavailable

ATTEMPTS = 3
PAUSE = 0.3  # seconds between attempts
log = logging.getLogger("metawsm.projections")


class ProjectionLoop:
    """Applies events whenever prompted. `on_applied` hears the newest sequence that every read model holds.

    An event that a read model fails on three times is left out for this one, in the commit that stores the dead letter
    about it; a rebuild mends it.
    """

    def __init__(
        self,
        writer: Writer,
        projector: Projector,
        letters: DeadLetters,
        group: str,
        feed: str,
        now: Callable[[], str],
        on_applied: Callable[[int], None],
    ) -> None:
        self._writer = writer
        self._projector = projector
        self._letters = letters
        self._group = group
        self._feed = feed
        self._now = now
        self._on_applied = on_applied
        self._running = False
        self._again = False
        self._attempts: dict[tuple[str, int], int] = {}
        self._left_out: dict[tuple[str, int], DeadLetter] = {}
        self.fault: str | None = None

    def prompt(self) -> None:
        """There may be new events; never waits."""
        if self._running:
            self._again = True
            return
        try:
            self._writer.enqueue(self._apply, self._applied)
        except Unavailable as error:
            self.fault = error.message
            gevent.spawn_later(PAUSE, self.prompt)
            return
        self._running = True

    def _apply(self, db: Db) -> Applied:
        applied = self._projector.apply_next(db, self._now(), skip=self._left_out)
        for (_, sequence), letter in self._left_out.items():
            if sequence <= applied.last:
                self._letters.insert(db, letter)
        return applied

    def _applied(self, outcome: ports.Outcome) -> None:
        self._running = False
        if outcome.error is not None:
            self._failed(outcome.error)
            return
        self.fault = None
        applied: Applied = outcome.value
        if applied.last:
            self._left_out = {place: each for place, each in self._left_out.items() if place[1] > applied.last}
            self._on_applied(applied.last)
        if applied.more or self._again:
            self._again = False
            self.prompt()

    def _failed(self, error: Exception) -> None:
        self.fault = str(error)
        if isinstance(error, ProjectionFailed):
            place = (error.projection, error.sequence)
            self._attempts[place] = self._attempts.get(place, 0) + 1
            log.error("attempt %d: %s", self._attempts[place], error)
            if self._attempts[place] >= ATTEMPTS:
                self._left_out[place] = self._letter(error)
                self.prompt()
                return
        else:
            log.warning("projections wait: %s", error)
        gevent.spawn_later(PAUSE, self.prompt)

    def _letter(self, error: ProjectionFailed) -> DeadLetter:
        return DeadLetter(
            reason="projection_failed",
            handler=error.projection,
            group=f"{self._group}.{error.projection}",
            topic=self._feed,
            entry_id=f"{error.sequence}-0",
            failed_at=self._now(),
            attempts=ATTEMPTS,
            error=repr(error.cause),
            traceback="".join(traceback.format_exception(error.cause)),
            message_id=error.event_id,
        )
