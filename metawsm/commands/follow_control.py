"""FollowControl: the control thread of an agent has changed, and its run follows. Only a reaction sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from metawsm.bus import fields
from metawsm.bus.intake import existing_run
from metawsm.bus.run_answers import run_answer
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Work
from metawsm.domain import run_actions


@frozen
class FollowControl:
    """Let a run follow the control thread of an agent."""

    run_id: str = fields.name("the run", required=True)
    agent_name: str = fields.name("the agent", required=True)
    thread_id: str = fields.text("its control thread", required=True)
    signal: dict[str, Any] | None = fields.json_object("the signal that was sent, if it was one")


def handle(work: Work, message: FollowControl) -> Mapping[str, Any]:
    """The run waits while any of its agents has an open request; completion and validation may complete it."""
    run, thread = work.run(message.run_id), work.find(message.thread_id)
    waits = thread is not None and thread.state != "closed"
    requests = len(thread.open_requests or ()) if thread is not None and waits else 0
    facts = run_actions.control_changed(
        run, message.agent_name, message.thread_id, requests, message.signal or {}, work.now
    )
    return run_answer(work, run, facts, dry_run=False)


SPEC = CommandSpec(
    name="follow_control",
    message=FollowControl,
    summary="Let a run follow the control thread of an agent",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
