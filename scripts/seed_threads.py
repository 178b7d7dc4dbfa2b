#!/usr/bin/env python3
"""Fill a new database with threads, for measuring: scripts/seed_threads.py N PATH [--seed S] [--now TIME] [--viewers]

The events are decided by the domain, written by the codec and applied by the read models' own code, without the bus:
nothing goes through Redis, and the outbox stays empty. The same N, seed and time give the same database.

With --viewers two people have read: human `nearly-all` everything but about ten threads, human `sparse` all but
every 100th.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import accumulate
from pathlib import Path
from typing import Any

from attrs import define, field

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from metawsm.bus.specs import Change  # noqa: E402 - the path must be set before
from metawsm.domain import actions  # noqa: E402
from metawsm.domain.envelope import Actor, Envelope  # noqa: E402
from metawsm.domain.events import Event, Fact, ThreadOpened, with_post_id  # noqa: E402
from metawsm.domain.ids import prefixed  # noqa: E402
from metawsm.domain.thread import Thread, evolve  # noqa: E402
from metawsm.domain.view import timestamp  # noqa: E402
from metawsm.messages.codec import EVENT_COLUMNS, payload_of  # noqa: E402
from metawsm.messages.json_text import to_json  # noqa: E402
from metawsm.messages.thread_rows import COLUMN_LIST, COLUMNS, to_row  # noqa: E402
from metawsm.projections import ALL  # noqa: E402
from metawsm.storage.connection import Connection, open_writer  # noqa: E402
from metawsm.storage.event_log import save_trace  # noqa: E402
from metawsm.storage.migrations import migrate  # noqa: E402
from metawsm.storage.rebuild import prepare  # noqa: E402
from metawsm.storage.schema_steps import STEPS  # noqa: E402

DAYS = 180
RARE_WORD = "zyzzyva"
RARE_THREADS = 5
PEOPLE = ("kb", *(f"person-{n}" for n in range(19)))
PRIORITIES = {"low": 15, "normal": 65, "high": 15, "urgent": 5}
# What happens to a thread after it was opened, and how often; `talk` is a post by either side.
LIVES: dict[tuple[str, ...], int] = {
    (): 3,
    ("talk",): 1,
    ("triaged",): 2,
    ("assign", "triaged", "talk"): 1,
    ("waiting_operator",): 2,
    ("assign", "waiting_operator", "talk"): 2,
    ("waiting_human",): 2,
    ("assign", "talk", "waiting_human"): 2,
    ("answer",): 8,
    ("assign", "answer", "talk"): 5,
    ("talk", "answer"): 4,
    ("answer", "close"): 30,
    ("assign", "talk", "answer", "close"): 14,
    ("talk", "talk", "answer", "talk", "answer", "close"): 4,
    ("raise", "assign", "answer", "close"): 4,
    ("close",): 16,
}
_INSERT_EVENT = f"INSERT INTO forum_events ({EVENT_COLUMNS}) VALUES ({', '.join('?' * 15)})"  # noqa: S608 - constants
_INSERT_THREAD = f"INSERT INTO forum_threads ({COLUMN_LIST}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_WORDS = [
    "schema", "migration", "test", "flaky", "build", "deploy", "config", "retry", "timeout", "cache", "index", "query",
    "merge", "branch", "conflict", "review", "token", "release", "version", "rollback", "queue", "worker", "lock",
    "thread", "stream", "cursor", "event", "payload", "field", "default", "optional",
]  # fmt: skip


@define
class Life:
    """A thread and what is still to happen to it."""

    thread: Thread | None
    steps: tuple[str, ...]
    done: int = 0


@define
class Seeder:
    """Makes events in the order of time and hands each to the log, the trace tables and the read models."""

    db: Connection
    count: int
    random: random.Random
    begin: datetime
    sequence: int = 0
    lives: list[Life] = field(factory=list)
    words: list[str] = field(factory=list)
    weights: list[float] = field(factory=list)
    tickets: list[float] = field(factory=list)
    run_sizes: dict[int, int] = field(factory=dict)
    rows: list[tuple[Any, ...]] = field(factory=list)
    rare: frozenset[int] = frozenset()

    def __attrs_post_init__(self) -> None:
        self.words = _WORDS + [f"word{n}" for n in range(4000)]
        self.weights = list(accumulate(1 / (n + 3) for n in range(len(self.words))))
        self.tickets = list(accumulate(1 / (n + 1) for n in range(max(20, self.count // 100))))
        step = max(1, self.count // RARE_THREADS)
        self.rare = frozenset(range(0, self.count, step))

    def fill(self) -> None:
        """Open the threads evenly over the time, and let everything else happen in between."""
        applies = [spec.build("") for spec in ALL]
        seconds = DAYS * 86400 / self.count
        due: list[tuple[float, int]] = []
        for number in range(self.count):
            at = number * seconds
            while due and due[0][0] <= at:
                self._go_on(due, *heappop(due), applies)
            self._open(number, at, applies)
            self._plan(due, number, at)
            if number % 5000 == 0:
                self._flush(number)
        while due and due[0][0] < DAYS * 86400:
            self._go_on(due, *heappop(due), applies)
        self._flush(self.count)

    def _open(self, number: int, at: float, applies: list[Any]) -> None:
        ticket = self.random.choices(range(len(self.tickets)), cum_weights=self.tickets)[0]
        agent = f"agent-{self.random.randrange(50)}"
        run = self._run(ticket) if self.random.random() < 0.8 else None
        thread_id = prefixed("fthr", number, self.random.randbytes(10))
        priority = self.random.choices(list(PRIORITIES), list(PRIORITIES.values()))[0]
        steps = self.random.choices(list(LIVES), list(LIVES.values()))[0]
        opened = ThreadOpened(self._text(4, 9), self._text(15, 60, RARE_WORD if number in self.rare else ""), priority)
        about = {"ticket": f"MET-{ticket}", "run_id": run, "agent_name": agent, "thread_id": thread_id}
        self.lives.append(Life(None, steps))
        self._record(number, [opened], Actor("agent", agent, "loopback"), at, about, applies)

    def _run(self, ticket: int) -> str:
        size = self.run_sizes[ticket] = self.run_sizes.get(ticket, 0) + 1
        return f"run-{ticket}-{size // 25}"

    def _plan(self, due: list[tuple[float, int]], number: int, at: float) -> None:
        if self.lives[number].done < len(self.lives[number].steps):
            heappush(due, (at + 60 + self.random.expovariate(1 / 20_000), number))

    def _go_on(self, due: list[tuple[float, int]], at: float, number: int, applies: list[Any]) -> None:
        life = self.lives[number]
        step = life.steps[life.done]
        life.done += 1
        actor, facts = self._facts(life.thread, step)
        if facts:
            self._record(number, facts, actor, at, {}, applies)
        self._plan(due, number, at)

    def _facts(self, thread: Any, step: str) -> tuple[Actor, list[Fact]]:
        person = PEOPLE[min(int(self.random.expovariate(0.3)), len(PEOPLE) - 1)]
        human = Actor("human", person, "token")
        if step == "talk":
            actor = self.random.choice((human, Actor("agent", thread.agent_name, "loopback")))
            return actor, actions.post(thread, actor, self._text(5, 60))
        if step == "answer":
            return human, actions.answer(thread, human, self._text(5, 60))
        if step == "assign":
            return human, actions.assign(thread, "human", person, None)
        if step == "raise":
            return human, actions.set_priority(thread, "urgent")
        if step == "close":
            return human, actions.close(thread, None)
        return human, actions.change_state(thread, human, step, None)

    def _text(self, low: int, high: int, extra: str = "") -> str:
        chosen = self.random.choices(self.words, cum_weights=self.weights, k=self.random.randint(low, high))
        return " ".join([*chosen, extra]) if extra else " ".join(chosen)

    def _record(
        self, number: int, facts: list[Fact], actor: Actor, at: float, about: dict[str, Any], applies: list[Any]
    ) -> None:
        moment = timestamp(self.begin + timedelta(seconds=at))
        command = prefixed("fcmd", int(at * 1000), self.random.randbytes(10))
        for fact in facts:
            before = self.lives[number].thread
            of = about or {n: getattr(before, n) for n in ("ticket", "run_id", "agent_name", "thread_id")}
            event_id = prefixed("fevt", int(at * 1000), self.random.randbytes(10))
            head = Envelope(event_id, fact.TYPE, fact.VERSION, moment, actor_type=actor.type, actor_name=actor.name,
                            actor_known_by=actor.known_by, correlation_id=command,
                            causation_id=command, **of)  # fmt: skip
            self.sequence += 1
            event = Event(self.sequence, head, with_post_id(fact, event_id))
            self._store(event)
            self.lives[number].thread = after = evolve(before, event)
            change = Change(event, before, after)
            for apply in applies:
                apply(self.db, change)

    def _store(self, event: Event) -> None:
        head = event.envelope
        self.rows.append((
            event.sequence, head.event_id, head.event_type, head.event_version, head.occurred_at, head.thread_id,
            head.run_id, head.ticket, head.agent_name, head.actor_type, head.actor_name, head.actor_known_by,
            head.correlation_id, head.causation_id, to_json(payload_of(event.fact)),
        ))  # fmt: skip
        save_trace(self.db, event)

    def _flush(self, number: int) -> None:
        self.db.executemany(_INSERT_EVENT, self.rows)
        self.rows.clear()
        self.db.execute("COMMIT")
        self.db.execute("BEGIN IMMEDIATE")
        if number % 50_000 == 0 or number == self.count:
            print(f"{number} threads, {self.sequence} events, {time.perf_counter():.0f} s on the clock", flush=True)

    def threads(self) -> Iterator[list[Any]]:
        """The rows of `forum_threads`."""
        return (to_row(life.thread) for life in self.lives if life.thread is not None)


_READS = """
INSERT INTO forum_thread_reads SELECT 'human', :viewer, thread_id, version_sequence, :now
FROM forum_thread_views WHERE opened_sequence % :every <> 0 ORDER BY thread_id
"""
_RANGES = """
INSERT INTO forum_seen_ranges
SELECT 'human', :viewer, scope, priority_rank, max(place), min(place) FROM (
    SELECT scope, priority_rank, place, seen,
        row_number() OVER (PARTITION BY scope, priority_rank ORDER BY place)
        - row_number() OVER (PARTITION BY scope, priority_rank, seen ORDER BY place) AS island
    FROM (
        SELECT {scope} AS scope, v.priority_rank, v.last_event_sequence AS place, r.thread_id IS NOT NULL AS seen
        FROM forum_thread_views v LEFT JOIN forum_thread_reads r
            ON r.viewer_type = 'human' AND r.viewer_id = :viewer AND r.thread_id = v.thread_id
        WHERE {scope} IS NOT NULL
    )
) WHERE seen GROUP BY scope, priority_rank, island
"""


def read_by(db: Connection, viewer: str, every: int, now: str) -> None:
    """Let a viewer have seen all threads but those whose key is a multiple of `every`."""
    db.execute(_READS, {"viewer": viewer, "every": every, "now": now})
    for scope in ("''", "'ticket:' || v.ticket", "'run:' || v.run_id"):
        db.execute(_RANGES.format(scope=scope), {"viewer": viewer})


def main() -> None:
    """Fill the database that the command line names."""
    told = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    told.add_argument("count", type=int)
    told.add_argument("path", type=Path)
    told.add_argument("--seed", type=int, default=1)
    told.add_argument("--now", type=datetime.fromisoformat, default=datetime.now(UTC))
    told.add_argument("--viewers", action="store_true")
    asked = told.parse_args()
    if asked.path.exists():
        told.error(f"{asked.path} exists; name a new file")
    seed(asked.path, asked.count, asked.seed, asked.now, asked.viewers)


def seed(path: Path, count: int, number: int, now: datetime, viewers: bool) -> None:
    """Make the database; `now` is the time of its newest event."""
    started = time.perf_counter()
    db = open_writer(path, cache_kib=4 * 1024 * 1024)
    migrate(db, STEPS)
    # Nothing here has to survive a power cut: a file that was not finished is made anew.
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA wal_autocheckpoint = 100000")
    db.execute("BEGIN IMMEDIATE")
    prepare(db, timestamp(now))
    indexes = _without_indexes(db)
    seeder = Seeder(db, count, random.Random(number), now - timedelta(days=DAYS))
    seeder.fill()
    db.executemany(_INSERT_THREAD, seeder.threads())
    for sql in indexes:
        db.execute(sql)
    db.execute("UPDATE projection_cursors SET sequence = ?", (seeder.sequence,))
    if viewers:
        read_by(db, "nearly-all", max(2, seeder.sequence // 35), timestamp(now))
        read_by(db, "sparse", 100, timestamp(now))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    size = path.stat().st_size / 1e6
    print(f"{path}: {count} threads, {seeder.sequence} events, {size:.0f} MB, {time.perf_counter() - started:.0f} s")


def _without_indexes(db: Connection) -> list[str]:
    """Drop the read models' indexes and return their SQL: they are made in one go from sorted keys at the end."""
    tables = [table for spec in ALL for table in spec.tables]
    sql = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name = ?"
    found = [row for table in tables for row in db.execute(sql, (table,))]
    for name, _ in found:
        db.execute(f"DROP INDEX {name}")
    return [str(text) for _, text in found]


if __name__ == "__main__":
    main()
