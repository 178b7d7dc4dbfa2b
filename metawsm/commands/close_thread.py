"""CloseThread: a thread is done with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.names import NOTE_LIMIT
from metawsm.domain.values import value_class


@value_class
class CloseThread:
    """Close a thread."""

    thread_id: str = fields.in_path("the thread")
    reason: str | None = fields.text("why", max_bytes=NOTE_LIMIT)


def handle(work: Work, message: CloseThread) -> Mapping[str, Any]:
    """Close the thread; closing twice is a no-op."""
    thread = work.thread(message.thread_id)
    actions.check_may_close(thread, work.actor)
    return {"thread": work.view(work.record(thread, actions.close(thread, message.reason)))}


SPEC = CommandSpec(
    name="close_thread",
    message=CloseThread,
    summary="Close a thread; closing twice is a no-op",
    path="/forum/threads/{thread_id}/close",
    key=existing_thread,
    handle=handle,
    verb=Verb(
        "close",
        "Close a thread.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--reason", "reason"),
        ),
        actor="operator",
        example='close fthr-... --reason "decided"',
    ),
)
