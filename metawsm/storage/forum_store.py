"""The state tables behind a handler's unit of work."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from metawsm.bus.jobs import NewJob
from metawsm.bus.ports import Db
from metawsm.bus.specs import Change
from metawsm.bus.work import Queued
from metawsm.domain.envelope import Envelope
from metawsm.domain.events import Event, Fact
from metawsm.domain.run import Run
from metawsm.domain.thread import Thread
from metawsm.messages.thread_rows import COLUMN_LIST, COLUMNS, from_row, to_row
from metawsm.storage import event_log, receipts, run_rows
from metawsm.storage.jobs_table import JobTable

_FIND = f"SELECT {COLUMN_LIST} FROM forum_threads WHERE thread_id = ?"
# Short, as each execution reads the text of its statement. The table has these columns in this order.
_INSERT = f"INSERT INTO forum_threads VALUES ({','.join('?' * len(COLUMNS))})"
_UPDATE = f"UPDATE forum_threads SET {','.join(f'{c}=?' for c in COLUMNS[1:])} WHERE thread_id=?"
_FIND_CONTROL = "SELECT thread_id FROM forum_control_threads WHERE run_id = ? AND agent_name = ?"
_TAKEN = (
    "SELECT EXISTS (SELECT 1 FROM forum_control_threads WHERE thread_id = ?1)"
    " OR EXISTS (SELECT 1 FROM forum_threads WHERE thread_id = ?1)"
)
# Until the thread is there, the newest signal says which ticket it is about: an earlier one was rejected.
_CLAIM_CONTROL = """
INSERT INTO forum_control_threads (run_id, agent_name, ticket, thread_id) VALUES (?, ?, ?, ?)
ON CONFLICT (run_id, agent_name) DO UPDATE SET ticket = excluded.ticket
WHERE NOT EXISTS (SELECT 1 FROM forum_threads t WHERE t.thread_id = forum_control_threads.thread_id)
"""
_RUN_TICKET = "SELECT ticket FROM run_tickets WHERE run_id = ? AND position = 0"
_OTHER_RUN = """
SELECT run_id FROM runs WHERE state NOT IN ('closed', 'stopped') AND run_id != ? AND EXISTS (
    SELECT 1 FROM json_each(workspaces_json) WHERE value ->> 'name' = ?)
ORDER BY created_sequence LIMIT 1
"""
_AGENT_TICKET = "SELECT ticket FROM agents WHERE run_id = ? AND agent_name = ?"
_SIGNALS = """
SELECT signal_json FROM forum_posts
WHERE post_id IN (SELECT value FROM json_each(?)) AND signal_json IS NOT NULL AND created_at < ?
"""
SaveSeen = Callable[[Db, str, str, Thread, int, str], None]


@frozen
class ForumStore:
    """Implements `bus.work.Store` over the tables of `storage.schema`."""

    log: event_log.EventLog
    seen: SaveSeen
    jobs: JobTable = JobTable("", 1)

    def find_thread(self, db: Db, thread_id: str) -> Thread | None:
        """The thread, or None."""
        for row in db.execute(_FIND, (thread_id,)):
            return from_row(row)
        return None

    def append_event(self, db: Db, envelope: Envelope, fact: Fact) -> tuple[Event, Queued]:
        """Write the event into log and outbox."""
        return self.log.append(db, envelope, fact)

    def save_trace(self, db: Db, change: Change) -> None:
        """Write the rows people read by hand, and remember for the read models what the event has changed."""
        event_log.save_trace(db, change.event)
        self.log.fresh.changed(change)

    def save_thread(self, db: Db, before: Thread | None, thread: Thread) -> None:
        """Insert or update the row."""
        row = to_row(thread)
        if before is None:
            db.run(_INSERT, row)
        else:
            db.run(_UPDATE, (*row[1:], row[0]))

    def unread_answers(self, db: Db, thread_id: str, agent: str, first: int, last: int, limit: int) -> list[str]:
        """Post ids of the answers in [first, last] that an agent has not read, the oldest first."""
        return receipts.unread_answers(db, thread_id, agent, first, last, limit)

    def is_delivered(self, db: Db, thread_id: str, post_id: str, agent: str) -> bool | None:
        """Whether an answer has come before an agent; None where the thread has no such answer."""
        return receipts.is_delivered(db, thread_id, post_id, agent)

    def asked_before(self, db: Db, posts: Sequence[str], signal: Mapping[str, Any], time: str) -> bool:
        """Compare with the signals in the posts."""
        found = db.execute(_SIGNALS, (json.dumps(posts), time))
        return any(_question(json.loads(text)) == _question(signal) for (text,) in found)

    def save_seen(self, db: Db, viewer: tuple[str, str], thread: Thread, sequence: int, now: str) -> None:
        """Remember what a viewer has seen."""
        self.seen(db, *viewer, thread, sequence, now)

    def find_run(self, db: Db, run_id: str) -> Run | None:
        """The run, or None."""
        return run_rows.find_run(db, run_id)

    def save_run(self, db: Db, before: Run | None, run: Run) -> None:
        """Insert or update the run's rows."""
        run_rows.save_run(db, before, run)

    def other_run_in(self, db: Db, run_id: str, workspace: str) -> str | None:
        """The oldest such run, or None."""
        return next((str(found) for (found,) in db.execute(_OTHER_RUN, (run_id, workspace))), None)

    def ticket_of_run(self, db: Db, run_id: str) -> str:
        """The run's first ticket, or an empty text."""
        return next((str(ticket) for (ticket,) in db.execute(_RUN_TICKET, (run_id,))), "")

    def ticket_of_agent(self, db: Db, run_id: str, agent: str) -> str | None:
        """The ticket of an agent of a run, or None."""
        return next((str(ticket) for (ticket,) in db.execute(_AGENT_TICKET, (run_id, agent))), None)

    def add_job(self, db: Db, job: NewJob, now: str) -> None:
        """Write the job's row."""
        self.jobs.insert(db, job, now)


def _question(signal: Mapping[str, Any]) -> tuple[Any, Any]:
    return signal.get("question"), signal.get("context")


class ControlThreadTable:
    """Implements `bus.intake.ControlThreads`."""

    def find(self, db: Db, run_id: str, agent_name: str) -> str | None:
        """The pair's thread id, or None."""
        for (thread_id,) in db.execute(_FIND_CONTROL, (run_id, agent_name)):
            return str(thread_id)
        return None

    def taken(self, db: Db, thread_id: str) -> bool:
        """Whether the id belongs to another pair or to any thread."""
        return any(row[0] for row in db.execute(_TAKEN, (thread_id,)))

    def claim(self, db: Db, run_id: str, agent_name: str, ticket: str, thread_id: str) -> None:
        """Give the pair its thread id; until the thread is opened, note the newest ticket."""
        db.run(_CLAIM_CONTROL, (run_id, agent_name, ticket, thread_id))
