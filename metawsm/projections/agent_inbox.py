"""forum_agent_inbox: what each agent asked, how far it has been answered, and which answers it has not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metawsm.bus import cursors
from metawsm.bus.paging import portion
from metawsm.bus.ports import Db, Row
from metawsm.bus.specs import Change, ProjectionSpec
from metawsm.domain.events import ControlSignal, Event, Fact, PostAdded, PostDelivered, PostRead
from metawsm.domain.ids import post_id
from metawsm.domain.thread import Thread
from metawsm.messages.json_text import to_json

PAGE_BYTES = 4 * 1024 * 1024  # of a page's texts; beyond, it ends short, with at least one answer
MOST_COUNTED = 1000
_HEAD_SIZE = 400  # bytes of an answer beside its texts
_KEY = "WHERE run_id = ? AND agent_name = ? AND thread_id = ?"
_SCOPE = ("", "u.run_id = :run_id AND ")
_COUNT = """
SELECT count(*) FROM (SELECT 1 FROM forum_unread_answers u WHERE {scope}u.agent_name = :agent LIMIT :most)
"""
_MORE = """
SELECT 1 FROM forum_unread_answers u WHERE {scope}u.agent_name = :agent AND u.sequence > :after LIMIT 1
"""
_NAMES = (
    "thread_id", "ticket", "run_id", "title", "post_id", "sequence", "body", "by_type", "by_name", "at", "question",
    "delivered_at",
)  # fmt: skip
_OPTIONAL = ("run_id", "by_name", "question", "delivered_at")
_TEXTS = (_NAMES.index("body"), _NAMES.index("question"))
_PAGE = """
SELECT u.thread_id, v.ticket, u.run_id, v.title, u.post_id, u.sequence, p.body, p.actor_type, p.actor_name,
    p.created_at, q.body, u.delivered_at
FROM forum_unread_answers u CROSS JOIN forum_posts p ON p.post_id = u.post_id
    CROSS JOIN forum_thread_views v ON v.thread_id = u.thread_id LEFT JOIN forum_posts q ON q.post_id = u.request
WHERE {scope}u.agent_name = :agent AND u.sequence > :after ORDER BY u.sequence LIMIT :limit
"""


def schema(prefix: str) -> str:
    """One row per thread that an agent asked, and one per answer that this agent has not read; a missing run is ''.

    The unread ones are found by run and agent, or by agent alone, in the order of their events: their rowid.
    """
    table, unread = f"{prefix}forum_agent_inbox", f"{prefix}forum_unread_answers"
    return f"""
