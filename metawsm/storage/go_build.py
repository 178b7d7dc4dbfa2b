"""Building our database from a copy of the Go program's: in chunks, each of which moves the place it has come to.

The place, and what there is to tell, stand in the new database itself. So whenever the process ends, the next one goes
on from the last chunk, and nothing is carried twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import apsw
import attrs
from attrs import frozen

from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import Refused
from metawsm.domain.events import Event, Fact, ThreadOpened
from metawsm.domain.thread import Thread, evolve
from metawsm.messages.codec import payload_of
from metawsm.messages.json_text import to_json
from metawsm.messages.topics import Topics
from metawsm.storage.connection import open_writer
from metawsm.storage.errors import translated
from metawsm.storage.event_log import EventLog, save_trace
from metawsm.storage.forum_store import ControlThreadTable, ForumStore
from metawsm.storage.go_events import EVENT_COLUMNS, Carrier, LeftOut, Row, actor_type, id_of, text_of
from metawsm.storage.migrations import migrate
from metawsm.storage.reads import save_seen
from metawsm.storage.schema_steps import STEPS

CHUNK = 1000  # rows in a transaction
Progress = Callable[[str, int, int], None]
"""Hears of the table at work, how many of its rows are done, and how many there are."""

_NOTES = """
CREATE TABLE IF NOT EXISTS import_notes (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, place TEXT NOT NULL, row TEXT NOT NULL, text TEXT NOT NULL,
    count INTEGER NOT NULL DEFAULT 1, UNIQUE (kind, place, row, text)
)"""
_TELL = "INSERT OR IGNORE INTO import_notes (kind, place, row, text) VALUES (?, ?, ?, ?)"
_TELL_AGAIN = "UPDATE import_notes SET count = count + 1 WHERE kind = ? AND place = ? AND row = ? AND text = ?"
_SAVE = "INSERT INTO metawsm_meta VALUES ('import', ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_EVENT = """
INSERT INTO forum_events (sequence, event_id, event_type, event_version, occurred_at, thread_id, run_id, ticket,
    agent_name, actor_type, actor_name, actor_known_by, correlation_id, causation_id, payload_json)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ANSWERED = """
SELECT CAST(causation_id AS BLOB) FROM theirs.forum_events
WHERE event_type = 'forum.state.changed' AND causation_id <> '' AND payload_json LIKE '%"to_state":"answered"%'
"""
_IS_READ = "SELECT 1 FROM forum_thread_reads WHERE viewer_type = ? AND viewer_id = ? AND thread_id = ?"
_IS_THERE = "SELECT 1 FROM theirs.forum_events WHERE event_id = ?"
_NEWEST = "SELECT occurred_at FROM forum_events ORDER BY sequence DESC LIMIT 1"
# New events, and a cursor of a reader, must never meet a sequence that their log had given away, also to an event that
# is not in it any more.
_LIFT = """
INSERT INTO sqlite_sequence (name, seq) SELECT 'forum_events', 0
WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'forum_events');
UPDATE sqlite_sequence SET seq = max(
    (SELECT coalesce(max(sequence), 0) FROM theirs.forum_events),
    {given}
) WHERE name = 'forum_events'
"""
_GIVEN = "(SELECT coalesce(max(CAST(seq AS INTEGER)), 0) FROM theirs.sqlite_sequence WHERE name = 'forum_events')"
# A cursor of no known read model: the daemon makes all of them anew before it serves.
_OUTDATED = "INSERT OR IGNORE INTO projection_cursors VALUES ('import', 0, 0, ?)"
# What follows from events: rows of theirs whose event is not here, and rows here that theirs lack.
_TRACES = """
INSERT OR IGNORE INTO import_notes (kind, place, row, text)
SELECT 'left out', 'forum_posts', t.post_id, 'its event was not carried' FROM theirs.forum_posts t
    WHERE NOT EXISTS (SELECT 1 FROM forum_posts o WHERE o.post_id = t.post_id);
INSERT OR IGNORE INTO import_notes (kind, place, row, text)
SELECT 'added', 'forum_posts', o.post_id, 'its event is in the log' FROM forum_posts o
    WHERE NOT EXISTS (SELECT 1 FROM theirs.forum_posts t WHERE t.post_id = o.post_id);
"""
_TRACES_BY_EVENT = """
INSERT OR IGNORE INTO import_notes (kind, place, row, text)
SELECT 'left out', '{table}', t.event_id, 'its event was not carried' FROM theirs.{table} t
    WHERE NOT EXISTS (SELECT 1 FROM forum_events e JOIN {table} o USING (sequence) WHERE e.event_id = t.event_id);
INSERT OR IGNORE INTO import_notes (kind, place, row, text)
SELECT 'added', '{table}', e.event_id, 'its event is in the log' FROM {table} o JOIN forum_events e USING (sequence)
    WHERE e.event_type <> 'forum.thread.opened'
    AND NOT EXISTS (SELECT 1 FROM theirs.{table} t WHERE t.event_id = e.event_id);
"""


