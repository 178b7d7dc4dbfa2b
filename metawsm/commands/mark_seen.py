"""MarkSeen: a viewer has seen a thread up to an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain.errors import NotAllowed
from metawsm.domain.states import ACTOR_TYPES
from metawsm.domain.values import value_class


@value_class
class MarkSeen:
    """Remember up to where a viewer has seen a thread."""

    thread_id: str = fields.in_path("the thread")
    viewer_type: str = fields.choice("what the viewer is", ACTOR_TYPES, required=True)
    viewer_id: str = fields.text("who the viewer is", required=True, max_chars=128)
    last_seen_event_sequence: int | None = fields.integer(
        "the newest event seen; default and upper limit: the thread's last; 0 marks it unseen"
    )


def handle(work: Work, message: MarkSeen) -> Mapping[str, Any]:
    """Store the sequence, clamped to the thread's last one."""
    thread = work.thread(message.thread_id)
    if work.actor.type == "agent" and message.viewer_type != "agent":
        raise NotAllowed(f"an agent marks what agents have seen, not what a {message.viewer_type} has")
    asked = message.last_seen_event_sequence
    last = thread.last_event_sequence
    sequence = last if asked is None else min(asked, last)
    work.see((message.viewer_type, message.viewer_id), thread, sequence)
    return {
        "seen": {
            "thread_id": thread.thread_id,
            "viewer_type": message.viewer_type,
            "viewer_id": message.viewer_id,
            "last_seen_event_sequence": sequence,
        }
    }


SPEC = CommandSpec(
    name="mark_seen",
    message=MarkSeen,
    summary="Remember up to where a viewer has seen a thread",
    path="/forum/threads/{thread_id}/seen",
    key=existing_thread,
    handle=handle,
    answer="seen",
    actor_fields=("viewer_type", "viewer_id"),
    verb=Verb(
        "seen",
        "Remember up to where a viewer has seen a thread.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--viewer-type", "viewer_type", default="operator"),
            Flag("--viewer-id", "viewer_id", required=True),
            Flag("--sequence", "last_seen_event_sequence"),
        ),
        actor="operator",
        example="seen fthr-... --viewer-id kb",
    ),
)
