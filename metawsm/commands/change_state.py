"""ChangeState: a thread moves by the table of legal transitions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.names import NOTE_LIMIT
from metawsm.domain.states import STATES
from metawsm.domain.values import value_class


@value_class
class ChangeState:
    """Move a thread to another state."""

    thread_id: str = fields.in_path("the thread")
    to_state: str = fields.choice("the state to move to", STATES, required=True)
    reason: str | None = fields.text("why", max_bytes=NOTE_LIMIT)


def handle(work: Work, message: ChangeState) -> Mapping[str, Any]:
    """Move the thread if the table allows it; to the same state it is a no-op."""
    thread = work.thread(message.thread_id)
    facts = actions.change_state(thread, work.actor, message.to_state, message.reason)
    return {"thread": work.view(work.record(thread, facts))}


SPEC = CommandSpec(
    name="change_state",
    message=ChangeState,
    summary="Move a thread to another state",
    path="/forum/threads/{thread_id}/state",
    key=existing_thread,
    handle=handle,
    verb=Verb(
        "state",
        "Move a thread to another state.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--state", "to_state", required=True),
            Flag("--reason", "reason"),
        ),
        actor="operator",
        example="state fthr-... --state waiting_human",
    ),
)
