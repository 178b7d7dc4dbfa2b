"""AssignThread: a thread gets somebody who sees to it, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.names import NOTE_LIMIT
from metawsm.domain.states import OUTSIDE_ACTORS
from metawsm.domain.values import value_class


@value_class
class AssignThread:
    """Assign a thread."""

    thread_id: str = fields.in_path("the thread")
    assignee_type: str = fields.choice("what the assignee is", OUTSIDE_ACTORS, required=True)
    assignee_name: str = fields.text("who; empty = nobody", required=True, blank=True, max_chars=128)
    assignment_note: str | None = fields.text("a word to the assignee", max_bytes=NOTE_LIMIT)


def handle(work: Work, message: AssignThread) -> Mapping[str, Any]:
    """Assign the thread; to the same assignee it is a no-op."""
    thread = work.thread(message.thread_id)
    facts = actions.assign(thread, message.assignee_type, message.assignee_name.strip(), message.assignment_note)
    return {"thread": work.view(work.record(thread, facts))}


SPEC = CommandSpec(
    name="assign_thread",
    message=AssignThread,
    summary="Assign a thread; an empty assignee_name unassigns it",
    path="/forum/threads/{thread_id}/assign",
    key=existing_thread,
    handle=handle,
    verb=Verb(
        "assign",
        "Assign a thread to somebody, or to nobody.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--assignee-type", "assignee_type", default="operator"),
            Flag("--assignee", "assignee_name", required=True),
            Flag("--note", "assignment_note"),
        ),
        actor="operator",
        example="assign fthr-... --assignee kb --assignee-type human",
    ),
)
