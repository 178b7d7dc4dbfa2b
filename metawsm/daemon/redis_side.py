"""The Redis of this daemon: which one it is, the bundled server's life, and the lease on the namespace."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent

from metawsm.bus.ports import Ack, Delivery, Exchange, Message, Publication, Subscription
from metawsm.bus.receive import Identity
from metawsm.domain.errors import Refused, Unavailable
from metawsm.policy import Policy
from metawsm.streams.bundled import BundledServer
from metawsm.streams.choice import DEFAULT_URL, Choice, Kind, choose
from metawsm.streams.lease import LEASE_SECONDS, Lease, Owner
from metawsm.streams.transport import RedisTransport

RELEASE_SECONDS = 1.0
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # the one that goes on while the machine sleeps
log = logging.getLogger("metawsm.redis")


def _ignore(_: object) -> None:
    """The default of both callbacks."""


class NoTransport:
    """The transport of a daemon whose policy names no Redis: everything waits in the outbox."""

    shown_url = ""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def exchange(
        self, publications: Sequence[Publication], acks: Sequence[Ack], reads: Sequence[Subscription]
    ) -> Exchange:
        """Not possible."""
        raise Unavailable(self._reason)

    def listen(self, reads: Sequence[Subscription], block_seconds: float) -> Sequence[Delivery]:
        """Not possible."""
        raise Unavailable(self._reason)

    def pending(self, read: Subscription, after: str = "0") -> Sequence[Delivery]:
        """Not possible."""
        raise Unavailable(self._reason)

    def ensure(self, reads: Sequence[Subscription]) -> Sequence[Subscription]:
        """Not possible."""
        raise Unavailable(self._reason)

    def last_entry_id(self, topic: str) -> str:
        """Not possible."""
        raise Unavailable(self._reason)

    def last_message(self, topic: str) -> Message | None:
        """Not possible."""
        raise Unavailable(self._reason)

    def ensure_streams(self, topics: Sequence[str]) -> None:
        """Not possible."""
        raise Unavailable(self._reason)

    def claim_idle(self, read: Subscription, idle_seconds: float) -> Sequence[Delivery]:
        """Not possible."""
        raise Unavailable(self._reason)

    def empty(self, topics: Sequence[str], newest: str) -> None:
        """Not possible."""
        raise Unavailable(self._reason)


class RedisSide:
    """Holds the choice and keeps it usable. `folder` is the database's folder.

    `on_recreated` hears of groups that had to be made again while reading, `on_lost` why the namespace was lost.
    """

    def __init__(self, policy: Policy, folder: Path, database: Path, identity: Identity, instance_id: str) -> None:
        redis = policy.forum.redis
        self.choice: Choice = choose(redis.url, DEFAULT_URL)
        self.bundled: BundledServer | None = None
        if self.choice.kind is Kind.BUNDLED:
            self.bundled = BundledServer(folder, identity.database_id)
        self.url = self.bundled.url if self.bundled else self.choice.url
        self.on_recreated: Callable[[Sequence[Subscription]], None] = _ignore
        self.on_lost: Callable[[str], None] = _ignore
        self.transport: RedisTransport | NoTransport = (
            NoTransport(self.choice.reason)
            if self.choice.kind is Kind.NONE
            else RedisTransport(self.url, redis.consumer, self.recreated, self.fence)
        )
        owner = Owner(identity.database_id, str(database.resolve()), instance_id, socket.gethostname(), os.getpid())
        self._lease = Lease(self.url, owner, self.bundled.way_out if self.bundled else "") if self.url else None
        self._held = False
        self._renewed_at = -math.inf
        self.behind: tuple[dict[str, Any], ...] = ()  # groups of other programs, as health shows them
        self.undelivered: str | None = None  # the topic whose commands do not come back
        log.info("Redis: %s", self.choice.reason)

    def prepare(self) -> None:
        """Make the server usable: start the bundled one if it is not there, take the namespace.

        Raises Unavailable when it cannot be used now, Refused when the namespace is another database's.
        """
        if self.bundled is not None and not self.bundled.is_reachable():
            self.bundled.start()
            log.info("bundled Redis server started, data in %s", self.bundled.log_path.parent)
        if self._lease is not None:
            self._take()

    def fence(self) -> None:
        """Raise Unavailable when the lease may have run out: the streams may be another database's by now."""
        if self._lease is not None and self._has_run_out():
            raise Unavailable(f"the lease on redis at {self.transport.shown_url} has run out, it is taken anew")

    def renew(self) -> None:
        """The loop that keeps the lease; ends only by being killed. One that has run out is for the relay to take."""
        while True:
            gevent.sleep(LEASE_SECONDS / 3)
            if self._lease is not None and not self._has_run_out():
                try:
                    self._prolong(self._lease.renew)
                except Unavailable:
                    continue  # the relay notices, at the latest by the fence
                except Refused as error:
                    self._renewed_at = -math.inf
                    log.error("%s", error.message)
                    self.on_lost(error.message)

    def close(self) -> None:
        """Give the namespace back and stop the server that we started."""
        if self._lease is not None and self._held:
            with suppress(Unavailable), gevent.Timeout(RELEASE_SECONDS, False):  # else it runs out by itself
                self._lease.release()
        if isinstance(self.transport, RedisTransport):
            self.transport.close()
        if self.bundled is not None:
            self.bundled.stop()

    def recreated(self, created: Sequence[Subscription]) -> None:
        """What the transport is told to call; `on_recreated` is set later."""
        self.on_recreated(created)

    def _take(self) -> None:
        if self._lease is None:
            return
        try:
            self._prolong(self._lease.acquire)
        except Unavailable as error:
            raise Unavailable(f"forum redis ping failed: {error.message}") from error
        except Refused as error:
            if self._held:  # lost while running: whoever has it now may end, so go on asking
                raise Unavailable(error.message) from error
            raise
        self._held = True

    def _has_run_out(self) -> bool:
        return time.clock_gettime(CLOCK) - self._renewed_at > LEASE_SECONDS

    def _prolong(self, ask: Callable[[], None]) -> None:
        asked_at = time.clock_gettime(CLOCK)  # Redis counts from later on
        ask()
        self._renewed_at = asked_at
