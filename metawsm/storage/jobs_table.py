"""`jobs`: long effects that wait, run or have ended. A row is claimed by one process (its boot) at a time."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen

from metawsm.bus.jobs import Job, NewJob
from metawsm.bus.ports import Db, Row
from metawsm.domain.view import timestamp
from metawsm.messages.json_text import to_json

_INSERT = """
INSERT INTO jobs (kind, job_key, lane, run_id, payload_json, epoch, not_before, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (job_key) DO NOTHING
"""
_COLUMNS = "id, kind, job_key, lane, run_id, payload_json, attempt, status"
# A running one of another boot was cut off: it is open again.
_OPEN = "status IN ('pending', 'running') AND (status = 'pending' OR boot IS NOT ?1)"
# Who was written after now was so before the clock was set back: its time may be far ahead, and has come.
_READY = f"""
SELECT {_COLUMNS} FROM jobs
WHERE {_OPEN} AND (not_before <= ?2 OR updated_at > ?2)
    AND lane NOT IN (SELECT value FROM json_each(?3)) AND kind NOT IN (SELECT value FROM json_each(?4))
ORDER BY not_before, id LIMIT ?5
"""
_NEXT = f"SELECT min(iif(updated_at > ?2, min(not_before, ?2), not_before)) FROM jobs WHERE {_OPEN}"
# Told twice, for want of an answer, it is claimed once: the attempt tells which claim it was.
_CLAIM = f"""
UPDATE jobs SET status = 'running', boot = ?1, attempt = ?2, updated_at = ?3
WHERE id = ?4 AND ({_OPEN} OR (status = 'running' AND attempt = ?2))
"""
_POSTPONE = """
UPDATE jobs SET status = 'pending', attempt = ?, not_before = ?, error = ?, updated_at = ? WHERE id = ? AND boot = ?
"""
_FINISH = "UPDATE jobs SET status = ?, error = ?, updated_at = ? WHERE id = ? AND status = 'running' AND boot = ?"
_HOLD = "UPDATE jobs SET status = 'held', updated_at = ?2 WHERE status IN ('pending', 'running') AND epoch < ?1"
_RELEASE = "UPDATE jobs SET status = 'pending', epoch = ?, updated_at = ? WHERE status = 'held'"
# Each part has an index of its own; asked together, every ended job would be read.
_COUNTS = """
SELECT status, count(*) FROM jobs WHERE status IN ('pending', 'running') GROUP BY status
UNION ALL SELECT status, count(*) FROM jobs WHERE status = 'held' GROUP BY status
"""
_OLDEST = {
    "pending": "SELECT min(not_before) FROM jobs WHERE status IN ('pending', 'running') AND status = 'pending'",
    "running": "SELECT min(updated_at) FROM jobs WHERE status IN ('pending', 'running') AND status = 'running'",
}
_SHOWN = (
    "id",
    "kind",
    "job_key",
    "lane",
    "run_id",
    "status",
    "attempt",
    "not_before",
    "error",
    "created_at",
    "updated_at",
)
_LATEST = f"SELECT {', '.join(_SHOWN)} FROM jobs ORDER BY id DESC LIMIT ?"
_PRUNE = """
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs WHERE status IN ('done', 'failed') AND updated_at < ?1 ORDER BY updated_at LIMIT ?2)
"""


@frozen
class JobTable:
    """The table's statements. `boot` names this process, `epoch` this life of the database."""

    boot: str
    epoch: int

    def insert(self, db: Db, job: NewJob, now: str) -> None:
        """Add a job, unless there is one with its key."""
        row = (job.kind, job.key, job.lane, job.run_id, to_json(job.payload), self.epoch, later(now, job.delay))
        db.execute(_INSERT, (*row, now, now))

    def ready(self, db: Db, now: str, lanes: Collection[str], kinds: Collection[str], limit: int) -> list[Job]:
        """Jobs that may begin now, the longest waiting first, without those of busy lanes and kinds."""
        busy = (to_json(sorted(lanes)), to_json(sorted(kinds)))
        return [_job(row) for row in db.execute(_READY, (self.boot, now, *busy, limit))]

    def next_at(self, db: Db, now: str) -> str | None:
        """When the next one may begin."""
        return next((at for (at,) in db.execute(_NEXT, (self.boot, now))), None)

    def claim(self, db: Db, job: Job, now: str) -> bool:
        """Take it for this process; False when it is taken or ended. The same claim may be made again."""
        db.execute(_CLAIM, (self.boot, job.attempt, now, job.id))
        return db.changes() == 1

    def postpone(self, db: Db, job: Job, seconds: float, error: str, now: str, counted: bool = True) -> None:
        """Try it again in so many seconds; `counted`: the attempt counts."""
        attempt = job.attempt if counted else job.attempt - 1
        db.execute(_POSTPONE, (attempt, later(now, seconds), error, now, job.id, self.boot))

    def finish(self, db: Db, job: Job, state: str, error: str | None, now: str) -> bool:
        """It is `done` or has `failed` for good; False if it has ended before."""
        db.execute(_FINISH, (state, error, now, job.id, self.boot))
        return db.changes() == 1

    def hold(self, db: Db, now: str) -> int:
        """Keep back what a restored backup brought: the outside has moved on since. Return how many."""
        db.execute(_HOLD, (self.epoch, now))
        return db.changes()

    def release(self, db: Db, now: str) -> int:
        """Let what is kept back begin; return how many."""
        db.execute(_RELEASE, (self.epoch, now))
        return db.changes()

    def counts(self, db: Db) -> dict[str, int]:
        """How many are pending, running and held."""
        return {"pending": 0, "running": 0, "held": 0} | {str(s): int(n) for s, n in db.execute(_COUNTS)}

    def oldest(self, db: Db, status: str) -> str | None:
        """Since when the one that has been `pending` (due) or `running` for longest is that."""
        return next((at for (at,) in db.execute(_OLDEST[status])), None)

    def latest(self, db: Db, limit: int) -> list[dict[str, Any]]:
        """The newest jobs, for people."""
        return [dict(zip(_SHOWN, row, strict=True)) for row in db.execute(_LATEST, (limit,))]

    def prune(self, db: Db, before: str, limit: int) -> int:
        """Delete up to `limit` ended jobs last changed before a time; return how many."""
        db.execute(_PRUNE, (before, limit))
        return db.changes()


def _job(row: Row) -> Job:
    row_id, kind, key, lane, run_id, payload, attempt, status = row
    members: dict[str, Any] = json.loads(payload)
    return Job(row_id, kind, key, lane, run_id, members, attempt + 1, interrupted=status == "running")


def later(now: str, seconds: float) -> str:
    """The time so many seconds after `now`."""
    return timestamp(datetime.fromisoformat(now) + timedelta(seconds=seconds)) if seconds else now
