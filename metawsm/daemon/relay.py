"""The relay: one greenlet and one connection that publish outbox rows, ack and read what is new, in one round trip.

Reading right behind the publishing saves a wake-up per message; a blocking listener serves external publishers while
the relay is idle.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence

import gevent
from gevent.event import Event

from metawsm.bus.ports import Ack, Db, Delivery, Publication, Subscription, Transport, Writer
from metawsm.bus.receive import Identity
from metawsm.bus.work import Queued
from metawsm.daemon.backlog import Backlog
from metawsm.daemon.publishing import publications
from metawsm.daemon.refill import Refill
from metawsm.domain.errors import Unavailable
from metawsm.storage.outbox import Outbox

BATCH_ROWS = 256
BATCH_BYTES = 1 << 20
MOST_IN_FLIGHT = 1024  # commands; more stay in Redis
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0  # seconds between attempts while Redis is away
FAULT_PAUSE = 1.0  # seconds until rows that Redis refused are tried again
QUIET = 0.02  # seconds without work after which the listener may block
log = logging.getLogger("metawsm.relay")


class Relay:
    """Moves messages. `deliver` takes command entries, `prompt` hears that the feed has something new.

    `on_connect` runs after each (re)connection before anything is published; `on_lost` hears why Redis is away.
    """

    def __init__(
        self,
        transport: Transport,
        writer: Writer,
        outbox: Outbox,
        backlog: Backlog,
        identity: Identity,
        commands: Sequence[Subscription],
        feed: Subscription,
        now: Callable[[], str],
        *,
        deliver: Callable[[Delivery], None],
        prompt: Callable[[], None],
        in_flight: Callable[[], int],
        refill: Refill,
        on_connect: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._outbox = outbox
        self._backlog = backlog
        self._identity = identity
        self._commands = list(commands)
        self._feed = feed
        self._now = now
        self._deliver_command = deliver
        self._prompt = prompt
        self._in_flight = in_flight
        self._refill = refill
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._wake = Event()
        self._acks: dict[tuple[str, str], list[str]] = {}
        self._pause = FIRST_PAUSE
        self._active_at = 0.0
        self.connected = False
        self.fault: str | None = "not connected yet"
        self.refused: dict[str, str] = {}  # topic -> why Redis refuses it

    def publish(self, rows: tuple[Queued, ...] | list[Queued]) -> None:
        """Rows that were just committed."""
        if self._refill.active:
            rows = [row for row in rows if row.sequence is None]
            self._prompt()
        if rows:
            self._backlog.append(rows)
            self._wake.set()

    def ack(self, delivery: Delivery) -> None:
        """Nothing remains to be done for an entry."""
        self._acks.setdefault((delivery.topic, delivery.group), []).append(delivery.entry_id)
        self._wake.set()

    def reread(self) -> None:
        """Look into the table for pending rows."""
        self._backlog.reread()
        self._wake.set()

    def repeat_sent(self, upto: int) -> None:
        """Publish commands again that are sent and not done, up to a row."""
        self._backlog.repeat_sent(upto)
        self._wake.set()

    def wake(self) -> None:
        """Read what is new, now."""
        self._wake.set()

    def run(self) -> None:
        """The loop; ends only by being killed."""
        while True:
            try:
                if not self.connected:
                    self._connect()
                self._cycle()
            except Unavailable as error:
                self._lost(error)

    def listen(self) -> None:
        """The loop of the blocking reader for external publishers; ends only by being killed."""
        while True:
            if not self.connected or time.monotonic() - self._active_at < QUIET or self._full():
                gevent.sleep(QUIET if self.connected else FIRST_PAUSE)
                continue
            try:
                self._deliver(self._transport.listen(self._commands, 2.0))
            except Unavailable:
                gevent.sleep(FIRST_PAUSE)  # the relay notices and reconnects

    def _connect(self) -> None:
        self._on_connect()
        self._backlog.reread()
        self.connected, self.fault, self._pause = True, None, FIRST_PAUSE
        self._wake.set()

    def _lost(self, error: Unavailable) -> None:
        if self.connected or self.fault != error.message:
            log.warning("%s", error.message)
        self.connected, self.fault = False, error.message
        self._backlog.reread()
        self._on_lost(error.message)
        self._prompt()
        gevent.sleep(self._pause * random.uniform(0.75, 1.25))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _full(self) -> bool:
        return self._in_flight() >= MOST_IN_FLIGHT

    def _cycle(self) -> None:
        self._wake.wait()
        self._wake.clear()
        rows = self._backlog.take(BATCH_ROWS, BATCH_BYTES)
        acks, self._acks = self._acks, {}
        reads = [self._feed] if self._full() else [*self._commands, self._feed]
        sent = [publications(row, self._feed.topic, self._identity) for row in rows]
        flat = [publication for group in sent for publication in group]
        exchange = self._transport.exchange(flat, [Ack(t, g, ids) for (t, g), ids in acks.items()], reads)
        self._active_at = time.monotonic()
        if rows:
            self._published(rows, sent, exchange.faults)
        self._deliver(exchange.deliveries)
        if self._refill.active:
            self._step_refill()
        if self._backlog.waiting or len(exchange.deliveries) >= self._feed.count:
            self._wake.set()

    def _step_refill(self) -> None:
        if self._refill.step():
            self._backlog.reread()
        self._wake.set()

    def _published(self, rows: list[Queued], sent: list[list[Publication]], faults: Sequence[str | None]) -> None:
        good: list[int] = []
        refused: list[tuple[int, str]] = []
        place = 0
        for row, group in zip(rows, sent, strict=True):
            told = {p.topic: f for p, f in zip(group, faults[place : place + len(group)], strict=True)}
            place += len(group)
            bad = {topic: text for topic, text in told.items() if text}
            self._note_refusals(told)
            if bad:
                refused.append((row.row_id, "; ".join(f"{t}: {text}" for t, text in bad.items())))
            else:
                good.append(row.row_id)
        now = self._now()
        self._writer.defer(lambda db: self._outbox.mark_sent(db, good, now))
        if refused:
            self._refuse(refused, now)

    def _note_refusals(self, told: dict[str, str | None]) -> None:
        for topic, text in told.items():
            if text:
                self.refused[topic] = text
            else:
                self.refused.pop(topic, None)

    def _refuse(self, refused: list[tuple[int, str]], now: str) -> None:
        log.warning("Redis refused %d message(s), they stay in the outbox: %s", len(refused), refused[0][1])

        def note(db: Db) -> None:
            for row_id, text in refused:
                self._outbox.note_fault(db, row_id, text, now)

        self._writer.defer(note)
        gevent.spawn_later(FAULT_PAUSE, self.reread)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        prompted = False
        for delivery in deliveries:
            if delivery.topic == self._feed.topic:
                prompted = True
            else:
                self._deliver_command(delivery)
        if prompted:
            self._prompt()