@frozen
class Plan:
    """What is imported, and how far it has come: the newest row done of phase number `phase`. Times are RFC 3339."""

    source: str
    fingerprint: str
    started_at: str
    phase: int = 0
    position: int = 0


@frozen
class Phase:
    """One table of theirs, walked by rowid; `carry` takes a row of `columns` behind the rowid."""

    table: str
    columns: Sequence[str]
    carry: Callable[[Row], None]


class Build:
    """A new database that grows at `path` out of `copy`, a database of the Go program that nobody changes."""

    def __init__(self, path: Path, copy: Path, plan: Plan) -> None:
        self._path = path
        self.db = open_writer(path, busy_ms=1000)
        try:
            with _known(path, plan.source):
                self._prepare(copy, plan)
        except BaseException:
            self.db.close()
            raise

    def _prepare(self, copy: Path, plan: Plan) -> None:
        migrate(self.db, STEPS)
        self.db.execute("ATTACH ? AS theirs", (str(copy),))
        self.db.execute(_NOTES)
        self.plan = plan_of(self.db) or plan
        self._tables = {str(name) for (name,) in self.db.execute("SELECT name FROM theirs.sqlite_schema")}
        answered = self.db.execute(_ANSWERED) if "forum_events" in self._tables else ()
        self._carrier = Carrier(frozenset(id_of(event_id) for (event_id,) in answered), self.tell)
        self._store = ForumStore(EventLog(Topics()), save_seen)
        self._threads: dict[str, tuple[Thread | None, Thread]] = {}
        self._moment = next((str(at) for (at,) in self.db.execute(_NEWEST)), self.plan.started_at)

    def close(self) -> None:
        """Close the files."""
        self.db.close()

    def tell(self, kind: str, place: str, row: str, text: str) -> None:
        """Note something about a row that people should hear; once."""
        self.db.execute(_TELL, (kind, place, row, text))

    def run(self, progress: Progress) -> None:
        """Carry everything that is not carried yet."""
        phases = self._phases()
        with _known(self._path, self.plan.source):
            while self.plan.phase < len(phases):
                self._walk(phases[self.plan.phase], progress)
            self._transaction(self._finish)

    def _phases(self) -> tuple[Phase, ...]:
        threads = ("thread_id", "state", "priority", "assignee_type", "assignee_name")
        reads = ("viewer_type", "viewer_id", "thread_id", "last_seen_event_sequence", "updated_at")
        outbox = ("message_id", "topic", "status", "payload_json")
        return (
            Phase("forum_events", EVENT_COLUMNS[1:], self._event),
            Phase("forum_threads", threads, self._compare),
            Phase("forum_control_threads", ("run_id", "agent_name", "ticket", "thread_id"), self._control),
            Phase("forum_thread_reads", reads, self._read),
            Phase("forum_outbox", outbox, self._message),
        )

    def _walk(self, phase: Phase, progress: Progress) -> None:
        total = self._count(phase.table, 2**63 - 1)
        done = self._count(phase.table, self.plan.position)
        while carried := self._transaction(partial(self._chunk, phase, total)):
            done += carried
            progress(phase.table, done, total)

    def _count(self, table: str, upto: int) -> int:
        if table not in self._tables:
            return 0
        counted = self.db.execute(f"SELECT count(*) FROM theirs.{table} WHERE rowid <= ?", (upto,))
        return int(next(iter(counted))[0])

    def _chunk(self, phase: Phase, total: int) -> int:
        """Carry the next rows and say how many; when there are none, the next phase begins."""
        rows = list(self._rows(phase)) if total else []
        for row in rows:
            phase.carry(row)
        for before, thread in self._threads.values():
            self._store.save_thread(self.db, before, thread)
        self._threads.clear()
        place = {"position": rows[-1][0]} if rows else {"phase": self.plan.phase + 1, "position": 0}
        plan = attrs.evolve(self.plan, **place)
        self.db.execute(_SAVE, (json.dumps(attrs.asdict(plan)),))
        self.plan = plan
        return len(rows)

    def _rows(self, phase: Phase) -> Iterator[Row]:
        # Texts are read as bytes: theirs were never checked, and a wrong one must not end the import.
        columns = ", ".join(f"CAST({column} AS BLOB)" for column in phase.columns)
        sql = f"SELECT rowid, {columns} FROM theirs.{phase.table} WHERE rowid > ? ORDER BY rowid LIMIT {CHUNK}"
        return iter(self.db.execute(sql, (self.plan.position,)))

    def _transaction(self, work: Callable[[], Any]) -> Any:
        self.db.execute("BEGIN IMMEDIATE")
        try:
            result = work()
            self.db.execute("COMMIT")
            return result
        except BaseException:
            self._threads.clear()
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def _event(self, row: Row) -> None:
        event_id, thread_id = id_of(row[1]), self._carrier.thread_id(id_of(row[4]))
        thread = self._thread(thread_id)
        try:
            head, fact = self._carrier.event(row, thread, self._moment)
            self._store_event(row[0], head, fact)
        except LeftOut as reason:
            self._leave_out("forum_events", reason.group or event_id, str(reason))
            return
        event = Event(row[0], head, fact)
        if event_id.encode() != row[1]:
            self.tell("renamed", "event", text_of(row[1]), f"is {event_id} here")
        save_trace(self.db, event)
        self._moment = head.occurred_at
        before = self._threads[thread_id][0] if thread_id in self._threads else thread
        self._threads[thread_id] = (before, evolve(thread, event))
        if isinstance(fact, ThreadOpened) and not self._has_thread(row[4]):
            self.tell("added", "forum_threads", thread_id, "its events are in the log")

    def _store_event(self, sequence: int, head: Envelope, fact: Fact) -> None:
        try:
            self.db.execute(_EVENT, _event_row(sequence, head, fact))
        except apsw.ConstraintError as error:  # their index tells a text from a blob of the same bytes, ours does not
            raise LeftOut("its id is that of another event") from error

    def _leave_out(self, table: str, row: str, why: str) -> None:
        """Note one more row; those that are told as one are counted."""
        note = ("left out", table, row, why)
        self.tell(*note)
        if not self.db.changes():
            self.db.execute(_TELL_AGAIN, note)

    def _thread(self, thread_id: str) -> Thread | None:
        if thread_id in self._threads:
            return self._threads[thread_id][1]
        return self._store.find_thread(self.db, thread_id)

    def _has_thread(self, thread_id: bytes) -> bool:
        sql = "SELECT 1 FROM theirs.forum_threads WHERE thread_id = CAST(? AS TEXT)"
        return "forum_threads" in self._tables and any(self.db.execute(sql, (thread_id,)))

    def _compare(self, row: Row) -> None:
        """Their row says what a thread is; here its events say so. Where they disagree, people hear of it."""
        original, there = id_of(row[1]), [*map(text_of, row[2:])]
        thread = self._thread(self._carrier.thread_id(original))
        if thread is None:
            self._leave_out("forum_threads", original, "the event that opened it was not carried")
            return
        here = (thread.state, thread.priority, thread.assignee_type or "", thread.assignee_name or "")
        for name, theirs, ours in zip(("state", "priority", "assignee type", "assignee"), there, here, strict=True):
            if theirs != ours:
                self.tell("differs", "forum_threads", original, f"{name} was {theirs!r}; by its events it is {ours!r}")

    def _control(self, row: Row) -> None:
        run_id, agent, ticket, original = map(id_of, row[1:])
        thread_id, name = self._carrier.thread_id(original), self._carrier.name
        if self._thread(thread_id) is None:
            self._leave_out("forum_control_threads", original, "its thread was not carried")
            return
        pair = (name("run", run_id), name("agent", agent), name("ticket", ticket))
        ControlThreadTable().claim(self.db, *pair, thread_id)

    def _read(self, row: Row) -> None:
        viewer_type, sequence, at = map(text_of, (row[1], row[4], row[5]))
        viewer_id, original = map(id_of, row[2:4])
        row_id = f"{viewer_type} {viewer_id} on {original}"
        thread = self._thread(self._carrier.thread_id(original))
        try:
            if thread is None:
                raise LeftOut("its thread was not carried")
            seen = min(int(sequence), thread.last_event_sequence)
            moment = self._carrier.moment(at, self._moment, "forum_thread_reads", row_id)
            viewer = (actor_type(viewer_type), viewer_id)
            if any(self.db.execute(_IS_READ, (*viewer, thread.thread_id))):
                raise LeftOut("another row of this viewer was carried")
            save_seen(self.db, *viewer, thread, seen, moment)
        except (LeftOut, ValueError) as reason:
            self._leave_out("forum_thread_reads", row_id, str(reason))

    def _message(self, row: Row) -> None:
        """A command is applied when its event is in their log: event and command share one id."""
        topic, status, payload = map(text_of, row[2:])
        if not self._is_applied(payload):
            self.tell("not applied", "forum_outbox", id_of(row[1]), f"{topic}, {status}: {payload}")

    def _is_applied(self, payload: str) -> bool:
        """Nobody has checked what stands there: whatever cannot be read, or is no text, names no event."""
        try:
            event_id = json.loads(payload)["envelope"]["event_id"]
            return isinstance(event_id, str) and any(self.db.execute(_IS_THERE, (event_id,)))
        except (ValueError, LookupError, TypeError, RecursionError, OverflowError):
            return False

    def _finish(self) -> None:
        self.db.execute(_OUTDATED, (now(),))
        if "forum_events" not in self._tables:  # of a time before their forum
            return
        lift = _LIFT.format(given=_GIVEN if "sqlite_sequence" in self._tables else "0")
        for statement in (lift, _TRACES, *(_TRACES_BY_EVENT.format(table=table) for table in _BY_EVENT)):
            for _ in self.db.execute(statement):
                pass


_BY_EVENT = ("forum_state_transitions", "forum_assignments")


@contextmanager
def _known(path: Path, source: str) -> Iterator[None]:
    """What SQLite says inside the block, in our words: of the file at `path`, or of a table of `source`."""
    with translated(str(path)):
        try:
            yield
        except apsw.SQLError as error:
            raise Refused(f"a table of {source} is not as it is known here: {error}") from error


def _event_row(sequence: int, head: Envelope, fact: Fact) -> Row:
    return (
        sequence, head.event_id, head.event_type, head.event_version, head.occurred_at, head.thread_id, head.run_id,
        head.ticket, head.agent_name, head.actor_type, head.actor_name, head.actor_known_by, head.correlation_id,
        head.causation_id, to_json(payload_of(fact)),
    )  # fmt: skip


def plan_of(db: apsw.Connection) -> Plan | None:
    """How far the import in this database has come; None when none was begun, or it is finished."""
    for (text,) in db.execute("SELECT value FROM metawsm_meta WHERE name = 'import'"):
        members = json.loads(text)
        return Plan(**members) if "position" in members else None
    return None


def now() -> str:
    """The time as RFC 3339 in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
