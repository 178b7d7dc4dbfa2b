"""The command consumer: deliveries become writer jobs, a thread's commands run in outbox order, failures are retried.

What an outcome means is decided here and nowhere else: rejected, unavailable, a bug.
"""

from __future__ import annotations

import logging
import random
import time
import traceback
from collections.abc import Callable
from functools import partial

import gevent
from attrs import evolve

from metawsm.bus import ports
from metawsm.bus.dispatch import CommandRow, Dispatcher, Handled, HandlerBug, Outcome, Rows
from metawsm.bus.ports import Db, Delivery, Writer
from metawsm.bus.receive import DeadLetter, DeadLetters, Receiver, letter_of
from metawsm.daemon.burials import Burials
from metawsm.domain.errors import MetawsmError, OutcomeUnknown, Unavailable
from metawsm.domain.values import value_class

ATTEMPTS = 3
PAUSES = (0.1, 0.6)  # seconds before the second and third attempt: all three within two seconds
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between attempts while a part is unavailable
TELL_SECONDS = 1.0
log = logging.getLogger("metawsm.commands")


@value_class
class Taken:
    """What a job made of a delivery: a handled row, a letter, or nothing.

    `more`: it is to be taken again, since older rows of the thread went first or it was only stored.
    """

    handled: Handled | None = None
    more: bool = False
    held: str | None = None
    letter: DeadLetter | None = None


