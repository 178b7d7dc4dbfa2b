"""`forum_events`, the log of facts, and `forum_outbox`'s event rows, written together."""

from __future__ import annotations

from attrs import field, frozen

from metawsm.bus.fresh import FreshEvents
from metawsm.bus.ports import Db
from metawsm.bus.work import Queued
from metawsm.domain.envelope import Envelope
from metawsm.domain.events import (
    Assigned,
    ControlSignal,
    Event,
    Fact,
    PostAdded,
    PostDelivered,
    PostRead,
    StateChanged,
    ThreadClosed,
    ThreadOpened,
)
from metawsm.domain.ids import post_id
from metawsm.messages.codec import payload_of, wire_event
from metawsm.messages.json_text import to_json
from metawsm.messages.topics import Topics
from metawsm.storage import receipts

_INSERT_EVENT = """
INSERT INTO forum_events (event_id, event_type, event_version, occurred_at, thread_id, run_id, ticket, agent_name,
    actor_type, actor_name, actor_known_by, correlation_id, causation_id, payload_json)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_ROW = """
INSERT INTO forum_outbox (message_id, kind, topic, message_key, payload_json, sequence, created_at, updated_at)
VALUES (?, 'event', ?, ?, ?, ?, ?, ?)
"""
_INSERT_POST = """
INSERT INTO forum_posts (post_id, thread_id, sequence, kind, body, signal_json, actor_type, actor_name, created_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_TRANSITION = """
INSERT INTO forum_state_transitions (
    sequence, thread_id, from_state, to_state, reason, actor_type, actor_name, occurred_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_INSERT_ASSIGNMENT = """
INSERT INTO forum_assignments (
    sequence, thread_id, assignee_type, assignee_name, note, actor_type, actor_name, assigned_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


@frozen
class EventLog:
    """Appends events; the topics tell where each is published. `fresh` spares the read models decoding the newest."""

    topics: Topics
    fresh: FreshEvents = field(factory=FreshEvents)

    def append(self, db: Db, head: Envelope, fact: Fact) -> tuple[Event, Queued]:
        """Write an event into the log and into the outbox; the sequence is the log's next one."""
        payload_json = to_json(payload_of(fact))
        db.run(
            _INSERT_EVENT,
            (head.event_id, head.event_type, head.event_version, head.occurred_at, head.thread_id, head.run_id,
             head.ticket, head.agent_name, head.actor_type, head.actor_name, head.actor_known_by, head.correlation_id,
             head.causation_id, payload_json),
        )  # fmt: skip
        sequence = db.last_insert_rowid()
        text = wire_event(sequence, head, payload_json)
        topic = self.topics.event(head.event_type)
        key = head.thread_id or head.run_id or ""
        db.run(_INSERT_ROW, (head.event_id, topic, key, text, sequence, head.occurred_at, head.occurred_at))
        row_id = db.last_insert_rowid()
        event = Event(sequence, head, fact)
        self.fresh.keep(event, payload_json)
        queued = Queued(
            row_id, "event", head.event_id, topic, key, text, head.event_type, head.correlation_id, sequence, event
        )
        return event, queued


def save_trace(db: Db, event: Event) -> None:
    """Write the row about an event that people read by hand: a post, a transition, an assignment, a receipt."""
    head, fact = event.envelope, event.fact
    thread_id = head.thread_id or ""
    match fact:
        case ThreadOpened():
            _save_post(db, event, post_id(head.event_id), "post", fact.body, None)
            _save_transition(db, event, None, "new", None)
        case PostAdded():
            _save_post(db, event, fact.post_id, fact.kind, fact.body, None)
        case ControlSignal():
            _save_post(db, event, fact.post_id, "signal", signal_text(fact), to_json(fact.signal))
        case StateChanged():
            _save_transition(db, event, fact.from_state, fact.to_state, fact.reason)
        case ThreadClosed():
            _save_transition(db, event, fact.from_state, "closed", fact.reason)
        case Assigned():
            assignee = (fact.to_assignee_type or None, fact.to_assignee_name or None)
            who = (head.actor_type, head.actor_name, head.occurred_at)
            db.run(_INSERT_ASSIGNMENT, (event.sequence, thread_id, *assignee, fact.note, *who))
        case PostDelivered() | PostRead():
            receipts.save(db, fact, head.occurred_at)


def signal_text(fact: ControlSignal) -> str:
    """What a control signal says to a reader: its question, answer, summary or verdict."""
    signal = fact.signal
    if signal["control_type"] == "validation":
        return f"{signal['status']}: {signal['done_criteria']}"
    told = (signal.get(name) for name in ("question", "answer", "summary"))
    return next((text for text in told if text), str(signal["control_type"]))


def _save_post(db: Db, event: Event, post: str, kind: str, body: str, signal_json: str | None) -> None:
    head = event.envelope
    what = (post, head.thread_id, event.sequence, kind, body, signal_json)
    db.run(_INSERT_POST, (*what, head.actor_type, head.actor_name, head.occurred_at))


def _save_transition(db: Db, event: Event, from_state: str | None, to_state: str, reason: str | None) -> None:
    head = event.envelope
    what = (event.sequence, head.thread_id, from_state, to_state, reason)
    db.run(_INSERT_TRANSITION, (*what, head.actor_type, head.actor_name, head.occurred_at))
