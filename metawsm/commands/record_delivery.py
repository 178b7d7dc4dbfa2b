"""RecordDelivery: an answer came before the agent that waits for it. Only the job that brought it sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec
from metawsm.bus.work import Work
from metawsm.domain.envelope import SYSTEM
from metawsm.domain.errors import NotFound
from metawsm.domain.events import DELIVERIES, PostDelivered
from metawsm.domain.values import value_class


@value_class
class RecordDelivery:
    """Record that an answer came before an agent."""

    thread_id: str = fields.text("the thread", required=True)
    post_id: str = fields.text("the answer", required=True, max_chars=128)
    how: str = fields.choice("how it came", DELIVERIES, required=True)
    reader_name: str = fields.name("the agent", required=True)


def handle(work: Work, message: RecordDelivery) -> Mapping[str, Any]:
    """One event for an answer and an agent; a second delivery is a no-op."""
    thread = work.thread(message.thread_id)
    delivered = work.store.is_delivered(work.db, thread.thread_id, message.post_id, message.reader_name)
    if delivered is None:
        raise NotFound(f"there is no answer {message.post_id} on thread {thread.thread_id}")
    facts = [] if delivered else [PostDelivered(message.post_id, "agent", message.reader_name, message.how)]
    return {"thread": work.view(work.record(thread, facts, by=SYSTEM))}


SPEC = CommandSpec(
    name="record_delivery",
    message=RecordDelivery,
    summary="Record that an answer came before the agent that waits for it",
    key=existing_thread,
    handle=handle,
)
