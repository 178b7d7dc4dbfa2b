"""What health and debug say: the state of every part, in the names of the contract."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from attrs import asdict, define

from metawsm.api.exchange import Answer, Request
from metawsm.api.operations import DEBUG
from metawsm.api.parameters import read
from metawsm.bus.ports import Db, Subscription
from metawsm.daemon.command_path import CommandPath
from metawsm.daemon.lanes import Lanes
from metawsm.daemon.projection_loop import ProjectionLoop
from metawsm.daemon.redis_side import RedisSide
from metawsm.daemon.relay import Relay
from metawsm.daemon.run_facts import RunFacts
from metawsm.daemon.supervisor import Supervisor
from metawsm.daemon.tail import Tail
from metawsm.domain.errors import Unavailable
from metawsm.policy import Policy
from metawsm.storage import log_reads, meta
from metawsm.storage.dead_letters import MOST_COUNTED, DeadLetterTable
from metawsm.storage.group_writer import GroupWriter, WriterStats
from metawsm.storage.maintenance import ALARM_PAGES, free_disk
from metawsm.storage.outbox import Outbox
from metawsm.storage.readers import Readers
from metawsm.streams.transport import RedisTransport

LAG_LIMIT = 1000  # events the projections may be behind before health says degraded
LOW_DISK = 64 << 20  # bytes; below it health says attention
log = logging.getLogger("metawsm.health")


@define(eq=False)
class Facts:
    """Everything health looks at; reads only what costs little."""

    policy: Policy
    started_at: str
    now: Callable[[], str]
    writer: GroupWriter
    readers: Readers
    outbox: Outbox
    letters: DeadLetterTable
    relay: Relay
    lanes: Lanes
    projections: ProjectionLoop
    tail: Tail
    redis: RedisSide
    supervisor: Supervisor
    commands: CommandPath
    subscriptions: tuple[Subscription, ...]
    open_connections: Callable[[], int]
    open_streams: Callable[[], int]
    runs: RunFacts
    debug_rows: Callable[[Db, dict[str, str], int], dict[str, Any]]

    def health(self, request: Request) -> Answer:
        """GET /health: `ok`, `attention` (200) or `degraded` (503)."""
        request.only()
        components = self._components()
        outbox = self._guarded(self._outbox)
        states = [part.get("status", "ok") for part in (*components.values(), outbox)]
        status = "degraded" if "degraded" in states else "attention" if "attention" in states else "ok"
        body = {
            "status": status,
            "started_at": self.started_at,
            "now": self.now(),
            "worker": self._worker(),
            "outbox": outbox,
            "forum_bus": self._bus(),
            "components": components,
        }
        return Answer(503 if status == "degraded" else 200, body)

    def debug(self, request: Request) -> Answer:
        """GET /forum/debug."""
        query = read(request, DEBUG.parameters)
        limit = query["limit"]
        rows = self.readers.slow(lambda db: self.debug_rows(db, query, limit))
        shown = {"generated_at": self.now(), "outbox": self._guarded(self._outbox), **rows, "bus": self._bus_details()}
        return Answer(200, {"debug": shown})

    def livez(self, _: Request) -> Answer:
        """GET /livez: the process answers."""
        return Answer(200, {"status": "alive"})

    def readyz(self, _: Request) -> Answer:
        """GET /readyz: requests are accepted and reads are answered."""
        self.readers.query(lambda db: list(db.execute("SELECT 1")))
        return Answer(200, {"status": "ready"})

    def _components(self) -> dict[str, Any]:
        broken = self.supervisor.broken()
        return {
            "database": self._guarded(self._database),
            "redis": self._redis(),
            "commands": self._commands(),
            "projections": self._guarded(self._projections),
            "dead_letters": self._guarded(self._dead_letters),
            "jobs": self._guarded(self.runs.jobs),
            "runs": self._guarded(self.runs.agents),
            "loops": {"status": "degraded" if broken else "ok"} | ({"broken": broken} if broken else {}),
            "http": {"status": "ok", "connections": self.open_connections(), "streams": self.open_streams()},
        }

    def _guarded(self, look: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        try:
            return look()
        except Unavailable as error:
            return {"status": "degraded", "error": error.message}
        except Exception:  # health has to name the other parts all the same
            log.exception("a part of health cannot be told")
            return {"status": "degraded", "error": "cannot be told; the daemon's log says why"}

    def _database(self) -> dict[str, Any]:
        self.readers.query(lambda db: list(db.execute("SELECT 1")))
        stats = self.writer.stats()
        free = free_disk(self.writer.database)
        shown = {"writer": asdict(stats), "free_disk_bytes": free}
        if stats.locked or stats.newest_lost:
            return {"status": "degraded", "error": self._unwritable(stats), **shown}
        if stats.wal_pages >= ALARM_PAGES:
            told = "the write-ahead log does not get shorter: a program reads without end"
            return {"status": "attention", "error": told, **shown}
        if free < LOW_DISK:
            return {"status": "attention", "error": "the disk of the database is nearly full", **shown}
        return {"status": "ok", **shown}

    def _unwritable(self, stats: WriterStats) -> str:
        """Why nothing can be stored. Where nobody else tries, this does, so that the fault is not told for ever."""
        if not stats.queued:
            self.writer.enqueue(meta.touch, lambda _: None)
        if stats.locked:
            return "another process holds the lock of the database"
        return "the newest changes could not be stored; the answers to their requests say why"

    def _redis(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"kind": self.redis.choice.kind.value, "reason": self.redis.choice.reason}
        if not self.relay.connected:
            return {"status": "degraded", "error": self.relay.fault, **shown}
        if self.relay.refused:
            return {
                "status": "degraded",
                "error": "Redis refuses messages",
                "refused": dict(self.relay.refused),
                **shown,
            }
        if sick := getattr(self.redis.transport, "sick_topics", None):
            return {"status": "degraded", "error": "streams cannot be read", "sick": dict(sick), **shown}
        if self.redis.behind:
            told = "groups of other programs are far behind; they lose what is older than the retention"
            return {"status": "attention", "error": told, "foreign_groups": list(self.redis.behind), **shown}
        return {"status": "ok", **shown}

    def _commands(self) -> dict[str, Any]:
        """`trimmed` counts entries that were removed from Redis unread; those of other programs are lost."""
        lanes = self.lanes
        shown = {"handled": lanes.handled, "in_flight": lanes.in_flight, "trimmed": lanes.trimmed}
        if topic := self.redis.undelivered:
            told = f"commands on {topic} do not come back from Redis, though they were published again"
            return {"status": "degraded", "error": told, **shown}
        return {"status": "attention" if lanes.trimmed else "ok", **shown}

    def _projections(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"status": "ok", "applied_sequence": self.tail.head}
        if self.projections.fault is not None:
            return shown | {"status": "degraded", "error": self.projections.fault}
        behind = self.readers.query(log_reads.head) - self.tail.head
        if behind > LAG_LIMIT:
            return shown | {"status": "degraded", "error": f"the read models are {behind} events behind"}
        return shown

    def _dead_letters(self) -> dict[str, Any]:
        """`cut` counts open ones whose payload was too much to keep. Nothing is counted further than needed."""
        reasons = self.readers.query(self.letters.open_by_reason)
        cut = self.readers.query(self.letters.count_cut)
        shown: dict[str, Any] = {"status": "attention" if reasons else "ok", "open": sum(reasons.values())}
        shown |= ({"by_reason": reasons} if reasons else {}) | ({"cut": cut} if cut else {})
        return shown | ({"counts_are_lower_bounds": True} if MOST_COUNTED in reasons.values() else {})

    def _worker(self) -> dict[str, Any]:
        loops = self.supervisor.facts()
        return {"running": all(loop["running"] for loop in loops.values()), "loops": loops}

    def _outbox(self) -> dict[str, Any]:
        def look(db: Db) -> dict[str, Any]:
            counts = self.outbox.counts(db)
            oldest = self.outbox.oldest(db, "pending")
            shown: dict[str, Any] = {
                "pending_count": counts["pending"],
                "processing_count": counts["sent"],
                "failed_count": counts["failed"],
                "oldest_pending_age_seconds": _age(oldest),
            }
            return shown | ({"oldest_pending_at": oldest} if oldest else {})

        return self.readers.query(look)

    def _bus(self) -> dict[str, Any]:
        if self.relay.connected:
            return {"healthy": True}
        return {"healthy": False, "error": self.relay.fault or "not connected"}

    def _bus_details(self) -> dict[str, Any]:
        redis = self.policy.forum.redis
        topics: list[dict[str, Any]] = []
        if self.relay.connected and isinstance(self.redis.transport, RedisTransport):
            try:
                topics = [asdict(info) for info in self.redis.transport.inspect(self.subscriptions)]
            except Unavailable:
                topics = []
        return {
            "running": self._worker()["running"],
            **self._bus(),
            "redis_url": self.redis.transport.shown_url,
            "stream_name": redis.stream,
            "consumer_group": redis.group,
            "consumer_name": redis.consumer,
            "topics": topics,
        }


def _age(at: str | None) -> float:
    if at is None:
        return 0.0
    return round((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds(), 3)
