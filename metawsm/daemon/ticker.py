"""The clock of the process: every schedule runs in its own time, never twice at once."""

from __future__ import annotations

import logging
import time
from functools import partial

import gevent

from metawsm.bus.clockwork import Clockwork, CommandLag, Retention, Sent
from metawsm.bus.ports import Db
from metawsm.bus.projecting import forget_batches
from metawsm.bus.specs import ScheduleSpec
from metawsm.daemon.bootstrap import Core
from metawsm.daemon.read_models import ago
from metawsm.daemon.stream_rounds import StreamRounds
from metawsm.domain.errors import Unavailable
from metawsm.schedules import ALL
from metawsm.storage.idempotency import IdempotencyKeys
from metawsm.streams.transport import RedisTransport

CHUNK = 200  # rows per bounded job
CLAIM_SECONDS = 2.0  # a command that was delivered this long ago and is still not done is looked after
REFUSED_SECONDS = 30.0  # between two looks for pending rows while Redis refuses a topic
RECOUNT_SECONDS = 5.0
GROUPS_SECONDS = 5.0
log = logging.getLogger("metawsm.ticker")


class Ticker:
    """Runs the schedules one after the other; a part that is away only postpones."""

    def __init__(self, core: Core) -> None:
        self._core = core
        rounds = StreamRounds(core)
        self._tools = _clockwork(core, rounds)
        own = (
            ScheduleSpec("recount", RECOUNT_SECONDS, lambda _: self._recount()),
            ScheduleSpec("command_topics", GROUPS_SECONDS, lambda _: rounds.mend_commands()),
            ScheduleSpec("foreign_groups", GROUPS_SECONDS, lambda _: rounds.look_at_groups()),
        )
        self._specs = (*ALL, *own)
        self._due = {spec.name: time.monotonic() + spec.seconds for spec in self._specs} | {"recount": 0.0}

    def run(self) -> None:
        """The loop; ends only by being killed."""
        while True:
            gevent.sleep(max(0.05, min(self._due.values()) - time.monotonic()))
            for spec in self._specs:
                if self._due[spec.name] <= time.monotonic():
                    self._due[spec.name] = time.monotonic() + spec.seconds
                    self._try(spec.name, spec.run)

    def _recount(self) -> None:
        """The limit of undone commands is checked against a number that drifts, so it is counted anew."""
        self._core.commands.undone = self._core.readers.query(self._core.outbox.undone)

    def _try(self, name: str, run: object) -> None:
        try:
            run(self._tools)  # type: ignore[operator]
        except Unavailable as error:
            log.warning("schedule %s postponed: %s", name, error.message)


def _clockwork(core: Core, rounds: StreamRounds) -> Clockwork:
    redis = core.policy.forum.redis
    keys = IdempotencyKeys()
    return Clockwork(
        writer=core.writer,
        ago=ago,
        read=core.readers.query,
        connected=lambda: core.relay.connected,
        command_lags=lambda: _lags(core),
        repeat_sent=core.relay.repeat_sent,
        oldest_sent=lambda db: _oldest_sent(core, db),
        oldest_pending=lambda db: core.outbox.oldest(db, "pending"),
        reread=lambda surely: _reread(core, surely),
        claim=lambda: _claim(core),
        prunes=(
            lambda db, before: core.outbox.prune(db, before, CHUNK),
            lambda db, before: keys.prune(db, before, CHUNK),
            lambda db, before: forget_batches(db, limit=CHUNK),
            lambda db, before: core.letters.prune(db, before, CHUNK),
            lambda db, before: core.runs.jobs.prune(db, before, CHUNK),
            lambda db, before: core.letters.cut(db, CHUNK),
        ),
        trim_streams=rounds.trim,
        undelivered=partial(_tell_undelivered, core),
        retention=Retention(redis.retention_hours, redis.max_entries),
    )


def _oldest_sent(core: Core, db: Db) -> Sent | None:
    found = core.outbox.oldest_sent(db)
    return found and Sent(*found, upto=core.outbox.last_id(db))


def _reread(core: Core, surely: bool) -> None:
    """Not while they are being read, or while commands are in hand: those are marked when they are done.

    Nor while no mark can be stored; and seldom while Redis refuses a topic: most that are pending are its own.
    """
    stats = core.writer.stats()
    if stats.locked or stats.newest_lost:
        return
    if core.relay.refused and time.monotonic() < core.relay.reread_at + REFUSED_SECONDS:
        return
    if not core.relay.rereading and (surely or core.lanes.in_flight == 0):
        core.relay.reread()


def _tell_undelivered(core: Core, topic: str | None) -> None:
    core.redis.undelivered = topic


def _claim(core: Core) -> None:
    """Commands that somebody else read through our group, or that we lost sight of, are delivered to us."""
    for subscription in core.subscriptions:
        if subscription.topic != core.topics.feed:
            for delivery in core.redis.transport.claim_idle(subscription, CLAIM_SECONDS):
                core.lanes.deliver(delivery)


def _lags(core: Core) -> list[CommandLag]:
    transport = core.redis.transport
    if not isinstance(transport, RedisTransport):
        return []
    infos = transport.inspect([s for s in core.subscriptions if s.topic != core.topics.feed])
    return [
        CommandLag(
            info.topic,
            info.consumer_group_lag,
            info.consumer_group_pending,
            _milliseconds(info.last_delivered_id),
            _milliseconds(info.oldest_pending_id),
        )
        for info in infos
    ]


def _milliseconds(entry_id: str) -> int:
    """When an entry was added, by the server's clock, as its id says; 0 without one."""
    return int(entry_id.partition("-")[0] or 0)
