"""ReadAnswers: an agent has read the answers on a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.envelope import SYSTEM
from metawsm.domain.values import value_class

MOST = 32  # events of one command: a writer job is short


@value_class
class ReadAnswers:
    """Say that an agent has read the answers on a thread; the agent is the actor."""

    thread_id: str = fields.in_path("the thread")
    up_to_sequence: int | None = fields.integer("the newest answer that was read; default: all")
    from_sequence: int | None = fields.integer("the oldest answer that was read; default: all")


def handle(work: Work, message: ReadAnswers) -> Mapping[str, Any]:
    """One event for each answer that this agent had not read, at most MOST; what was read before is left alone.

    The events are the system's: a receipt makes no thread unseen and breaks nobody's expectation.
    """
    thread = work.thread(message.thread_id)
    agent = actions.reader(work.actor)
    last = thread.last_event_sequence if message.up_to_sequence is None else message.up_to_sequence
    unread = work.unread_answers(thread, agent, message.from_sequence or 0, last, MOST + 1)
    work.record(thread, actions.read(unread[:MOST], agent), by=SYSTEM)
    told = {"thread_id": thread.thread_id, "reader_type": "agent", "reader_name": agent, "post_ids": unread[:MOST]}
    return {"read": told | ({"more": True} if len(unread) > MOST else {})}


SPEC = CommandSpec(
    name="read_answers",
    message=ReadAnswers,
    summary="Say that an agent has read the answers on a thread; twice is a no-op",
    path="/forum/threads/{thread_id}/read",
    key=existing_thread,
    handle=handle,
    answer="read",
    verb=Verb(
        "read",
        "Say that an agent has read the answers on a thread.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--sequence", "up_to_sequence"),
            Flag("--from-sequence", "from_sequence"),
        ),
        actor="agent",
        example="read fthr-... --actor-name bob",
    ),
)
