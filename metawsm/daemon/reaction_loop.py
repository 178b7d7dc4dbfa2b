"""The consumer of one reaction: writer jobs, one after the other, until the log's end is reached."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import partial

import gevent

from metawsm.bus import ports
from metawsm.bus.ports import Db, Writer
from metawsm.bus.reactions import Reacted, ReactionFailed, Reactor
from metawsm.bus.receive import DeadLetter, DeadLetters
from metawsm.bus.work import Queued
from metawsm.domain.errors import Unavailable

ATTEMPTS = 3
PAUSE = 0.3  # seconds between attempts
log = logging.getLogger("metawsm.reactions")


class ReactionLoop:
    """Reacts whenever prompted. `on_commands` hears of commands that were stored, `on_jobs` that there are jobs."""

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
        self._attempts: dict[int, int] = {}
        self._skip: frozenset[int] = frozenset()
        self.fault: str | None = None

    @property
    def name(self) -> str:
        """The reaction's name."""
        return self._reactor.spec.name

    @property
    def types(self) -> frozenset[str]:
        """The event types it reacts to."""
        return self._reactor.spec.types

    def begin(self) -> None:
        """Note where the log ends if it has never run, and take up what it has left."""
        name = self.name
        cursors = self._reactor.cursors
        self._writer.run(lambda db: cursors.move(db, name, cursors.position(db, name), self._now()))
        self.prompt()

    def prompt(self) -> None:
        """There may be new events; never waits."""
        if self._running:
            self._again = True
            return
        try:
            self._writer.enqueue(self._step, self._stepped)
        except Unavailable as error:
            self.fault = error.message
            gevent.spawn_later(PAUSE, self.prompt)
            return
        self._running = True

    def _step(self, db: Db) -> Reacted:
        return self._reactor.step(db, self._skip)

    def _stepped(self, outcome: ports.Outcome) -> None:
        self._running = False
        if outcome.error is not None:
            self._failed(outcome.error)
            return
        self.fault = None
        reacted: Reacted = outcome.value
        if reacted.queued:
            self._on_commands(reacted.queued)
        if reacted.jobs:
            self._on_jobs()
        if reacted.more or self._again:
            self._again = False
            self.prompt()

    def _failed(self, error: Exception) -> None:
        self.fault = str(error)
        if isinstance(error, ReactionFailed):
            attempt = self._attempts[error.sequence] = self._attempts.get(error.sequence, 0) + 1
            log.error("attempt %d: %s", attempt, error)
            if attempt >= ATTEMPTS:
                self._bury(error)
                return
        else:
            log.warning("reactions wait: %s", error)
        gevent.spawn_later(PAUSE, self.prompt)

    def _bury(self, error: ReactionFailed) -> None:
        """The event is passed over by this subscriber, and the dead letters say so."""
        group, feed = self._place
        letter = DeadLetter(
            reason="reaction_failed",
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
        self._skip |= {error.sequence}
        self._attempts.pop(error.sequence, None)
        try:
            self._writer.enqueue(partial(self._insert, letter=letter), lambda _: self.prompt())
        except Unavailable:
            gevent.spawn_later(PAUSE, self._bury, error)

    def _insert(self, db: Db, letter: DeadLetter) -> None:
        self._letters.insert(db, letter)
