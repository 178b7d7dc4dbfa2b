"""What the clock does stream by stream: trimming, and a look at groups. One sick key stops no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from metawsm.bus.clockwork import Retention
from metawsm.bus.ports import Subscription
from metawsm.daemon.bootstrap import Core
from metawsm.daemon.read_models import ago
from metawsm.domain.events import ALL as FACTS
from metawsm.storage import log_reads
from metawsm.streams.connection import KeyRefused
from metawsm.streams.inspection import GroupInfo
from metawsm.streams.transport import RedisTransport

FOREIGN_LAG = 1000  # entries a group of another program may be behind before health names it
FOREIGN_IDLE_SECONDS = 60.0  # or for so long nobody may have read what waits for it
T = TypeVar("T")
log = logging.getLogger("metawsm.ticker")


class StreamRounds:
    """Goes over the streams of a daemon; what cannot be done for one of them is told once, until it is done again."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._own = core.policy.forum.redis.group
        self._events = [core.topics.event(fact.TYPE) for fact in FACTS]
        self._sick: set[tuple[str, str]] = set()

    def look_at_groups(self) -> None:
        """Health names the groups of other programs that are far behind."""
        transport = self._core.redis.transport
        if not isinstance(transport, RedisTransport) or not self._core.relay.connected:
            return
        topics = dict.fromkeys([*(each.topic for each in self._core.subscriptions), *self._events])
        found = self._each("the look at groups", topics, lambda topic: transport.foreign_groups(topic, self._own))
        self._core.redis.behind = tuple(
            {"topic": group.topic, "group": group.name, "lag": group.lag, "pending": group.pending}
            for groups in found
            for group in groups
            if _is_behind(group)
        )

    def mend_commands(self) -> None:
        """What another program did to a command topic, so that nothing would come through it any more, is undone."""
        transport = self._core.redis.transport
        if not isinstance(transport, RedisTransport) or not self._core.relay.connected:
            return
        reads = {each.topic: each for each in self._core.subscriptions if each.topic != self._core.topics.feed}
        list(self._each("the mending of command topics", reads, lambda topic: _mend(transport, reads[topic])))

    def trim(self, retention: Retention) -> None:
        """Command entries go by age; feed and event topics by sequence, since their ids are sequences."""
        core, transport = self._core, self._core.redis.transport
        if not isinstance(transport, RedisTransport):
            return
        since = ago(retention.stream_hours * 3600)
        floor = core.readers.query(lambda db: log_reads.before_window(db, since, retention.stream_entries))
        oldest_ms = int((time.time() - retention.stream_hours * 3600) * 1000)
        wishes = {each.topic: f"{oldest_ms}-0" for each in core.subscriptions}
        wishes |= dict.fromkeys([core.topics.feed, *self._events], f"{floor + 1}-0")

        def cut(topic: str) -> int:
            return transport.trim(topic, self._own, wishes[topic], retention.stream_entries)

        sum(self._each("retention", wishes, cut))

    def _each(self, task: str, topics: Iterable[str], work: Callable[[str], T]) -> Iterator[T]:
        """What `work` makes of each topic. Raises Unavailable when the server, not one key, is the reason."""
        for topic in topics:
            try:
                done = work(topic)
            except KeyRefused as error:
                if (task, topic) not in self._sick:
                    log.warning("stream %s is left out of %s until it can be used: %s", topic, task, error.message)
                self._sick.add((task, topic))
            else:
                self._sick.discard((task, topic))
                yield done


def _mend(transport: RedisTransport, read: Subscription) -> None:
    (info,) = transport.inspect([read])
    if info.is_beyond:
        transport.rewind(read)
        log.warning("group %s was set beyond the end of %s: it reads it from the beginning", read.group, read.topic)
    elif info.is_used_up:  # nobody can have added anything since the look
        transport.empty([read.topic], "0-0")
        log.warning("%s had used up its entry ids: it begins anew, %d entries went", read.topic, info.stream_length)


def _is_behind(group: GroupInfo) -> bool:
    if group.lag is None and group.overtaken:  # what it had not read has been trimmed
        return True
    waiting = (1 if group.lag is None else group.lag) + group.pending
    unread = group.idle_seconds is None or group.idle_seconds > FOREIGN_IDLE_SECONDS
    return waiting > FOREIGN_LAG or (unread and waiting > 0)
