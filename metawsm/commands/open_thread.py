"""OpenThread: a question becomes a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import Intake
from metawsm.bus.specs import CommandSpec, Flag, Verb
from metawsm.bus.work import Work
from metawsm.domain.errors import AlreadyExists
from metawsm.domain.events import ThreadOpened
from metawsm.domain.ids import THREAD
from metawsm.domain.names import TITLE_LIMIT
from metawsm.domain.states import PRIORITIES
from metawsm.domain.values import value_class


@value_class
class OpenThread:
    """Ask a question."""

    ticket: str = fields.name("the ticket the question belongs to", required=True)
    title: str = fields.text("one line that says what is asked", required=True, max_chars=TITLE_LIMIT)
    body: str = fields.text("the question itself, Markdown", required=True)
    run_id: str | None = fields.name("the run the asker works in")
    agent_name: str | None = fields.name("the agent that asks")
    priority: str = fields.choice("how pressing it is", PRIORITIES, default="normal")
    thread_id: str | None = fields.new_thread_id("an id of your own for the new thread")
    options: tuple[str, ...] = fields.texts("answers to choose from", max_items=20, max_chars=200)


def key(intake: Intake, message: OpenThread) -> str:
    """The id of the new thread: the client's, or a fresh one."""
    return message.thread_id or intake.new_id(THREAD)


def handle(work: Work, message: OpenThread) -> Mapping[str, Any]:
    """Open the thread unless its id is taken."""
    thread_id = work.command.thread_id
    if work.find(str(thread_id)):
        raise AlreadyExists(f"there is already a thread {thread_id}; leave thread_id out or choose another")
    opened = ThreadOpened(message.title, message.body, message.priority, message.options)
    return {"thread": work.view(work.record(None, [opened]))}


SPEC = CommandSpec(
    name="open_thread",
    message=OpenThread,
    summary="Ask a question: open a thread",
    path="/forum/threads",
    key=key,
    handle=handle,
    status=201,
    loads=False,
    verb=Verb(
        "ask",
        "Ask a question: open a thread.",
        (
            Flag("--ticket", "ticket", required=True),
            Flag("--title", "title", required=True),
            Flag("--body", "body", required=True, stdin=True),
            Flag("--run-id", "run_id"),
            Flag("--agent", "agent_name"),
            Flag("--priority", "priority"),
            Flag("--thread-id", "thread_id"),
            Flag("--option", "options"),
        ),
        actor="agent",
        example='ask --ticket MET-1 --title "Which schema?" --body "v1 or v2?"',
    ),
)