class Lanes:
    """Runs commands. `translate` turns a driver's exception into Unavailable, or gives None for a bug.

    `on_doubt` is called when a commit's fate is not known: what it may have stored has to be looked for in the tables.
    """

    def __init__(
        self,
        writer: Writer,
        receiver: Receiver,
        dispatcher: Dispatcher,
        letters: DeadLetters,
        translate: Callable[[Exception], MetawsmError | None],
        on_handled: Callable[[Handled], None],
        on_failed: Callable[[str, Outcome], None],
        ack: Callable[[Delivery], None],
        on_doubt: Callable[[], None],
    ) -> None:
        self._writer = writer
        self._receiver = receiver
        self._dispatcher = dispatcher
        self._rows: Rows = dispatcher.rows
        self._letters = letters
        self._translate = translate
        self._on_handled = on_handled
        self._on_failed = on_failed
        self._ack = ack
        self._on_doubt = on_doubt
        self._flying: set[tuple[str, str]] = set()
        self._held: dict[str, list[Delivery]] = {}
        self._attempts: dict[str, int] = {}
        self._pause = FIRST_PAUSE
        self._postponed = 0
        self._told_at = -TELL_SECONDS
        self._burials = Burials(log)
        self.handled = 0
        self.trimmed = 0

    @property
    def in_flight(self) -> int:
        """Entries taken and not yet acked."""
        return len(self._flying)

    def deliver(self, delivery: Delivery) -> None:
        """Take an entry from a command stream; it is acked when nothing remains to be done for it.

        An entry that is in flight already is left alone, so reading the pending ones again does no harm.
        """
        place = (delivery.topic, delivery.entry_id)
        if place not in self._flying:
            self._flying.add(place)
            if delivery.trimmed:
                self.trimmed += 1
                log.warning("%s was removed from Redis before it was handled", _name(delivery))
            self._submit(delivery)

    def _submit(self, delivery: Delivery) -> None:
        try:
            self._writer.enqueue(partial(self._take, delivery=delivery), partial(self._taken, delivery))
        except Unavailable as error:
            self._later(delivery, error)

    def _take(self, db: Db, delivery: Delivery) -> Taken:
        row = self._receiver.receive(db, delivery)
        if not isinstance(row, CommandRow):
            return Taken(letter=row)
        if row.fresh:  # its place is its arrival: stored for good before a failing handler can undo it
            return Taken(more=True)
        if row.key in self._held:
            return Taken(held=row.key)
        first = self._rows.first_undone(db, row.key, row.id)
        if first is None:
            return Taken()
        head = row if first == row.id else self._rows.read(db, first)
        return Taken(self._dispatcher.execute(db, head), more=first < row.id)

    def _taken(self, delivery: Delivery, outcome: ports.Outcome) -> None:
        if outcome.error is not None:
            self._failed(delivery, outcome.error)
            return
        self._pause = FIRST_PAUSE
        taken: Taken = outcome.value
        if taken.held is not None:
            self._park(taken.held, delivery)
            return
        if taken.handled is not None:
            self.handled += 1
            self._attempts.pop(taken.handled.row.message_id, None)
            self._on_handled(taken.handled)
        if taken.letter is not None:
            self._burials.tell(taken.letter)
        if taken.more:
            self._submit(delivery)
        else:
            self._finish(delivery)

    def _finish(self, delivery: Delivery) -> None:
        self._flying.discard((delivery.topic, delivery.entry_id))
        if self._attempts:
            self._attempts.pop(_name(delivery), None)
        self._ack(delivery)

    def _park(self, key: str, delivery: Delivery) -> None:
        if key in self._held:
            self._held[key].append(delivery)
        else:  # released between the job and its report
            self._submit(delivery)

    def _failed(self, delivery: Delivery, error: Exception) -> None:
        cause = error.cause if isinstance(error, HandlerBug) else error
        known = cause if isinstance(cause, MetawsmError) else self._translate(cause)
        if isinstance(known, OutcomeUnknown):
            self._on_doubt()
            self._later(delivery, error)
        elif isinstance(known, Unavailable):
            self._later(delivery, error)
        elif isinstance(error, HandlerBug):
            self._retry(delivery, error)
        else:
            self._retry_reading(delivery, error)

    def _count(self, name: str) -> int:
        self._attempts[name] = self._attempts.get(name, 0) + 1
        return self._attempts[name]

    def _later(self, delivery: Delivery, error: Exception) -> None:
        """A part is away: the same delivery again after a growing pause with jitter; nothing is acked."""
        self._tell_postponed(delivery, error)
        gevent.spawn_later(self._pause * random.uniform(0.5, 1.5), self._submit, delivery)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _tell_postponed(self, delivery: Delivery, error: Exception) -> None:
        """One line a second, however many deliveries wait."""
        self._postponed += 1
        now = time.monotonic()
        if now >= self._told_at + TELL_SECONDS:
            log.warning("%d deliveries postponed, %s the last: %s", self._postponed, _name(delivery), error)
            self._postponed, self._told_at = 0, now

    def _retry(self, delivery: Delivery, bug: HandlerBug) -> None:
        row = bug.row
        if row.key in self._held:  # failed in one batch with another delivery of the thread: that was one attempt
            self._held[row.key].append(delivery)
            return
        attempt = self._count(row.message_id)
        log.error("attempt %d of %s %s failed: %r", attempt, bug.handler, row.message_id, bug.cause)
        self._held[row.key] = [delivery]
        if attempt < ATTEMPTS:
            gevent.spawn_later(PAUSES[attempt - 1], self._release, row.key)
        else:
            self._bury_row(delivery, bug)

    def _release(self, key: str) -> None:
        for delivery in self._held.pop(key, ()):
            self._submit(delivery)

    def _bury_row(self, delivery: Delivery, bug: HandlerBug) -> None:
        try:
            self._writer.enqueue(partial(self._bury, delivery=delivery, bug=bug), partial(self._buried, bug))
        except Unavailable:
            gevent.spawn_later(LONGEST_PAUSE, self._release, bug.row.key)

    def _bury(self, db: Db, delivery: Delivery, bug: HandlerBug) -> DeadLetter:
        """The failing row leaves its lane; the delivery goes on for the rows behind it."""
        own = self._receiver.receive(db, delivery)  # an external command's row was rolled back with the failure
        row: CommandRow = self._rows.find(db, bug.row.message_id) or bug.row
        now = self._dispatcher.tools.now()
        self._rows.fail(db, row.id, repr(bug.cause), now)
        letter = letter_of(delivery, "handler_failed", bug.handler, repr(bug.cause), now)
        # A row that failed on behalf of a later one's delivery must not share that one's letter.
        entry = delivery.entry_id if isinstance(own, CommandRow) and own.id == row.id else f"outbox-{row.id}"
        told = evolve(letter, topic=row.topic, entry_id=entry, message_id=row.message_id, payload=row.text.encode())
        told = evolve(told, command_id=row.message_id, thread_id=row.key)
        told = evolve(told, attempts=ATTEMPTS, traceback=_trace(bug.cause))
        return self._insert(db, told)

    def _buried(self, bug: HandlerBug, outcome: ports.Outcome) -> None:
        if outcome.error is not None:
            log.error("dead letter for %s could not be stored: %s", bug.row.message_id, outcome.error)
            gevent.spawn_later(LONGEST_PAUSE, self._release, bug.row.key)
            return
        self._burials.tell(outcome.value)
        self._attempts.pop(bug.row.message_id, None)
        told = f"the command failed {ATTEMPTS} times and is in the dead letters: {bug.cause!r}"
        self._on_failed(bug.row.message_id, Outcome("failed", code="internal", message=told))
        self._release(bug.row.key)

    def _retry_reading(self, delivery: Delivery, error: Exception) -> None:
        """The entry made the program fail before it was known which command it is."""
        attempt = self._count(_name(delivery))
        log.error("attempt %d to read %s failed: %r", attempt, _name(delivery), error)
        if attempt < ATTEMPTS:
            gevent.spawn_later(PAUSES[attempt - 1], self._submit, delivery)
            return
        letter = letter_of(delivery, "unreadable", "receive", repr(error), self._dispatcher.tools.now())
        told = evolve(letter, attempts=ATTEMPTS, traceback=_trace(error))
        try:
            self._writer.enqueue(partial(self._insert, letter=told), partial(self._set_aside, delivery))
        except Unavailable as away:
            self._later(delivery, away)

    def _insert(self, db: Db, letter: DeadLetter) -> DeadLetter:
        self._letters.insert(db, letter)
        return letter

    def _set_aside(self, delivery: Delivery, outcome: ports.Outcome) -> None:
        if outcome.error is not None:
            self._later(delivery, outcome.error)
            return
        self._burials.tell(outcome.value)
        self._finish(delivery)


def _name(delivery: Delivery) -> str:
    return f"{delivery.topic}/{delivery.entry_id}"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
