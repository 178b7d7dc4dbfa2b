"""AnswerThread: a human or operator answers, post and state in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_thread
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain import actions
from metawsm.domain.values import value_class


@value_class
class AnswerThread:
    """Answer a thread."""

    thread_id: str = fields.in_path("the thread")
    body: str = fields.text("the answer, Markdown", required=True)
    answers: str | None = fields.text(
        "on a control thread: the post id of the guidance request; default: the oldest open one", max_chars=128
    )


def handle(work: Work, message: AnswerThread) -> Mapping[str, Any]:
    """Add the answer and set the thread to `answered`."""
    thread = work.thread(message.thread_id)
    facts = actions.answer(thread, work.actor, message.body, message.answers)
    return {"thread": work.view(work.record(thread, facts))}


SPEC = CommandSpec(
    name="answer_thread",
    message=AnswerThread,
    summary="Answer a thread (human or operator): the post and the state in one transaction",
    path="/forum/threads/{thread_id}/answer",
    key=existing_thread,
    handle=handle,
    verb=Verb(
        "answer",
        "Answer a thread, as a human or operator.",
        (
            Flag("--thread-id", "thread_id", required=True),
            Flag("--body", "body", required=True, stdin=True),
            Flag("--answers", "answers"),
        ),
        actor="operator",
        example='answer fthr-... --body "Use v2"',
    ),
)
