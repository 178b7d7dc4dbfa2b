"""The clock of the process: every schedule runs in its own time, never twice at once."""

from __future__ import annotations

import logging
import time

import gevent

from metawsm.bus.clockwork import Clockwork, CommandLag, Retention, Sent
from metawsm.bus.ports import Db
from metawsm.bus.projecting import forget_batches
from metawsm.bus.specs import ScheduleSpec
from metawsm.daemon.bootstrap import Core
from metawsm.daemon.read_models import ago
from metawsm.domain.errors import Unavailable
from metawsm.domain.events import ALL as FACTS
from metawsm.schedules import ALL
from metawsm.storage.idempotency import IdempotencyKeys
from metawsm.streams.inspection import GroupInfo
from metawsm.streams.transport import RedisTransport

CHUNK = 200  # rows per bounded job
CLAIM_SECONDS = 2.0  # a command that was delivered this long ago and is still not done is looked after
REFUSED_SECONDS = 30.0  # between two looks for pending rows while Redis refuses a topic
RECOUNT_SECONDS = 5.0
GROUPS_SECONDS = 5.0
FOREIGN_LAG = 1000  # entries a group of another program may be behind before health names it
FOREIGN_IDLE_SECONDS = 60.0  # or for so long nobody may have read what waits for it
log = logging.getLogger("metawsm.ticker")


class Ticker:
    """Runs the schedules one after the other; a part that is away only postpones."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tools = _clockwork(core)
        own = (
            ScheduleSpec("recount", RECOUNT_SECONDS, lambda _: self._recount()),
            ScheduleSpec("foreign_groups", GROUPS_SECONDS, lambda _: _look_at_groups(core)),
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


def _clockwork(core: Core) -> Clockwork:
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
        trim_streams=lambda retention: _trim(core, retention),
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


def _look_at_groups(core: Core) -> None:
    """Health names the groups of other programs that are far behind."""
    transport = core.redis.transport
    if not isinstance(transport, RedisTransport) or not core.relay.connected:
        return
    own = core.policy.forum.redis.group
    found = [group for topic in _every_topic(core) for group in transport.foreign_groups(topic, own)]
    core.redis.behind = tuple(
        {"topic": group.topic, "group": group.name, "lag": group.lag, "pending": group.pending}
        for group in found
        if _is_behind(group)
    )


def _is_behind(group: GroupInfo) -> bool:
    if group.lag is None and group.overtaken:  # what it had not read has been trimmed
        return True
    waiting = (1 if group.lag is None else group.lag) + group.pending
    unread = group.idle_seconds is None or group.idle_seconds > FOREIGN_IDLE_SECONDS
    return waiting > FOREIGN_LAG or (unread and waiting > 0)


def _every_topic(core: Core) -> list[str]:
    facts = [core.topics.event(fact.TYPE) for fact in FACTS]
    return list(dict.fromkeys([*(each.topic for each in core.subscriptions), core.topics.feed, *facts]))


def _trim(core: Core, retention: Retention) -> None:
    """Command entries go by age; feed and event topics by sequence, since their ids are sequences."""
    transport = core.redis.transport
    if not isinstance(transport, RedisTransport):
        return
    from metawsm.storage import log_reads

    since = ago(retention.stream_hours * 3600)
    floor = core.readers.query(lambda db: log_reads.before_window(db, since, retention.stream_entries))
    oldest_ms = int((time.time() - retention.stream_hours * 3600) * 1000)
    group = core.policy.forum.redis.group
    facts = [core.topics.feed, *(core.topics.event(fact.TYPE) for fact in FACTS)]
    wishes = {s.topic: f"{oldest_ms}-0" for s in core.subscriptions} | dict.fromkeys(facts, f"{floor + 1}-0")
    for topic, lowest in wishes.items():
        transport.trim(topic, group, lowest, retention.stream_entries)
