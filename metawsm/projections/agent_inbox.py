"""forum_agent_inbox: what each agent asked, and how far it has been answered."""

from __future__ import annotations

from collections.abc import Callable

from metawsm.bus.ports import Db
from metawsm.bus.specs import Change, ProjectionSpec
from metawsm.domain.events import ControlSignal, Fact, PostAdded
from metawsm.domain.ids import post_id
from metawsm.domain.thread import Thread


def schema(prefix: str) -> str:
    """One row per thread that an agent asked; a missing run is ''."""
    return f"""
CREATE TABLE {prefix}forum_agent_inbox (
    run_id TEXT NOT NULL, agent_name TEXT NOT NULL, thread_id TEXT NOT NULL, ticket TEXT NOT NULL, state TEXT NOT NULL,
    answers_count INTEGER NOT NULL DEFAULT 0, last_answer_post_id TEXT, last_answer_sequence INTEGER,
    last_answer_at TEXT, last_answer_by_type TEXT, last_answer_by_name TEXT,
    PRIMARY KEY (run_id, agent_name, thread_id)
) WITHOUT ROWID;
"""


def build(prefix: str) -> Callable[[Db, Change], None]:
    """Follow the state of the thread, and keep the newest answer."""
    table = f"{prefix}forum_agent_inbox"
    has = "WHERE run_id = ? AND agent_name = ? AND thread_id = ?"
    insert = f"INSERT INTO {table} (run_id, agent_name, thread_id, ticket, state) VALUES (?, ?, ?, ?, ?)"
    move = f"UPDATE {table} SET state = ? {has}"
    answer = (
        f"UPDATE {table} SET state = ?, answers_count = answers_count + 1, last_answer_post_id = ?,"
        f" last_answer_sequence = ?, last_answer_at = ?, last_answer_by_type = ?, last_answer_by_name = ? {has}"
    )

    def apply(db: Db, change: Change) -> None:
        before, after = change.before, change.after
        if after is None or after.agent_name is None:
            return
        key = _key(after)
        if before is None:
            db.execute(insert, (*key, after.ticket, after.state))
        elif is_answer(change.event.fact):
            head = change.event.envelope
            who = (head.occurred_at, head.actor_type, head.actor_name)
            db.execute(answer, (after.state, post_id(head.event_id), change.event.sequence, *who, *key))
        elif before.state != after.state:
            db.execute(move, (after.state, *key))

    return apply


def is_answer(fact: Fact) -> bool:
    """Whether a fact answers: a plain post does not (contract, section 7)."""
    match fact:
        case PostAdded(kind="answer"):
            return True
        case ControlSignal(signal=signal):
            return signal.get("control_type") == "guidance_answer"
    return False


def _key(thread: Thread) -> tuple[str, str | None, str]:
    return thread.run_id or "", thread.agent_name, thread.thread_id


SPEC = ProjectionSpec(name="agent_inbox", version=1, tables=("forum_agent_inbox",), schema=schema, build=build)