CREATE TABLE {table} (
    run_id TEXT NOT NULL, agent_name TEXT NOT NULL, thread_id TEXT NOT NULL, ticket TEXT NOT NULL, state TEXT NOT NULL,
    answers_count INTEGER NOT NULL DEFAULT 0, unread_count INTEGER NOT NULL DEFAULT 0, last_answer_post_id TEXT,
    last_answer_sequence INTEGER, last_answer_at TEXT, last_answer_by_type TEXT, last_answer_by_name TEXT,
    delivered_sequence INTEGER, delivered_at TEXT, read_sequence INTEGER, read_at TEXT,
    PRIMARY KEY (run_id, agent_name, thread_id)
) WITHOUT ROWID;
CREATE TABLE {unread} (
    sequence INTEGER PRIMARY KEY, post_id TEXT NOT NULL UNIQUE, thread_id TEXT NOT NULL, run_id TEXT NOT NULL,
    agent_name TEXT NOT NULL, request TEXT, delivered_at TEXT
);
CREATE INDEX {unread}_agent ON {unread} (agent_name);
CREATE INDEX {unread}_run ON {unread} (run_id, agent_name);
"""


def build(prefix: str) -> Callable[[Db, Change], None]:
    """Follow the state of the thread, keep the newest answer, and every answer until its agent has read it."""
    table = f"{prefix}forum_agent_inbox"
    insert = f"INSERT INTO {table} (run_id, agent_name, thread_id, ticket, state) VALUES (?, ?, ?, ?, ?)"
    move = f"UPDATE {table} SET state = ? {_KEY}"
    answered, receipt = _answered(prefix), _receipt(prefix)

    def apply(db: Db, change: Change) -> None:
        before, after, fact = change.before, change.after, change.event.fact
        if after is None or after.agent_name is None:
            return
        if before is None:
            db.run(insert, (*_key(after), after.ticket, after.state))
        elif isinstance(fact, PostDelivered | PostRead):
            if (fact.reader_type, fact.reader_name) == ("agent", after.agent_name):
                receipt(db, after, change.event, fact)
        elif is_answer(fact):
            answered(db, after, change.event)
        elif before.state != after.state:
            db.run(move, (after.state, *_key(after)))

    return apply


def _answered(prefix: str) -> Callable[[Db, Thread, Event], None]:
    newest = (
        f"UPDATE {prefix}forum_agent_inbox SET state = ?, answers_count = answers_count + 1,"
        " unread_count = unread_count + 1, last_answer_post_id = ?, last_answer_sequence = ?, last_answer_at = ?,"
        " last_answer_by_type = ?, last_answer_by_name = ?,"
        f" delivered_sequence = NULL, delivered_at = NULL, read_sequence = NULL, read_at = NULL {_KEY}"
    )
    unread = (
        f"INSERT INTO {prefix}forum_unread_answers (sequence, post_id, thread_id, run_id, agent_name, request)"
        " VALUES (?, ?, ?, ?, ?, ?)"
    )

    def answered(db: Db, thread: Thread, event: Event) -> None:
        head, post, key = event.envelope, post_id(event.envelope.event_id), _key(thread)
        who = (head.occurred_at, head.actor_type, head.actor_name)
        db.run(newest, (thread.state, post, event.sequence, *who, *key))
        db.run(unread, (event.sequence, post, thread.thread_id, *key[:2], getattr(event.fact, "answers", None)))

    return answered


def _receipt(prefix: str) -> Callable[[Db, Thread, Event, PostDelivered | PostRead], None]:
    table, unread = f"{prefix}forum_agent_inbox", f"{prefix}forum_unread_answers"
    deliver = f"UPDATE {unread} SET delivered_at = ? WHERE post_id = ?"
    forget = f"DELETE FROM {unread} WHERE post_id = ?"
    fewer = f"UPDATE {table} SET unread_count = unread_count - 1 {_KEY}"
    delivered = f"UPDATE {table} SET delivered_sequence = ?, delivered_at = ? {_KEY} AND last_answer_post_id = ?"
    read = f"UPDATE {table} SET read_sequence = ?, read_at = ? {_KEY} AND last_answer_post_id = ?"

    def receipt(db: Db, thread: Thread, event: Event, fact: PostDelivered | PostRead) -> None:
        at, key = event.envelope.occurred_at, _key(thread)
        if isinstance(fact, PostDelivered):
            db.run(deliver, (at, fact.post_id))
            db.run(delivered, (event.sequence, at, *key, fact.post_id))
            return
        db.run(forget, (fact.post_id,))
        if db.changes():
            db.run(fewer, key)
        db.run(read, (event.sequence, at, *key, fact.post_id))

    return receipt


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


SPEC = ProjectionSpec(
    name="agent_inbox",
    version=2,
    tables=("forum_agent_inbox", "forum_unread_answers"),
    schema=schema,
    build=build,
)


def inbox(db: Db, agent_name: str, run_id: str | None, limit: int, cursor: str | None) -> dict[str, Any]:
    """`{answers: [...], unread_count, next_cursor?}`: the answers that an agent has not read, the oldest first.

    `unread_count` counts all of them, up to MOST_COUNTED. A page ends short where its texts are large. Raises Malformed
    for a bad cursor.
    """
    question = cursors.fingerprint("inbox", agent_name, run_id)
    after = cursors.decode(cursor, question, (int,))[0] if cursor else 0
    scope, values = _SCOPE[run_id is not None], {"agent": agent_name, "run_id": run_id}
    page = db.execute(_PAGE.format(scope=scope), values | {"after": after, "limit": limit})
    answers = [_answer(row) for row in portion(page, _size, PAGE_BYTES)]
    told: dict[str, Any] = {"answers": answers, "unread_count": unread_count(db, agent_name, run_id)}
    end = answers[-1]["sequence"] if answers else after
    more = any(db.execute(_MORE.format(scope=scope), values | {"after": end}))
    return told | ({"next_cursor": cursors.encode(question, (end,))} if more else {})


def unread_count(db: Db, agent_name: str, run_id: str | None) -> int:
    """How many answers an agent has not read, in a run or in all, up to MOST_COUNTED."""
    scope, values = _SCOPE[run_id is not None], {"agent": agent_name, "run_id": run_id, "most": MOST_COUNTED}
    return int(next(iter(db.execute(_COUNT.format(scope=scope), values)))[0])


def _size(row: Row) -> int:
    return sum(len(to_json(row[place]).encode()) for place in _TEXTS) + _HEAD_SIZE


def _answer(row: Row) -> dict[str, Any]:
    told = dict(zip(_NAMES, row, strict=True))
    return {name: value for name, value in told.items() if value or name not in _OPTIONAL}
