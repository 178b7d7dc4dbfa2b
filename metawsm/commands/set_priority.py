"""SetPriority: a thread becomes more or less pressing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.states import PRIORITIES
from metawsm.domain.values import value_class


@value_class
class SetPriority:
    """Change a thread's priority."""

    thread_id: str = fields.in_path("the thread")
    priority: str = fields.choice("how pressing it is", PRIORITIES, required=True)


def handle(work: Work, message: SetPriority) -> Mapping[str, Any]:
    """Set the priority; the same priority is a no-op."""
    thread = work.thread(message.thread_id)
    return {"thread": work.view(work.record(thread, actions.set_priority(thread, message.priority)))}


SPEC = CommandSpec(
    name="set_priority",
    message=SetPriority,
    summary="Change a thread's priority",
    path="/forum/threads/{thread_id}/priority",
    key=existing_thread,
    handle=handle,
    verb=Verb(
        "priority",
        "Change a thread's priority.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--priority", "priority", required=True),
        ),
        actor="operator",
        example="priority fthr-... --priority urgent",
    ),
)
