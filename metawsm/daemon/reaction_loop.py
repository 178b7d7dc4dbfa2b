"""The consumer of one reaction: writer jobs, one after the other, until the log's end is reached."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import partial

import gevent

from metawsm.bus import ports
from metawsm.bus.letters import REACTION_FAILED
from metawsm.bus.ports import Db, Writer
from metawsm.bus.reactions import Reacted, ReactionFailed, Reactor
from metawsm.bus.receive import DeadLetter, DeadLetters
from metawsm.bus.work import Queued
from metawsm.domain.errors import Unavailable

ATTEMPTS = 3
PAUSE = 0.3  # seconds between attempts
TOGETHER = 8  # events of one job: half a millisecond each, measured; one by one, while one of them fails
log = logging.getLogger("metawsm.reactions")


class ReactionLoop:
    """Reacts whenever prompted. `on_commands` hears of commands that were stored, `on_jobs` that there are jobs.

    An event that fails three times becomes a dead letter in the commit that moves the cursor behind it.
    """

    def __init__(
        self,
        writer: Writer,
        reactor: Reactor,
        letters: DeadLetters,
        group: str,
        feed: str,
        now: Callable[[], str],
        on_commands: Callable[[Sequence[Queued]], None],
        on_jobs: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._reactor = reactor
        self._letters = letters
        self._place = (f"{group}.{reactor.spec.name}", feed)
        self._now = now
        self._on_commands = on_commands
        self._on_jobs = on_jobs
        self._running = self._again = False
        self._limit = TOGETHER
        self._attempts: dict[int, int] = {}
        self.fault: str | None = None

    @property
    def name(self) -> str:
        """The reaction's name."""
        return self._reactor.spec.name

    @property
    def types(self) -> frozenset[str]:
        """The event types it reacts to."""
        return self._reactor.spec.types

    def note_position(self) -> None:
        """If it has never run, note that it begins where the log ends now. Call it before anything can happen."""
        cursors, name = self._reactor.cursors, self.name
        self._writer.run(lambda db: cursors.move(db, name, cursors.position(db, name), self._now()))

    def prompt(self) -> None:
        """There may be new events; never waits."""
        if self._running:
            self._again = True
            return
        self._running = True
        self._enqueue(partial(self._reactor.step, limit=self._limit), self._stepped)

    def _enqueue(self, job: Callable[[Db], object], done: Callable[[ports.Outcome], None]) -> None:
        try:
            self._writer.enqueue(job, done)
        except Unavailable as error:
            self.fault = error.message
            gevent.spawn_later(PAUSE, self._enqueue, job, done)

    def _stepped(self, outcome: ports.Outcome) -> None:
        if outcome.error is not None:
            self._failed(outcome.error)
            return
        self.fault = None
        reacted: Reacted = outcome.value
        if reacted.queued:
            self._on_commands(reacted.queued)
        if reacted.jobs:
            self._on_jobs()
        self._go_on(reacted.more)

    def _go_on(self, more: bool) -> None:
        again, self._running, self._again = more or self._again, False, False
        if not again:
            self._limit = TOGETHER
            self._attempts.clear()
            return
        self.prompt()

    def _failed(self, error: Exception) -> None:
        self.fault = str(error)
        if not isinstance(error, ReactionFailed):
            log.warning("reactions wait: %s", error)
            gevent.spawn_later(PAUSE, self._go_on, True)
            return
        attempt = self._attempts[error.sequence] = self._attempts.get(error.sequence, 0) + 1
        log.error("attempt %d: %s", attempt, error)
        if attempt < ATTEMPTS:
            self._limit = 1  # what comes before it must not wait, or be passed over, with it
            gevent.spawn_later(PAUSE, self._go_on, True)
        else:
            self._bury(error)

    def _bury(self, error: ReactionFailed) -> None:
        letter = self._letter(error)

        def bury(db: Db) -> None:
            self._letters.insert(db, letter)
            self._reactor.pass_over(db, error.sequence)

        def buried(outcome: ports.Outcome) -> None:
            if outcome.error is None:
                self._go_on(True)
            else:
                log.warning("the dead letter of event %d waits: %s", error.sequence, outcome.error)
                gevent.spawn_later(PAUSE, self._bury, error)

        self._enqueue(bury, buried)

    def _letter(self, error: ReactionFailed) -> DeadLetter:
        group, feed = self._place
        return DeadLetter(
            reason=REACTION_FAILED,
            handler=error.subscriber,
            group=group,
            topic=feed,
            entry_id=f"{error.sequence}-0",
            failed_at=self._now(),
            attempts=ATTEMPTS,
            error=repr(error.cause),
            traceback="".join(traceback.format_exception(error.cause)),
            message_id=error.event_id,
        )
