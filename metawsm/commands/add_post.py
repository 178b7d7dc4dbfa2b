"""AddPost: somebody writes on a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.values import value_class

KINDS = ("post", "answer")


@value_class
class AddPost:
    """Write on a thread."""

    thread_id: str = fields.in_path("the thread")
    body: str = fields.text("what you have to say, Markdown", required=True)
    kind: str = fields.choice("`answer` is the same as the answer action", KINDS, default="post")


def handle(work: Work, message: AddPost) -> Mapping[str, Any]:
    """Add the post; a post of kind `answer` answers the thread."""
    thread = work.thread(message.thread_id)
    decide = actions.answer if message.kind == "answer" else actions.post
    return {"thread": work.view(work.record(thread, decide(thread, work.actor, message.body)))}


SPEC = CommandSpec(
    name="add_post",
    message=AddPost,
    summary="Write a post on a thread",
    path="/forum/threads/{thread_id}/posts",
    key=existing_thread,
    handle=handle,
    verb=Verb(
        "post",
        "Write a post on a thread; it answers nothing.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--body", "body", required=True, stdin=True),
        ),
        actor="operator",
        example='post fthr-... --body "Looking into it"',
    ),
)
