"""The relay: one greenlet and one connection that publish outbox rows, ack and read what is new, in one round trip.

Reading right behind the publishing saves a wake-up per message; a blocking listener serves external publishers while
the relay is idle.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence

import gevent
from gevent.event import Event

from metawsm.bus.ports import Ack, Delivery, Publication, Subscription, Transport, Writer
from metawsm.bus.receive import Identity
from metawsm.bus.work import Queued
from metawsm.daemon.backlog import Backlog
from metawsm.daemon.marks import Marks
from metawsm.daemon.publishing import publications
from metawsm.daemon.refill import BARRED, Refill
from metawsm.daemon.refusals import Refusals, refused
from metawsm.domain.errors import Unavailable
from metawsm.storage.outbox import Outbox

BATCH_ROWS = 256
BATCH_BYTES = 1 << 20
MOST_IN_FLIGHT = 1024  # commands; more stay in Redis
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 0.25  # seconds between attempts while Redis is away
FAULT_PAUSE = 1.0  # seconds until a topic that Redis refused is asked again
MEND_PAUSE = 30.0  # seconds between two repairs of streams that hold what is not ours
COMPANY = 0.002  # seconds that events and acks wait for a command to travel with: each round trip costs 0.2 ms
WINDOW = 0.001  # seconds that a batch waits for commands on their way from Redis, so that one commit takes both
MOST_AWAITED = 64  # commands; what brings more takes longer than the window, and there is enough to do
CROWDED = 0.0003  # seconds after which somebody else than Redis had the processor: it needs less
LAST_WORDS = 0.2  # seconds that an orderly stop leaves for what waits to be published
READ_ALL = 0.01  # seconds after which streams are read again to which nothing was published by us
QUIET = 0.02  # seconds without work after which the listener may block
log = logging.getLogger("metawsm.relay")


class Relay:
    """Moves messages. `deliver` takes command entries, `prompt` hears that the feed has something new.

    `on_connect` runs after each (re)connection before anything is published; `on_lost` hears why Redis is away;
    `on_recreated` runs, between two round trips, after streams or groups were found missing and made again; `catch_up`
    takes our own pending entries after a read that failed.
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
        applied: Callable[[], int],
        in_flight: Callable[[], int],
        refill: Refill,
        on_connect: Callable[[], None],
        on_lost: Callable[[str], None],
        on_recreated: Callable[[Sequence[Subscription]], None],
        catch_up: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._writer = writer
        self._backlog = backlog
        self._identity = identity
        self._commands = list(commands)
        self._feed = feed
        self._deliver_command = deliver
        self._prompt = prompt
        self._applied = applied
        self._in_flight = in_flight
        self._refill = refill
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._on_recreated = on_recreated
        self._catch_up = catch_up
        self._wake = Event()
        # `again`, not `start`: libev lets a stopped timer go on where it stood, so a second start fires at once.
        self._feed_timer = gevent.get_hub().loop.timer(READ_ALL, READ_ALL)
        self._company_timer = gevent.get_hub().loop.timer(COMPANY, COMPANY)
        self._window_timer = gevent.get_hub().loop.timer(WINDOW, WINDOW)
        self._spinner = gevent.get_hub().loop.idle()  # while it is active the loop looks again instead of sleeping
        self._acks: dict[tuple[str, str], list[str]] = {}
        self._pause = FIRST_PAUSE
        self._active_at = 0.0
        self._read_all_at = 0.0
        self._recreated: list[Subscription] = []
        self._refusals = Refusals()
        self._marks = Marks(writer, outbox, now, self._wake.set)
        self._asking = self._asking_due = False
        self._unread = False
        self._listening = self._exchanging = False
        self._mended_at = self.reread_at = -math.inf
        self.connected = False
        self.starting = True
        self.fault: str | None = "not connected yet"

    def publish(self, rows: tuple[Queued, ...] | list[Queued]) -> None:
        """Rows that were just committed."""
        if self._refill.active:
            rows = [row for row in rows if row.sequence is None]
            self._prompt()
        if rows:
            self._backlog.append(rows)
            for row in rows:
                if row.sequence is None:
                    self._wake.set()
                    return
            self._soon()

    def ack(self, delivery: Delivery) -> None:
        """Nothing remains to be done for an entry."""
        self._acks.setdefault((delivery.topic, delivery.group), []).append(delivery.entry_id)
        self._soon()

    def reread(self) -> None:
        """Look into the table for pending rows."""
        self.reread_at = time.monotonic()
        self._backlog.reread()
        self._wake.set()

    def repeat_sent(self, upto: int) -> None:
        """Publish commands again that are sent and not done, up to a row."""
        self._backlog.repeat_sent(upto)
        self._wake.set()

    def recreated(self, subscriptions: Sequence[Subscription]) -> None:
        """Streams or groups were missing and have been made again: what was in them is lost."""
        self._recreated += subscriptions
        self._wake.set()

    def drop(self, reason: str) -> None:
        """Use the connection no more, for example because the namespace is another's now; connect again in time."""
        self.connected, self.fault = False, reason
        self._wake.set()

    @property
    def refused(self) -> Mapping[str, str]:
        """Topics that Redis refuses now, with its reason."""
        return self._refusals.reasons

    @property
    def rereading(self) -> bool:
        """Whether rows are being read from the table."""
        return self._backlog.rereading

    @property
    def hopeful(self) -> bool:
        """Whether a command published now is delivered soon: connected, or connecting for the first time."""
        return self.connected or self.starting

    def run(self) -> None:
        """The loop; ends only by being killed."""
        while True:
            try:
                if not self.connected:
                    self._connect()
                self._cycle()
            except Unavailable as error:
                self._lost(error)
            except Exception:
                # The supervisor starts this loop again; what was taken from memory is found in the table.
                self.connected, self.fault = False, "the relay failed"
                self._backlog.reread()
                raise

    def finish(self) -> None:
        """Publish what waits, as far as a moment allows: the daemon is stopping, and nothing new comes."""
        until = time.monotonic() + LAST_WORDS
        self._wake.set()
        while self.connected and self._busy and time.monotonic() < until:
            gevent.sleep(0.002)

    @property
    def _busy(self) -> bool:
        return self._exchanging or bool(self._acks) or self._backlog.waiting

    def listen(self) -> None:
        """The loop of the blocking reader for external publishers; ends only by being killed."""
        while True:
            busy = self._exchanging or time.monotonic() - self._active_at < QUIET or self._full()
            if busy or not self.connected:
                gevent.sleep(QUIET if self.connected else FIRST_PAUSE)
                continue
            self._listening = True
            try:
                self._deliver(self._transport.listen(self._commands, 2.0))
            except Unavailable:
                self._unread = True  # entries may have been delivered into the connection that broke
                self._wake.set()
                gevent.sleep(FIRST_PAUSE)
            finally:
                self._listening = False
                self._wake.set()  # the next exchange reads what was published meanwhile

    def _connect(self) -> None:
        self._recreated, self._unread = [], False
        self._listening = False  # what a read on the old connection took is pending, and read again here
        self._on_connect()
        self._backlog.reread()
        self._marks.forget()
        self._refusals.forget()
        if not self.starting:
            log.info("connected to Redis again")
        self.connected, self.fault, self._pause, self.starting = True, None, FIRST_PAUSE, False
        self._wake.set()

    def _lost(self, error: Unavailable) -> None:
        if self.connected or self.fault != error.message:
            log.warning("%s", error.message)
        self.connected, self.fault, self.starting = False, error.message, False
        self._backlog.reread()
        self._on_lost(error.message)
        self._prompt()
        gevent.sleep(self._pause * random.uniform(0.75, 1.25))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    @property
    def _is_held(self) -> bool:
        return self._marks.full or self._refusals.holding

    def _full(self) -> bool:
        return self._in_flight() >= MOST_IN_FLIGHT

    def _cycle(self) -> None:
        self._wake.wait()
        self._wake.clear()
        self._company_timer.stop()
        if not self.connected:
            raise Unavailable(self.fault or "not connected")
        self._look_after_losses()
        if self._asking_due:
            self._ask()
        rows = [] if self._is_held else self._marks.unpublished(self._backlog.take(BATCH_ROWS, BATCH_BYTES))
        acks, self._acks = self._acks, {}
        commands = [row for row in rows if row.sequence is None]
        reads = self._reads(rows, commands)
        sent = [self._refusals.allowed(publications(row, self._feed.topic, self._identity)) for row in rows]
        flat = [publication for group in sent for publication in group]
        self._exchanging = True
        if 0 < len(commands) <= MOST_AWAITED:
            self._open_window()
        try:
            exchange = self._transport.exchange(flat, [Ack(t, g, ids) for (t, g), ids in acks.items()], reads)
        finally:
            self._exchanging, self._active_at = False, time.monotonic()
            # What is delivered joins the batch that waits: jobs run in a later turn of the loop.
            self._close_window()
        self._deliver(exchange.deliveries)
        if rows:  # after the deliveries: a command that is done at once need not be marked as sent before
            self._refusals.note(flat, exchange.faults)
            self._published(rows, sent, flat, exchange.faults)
        if self._refill.active:
            self._step_refill()
        if (self._backlog.waiting and not self._is_held) or len(exchange.deliveries) >= self._feed.count:
            self._wake.set()

    def _reads(self, rows: Sequence[Queued], commands: Sequence[Queued]) -> list[Subscription]:
        """Streams to which this exchange brings commands; all of them when it brings nothing, and now and then.

        Commands are read by one reader at a time: of two replies the later one may be seen first. The feed can wait:
        the read models were prompted when the events were written.
        """
        topics = [] if self._full() or self._listening else self._commands
        now = time.monotonic()
        if not rows or now > self._read_all_at:
            self._read_all_at = now + READ_ALL
            self._feed_timer.stop()
            return [*topics, self._feed]
        if len(commands) < len(rows) and not self._feed_timer.active:
            self._feed_timer.again(self._feed_due)
        brought = {row.topic for row in commands}
        return [each for each in topics if each.topic in brought]

    def _open_window(self) -> None:
        self._writer.hold()
        self._spinner.start(self._spin)
        self._window_timer.again(self._close_window)

    def _spin(self) -> None:
        """Look again, but let Redis go first where it waits for this processor; sleep where others want it as well."""
        before = time.monotonic()
        os.sched_yield()
        if time.monotonic() > before + CROWDED:
            self._spinner.stop()

    def _close_window(self) -> None:
        if self._window_timer.active:
            self._window_timer.stop()
            self._spinner.stop()
            self._writer.resume()

    def _soon(self) -> None:
        if not self._company_timer.active:
            self._company_timer.again(self._wake.set)

    def _feed_due(self) -> None:
        self._feed_timer.stop()
        self._wake.set()

    def _look_after_losses(self) -> None:
        if self._unread:
            self._unread = False
            self._catch_up()
        if self._recreated:
            found, self._recreated = self._recreated, []
            self._on_recreated(found)
            self._marks.forget()
            self._backlog.reread()  # what was published and not yet marked may be lost as well

    def _step_refill(self) -> None:
        if self._refill.step():
            self._refusals.forget()
            self._backlog.reread()
        self._wake.set()

    def _published(
        self,
        rows: list[Queued],
        sent: Sequence[Sequence[Publication]],
        flat: Sequence[Publication],
        faults: Sequence[str | None],
    ) -> None:
        """Mark the rows that are wholly in Redis; the others stay pending."""
        bad = refused(rows, sent, faults) if any(faults) else {}
        good = [
            row.row_id
            for row, group in zip(rows, sent, strict=True)
            if len(group) == (1 if row.sequence is None else 2) and row.row_id not in bad
        ]
        self._marks.add(good)
        self._marks.refuse(bad)
        if len(good) < len(rows):
            self._try_later(flat, faults)

    def _try_later(self, sent: Sequence[Publication], faults: Sequence[str | None]) -> None:
        """Rows that are left are read from the table again when their topic is not refused any more."""
        self._prompt()  # the read models follow the log, whether the feed can be written or not
        barred = any(
            fault and fault.startswith(BARRED) and each.entry_id != "*"
            for each, fault in zip(sent, faults, strict=True)
        )
        if barred and time.monotonic() > self._mended_at + MEND_PAUSE:
            self._mended_at = time.monotonic()
            self._refill.begin(surely=True)
        if not self._asking:
            self._asking = True
            gevent.spawn_later(FAULT_PAUSE, self._ask_soon)

    def _ask_soon(self) -> None:
        self._asking, self._asking_due = False, True
        self._wake.set()

    def _ask(self) -> None:
        """Send the oldest message of each refused topic; events wait while older ones are published again."""
        self._asking_due = False
        probes = [each for each in self._refusals.probes() if each.entry_id == "*" or not self._refill.active]
        faults = self._transport.exchange(probes, [], []).faults
        if self._refusals.settle(probes, faults):
            self.reread()
        if self._refusals.reasons:
            self._try_later(probes, faults)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Commands make events: the read models are prompted right behind them, so that one commit stores both."""
        handed = False
        for delivery in deliveries:
            if delivery.topic == self._feed.topic:
                handed = handed or self._is_news(delivery)
            else:
                self._deliver_command(delivery)
                handed = True
        if handed:
            self._prompt()

    def _is_news(self, delivery: Delivery) -> bool:
        """Whether an entry of the feed tells of an event that the read models may lack."""
        return int(delivery.entry_id.partition("-")[0]) > self._applied()
