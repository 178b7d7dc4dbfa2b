"""The clock of the process: every schedule runs in its own time, never twice at once."""

from __future__ import annotations

import logging
import time

import gevent

from metawsm.bus.clockwork import Clockwork, CommandLag, Retention
from metawsm.bus.projecting import forget_batches
from metawsm.daemon.bootstrap import Core
from metawsm.daemon.read_models import ago
from metawsm.domain.errors import Unavailable
from metawsm.schedules import ALL
from metawsm.storage.idempotency import IdempotencyKeys
from metawsm.streams.transport import RedisTransport

CHUNK = 200  # rows per bounded job
log = logging.getLogger("metawsm.ticker")


class Ticker:
    """Runs the schedules one after the other; a part that is away only postpones."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._tools = _clockwork(core)
        self._due = {spec.name: time.monotonic() + spec.seconds for spec in ALL}

    def run(self) -> None:
        """The loop; ends only by being killed."""
        while True:
            gevent.sleep(max(0.05, min(self._due.values()) - time.monotonic()))
            for spec in ALL:
                if self._due[spec.name] <= time.monotonic():
                    self._due[spec.name] = time.monotonic() + spec.seconds
                    self._try(spec.name, spec.run)

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
        oldest_sent=lambda db: (core.outbox.oldest(db, "sent"), core.outbox.last_id(db)),
        prunes=(
            lambda db, before: core.outbox.prune(db, before, CHUNK),
            lambda db, before: keys.prune(db, before, CHUNK),
            lambda db, before: forget_batches(db, limit=CHUNK),
        ),
        trim_streams=lambda retention: _trim(core, retention),
        retention=Retention(redis.retention_hours, redis.max_entries),
    )


def _lags(core: Core) -> list[CommandLag]:
    transport = core.redis.transport
    if not isinstance(transport, RedisTransport):
        return []
    infos = transport.inspect([s for s in core.subscriptions if s.topic != core.topics.feed])
    return [CommandLag(info.consumer_group_lag, info.consumer_group_pending) for info in infos]


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
    for subscription in core.subscriptions:
        if subscription.topic == core.topics.feed:
            transport.trim(subscription.topic, group, f"{floor + 1}-0", retention.stream_entries)
        else:
            transport.trim(subscription.topic, group, f"{oldest_ms}-0", retention.stream_entries)
