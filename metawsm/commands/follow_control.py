"""FollowControl: the control thread of an agent has changed, and its run follows. Only a reaction sends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_run
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Work
from metawsm.domain import run_actions
from metawsm.domain.values import value_class


@value_class
class FollowControl:
    """Let a run follow the control thread of an agent."""

    run_id: str = fields.name("the run", required=True)
    agent_name: str = fields.name("the agent", required=True)
    thread_id: str = fields.text("its control thread", required=True)
    signal: dict[str, Any] | None = fields.json_object("the completion or validation that was sent, if it was one")
    sequence: int = fields.integer("the sequence of the event that is followed", required=True)


def handle(work: Work, message: FollowControl) -> Mapping[str, Any]:
    """The run waits while any of its agents has an open request; completion and validation may complete it."""
    run, thread = work.run(message.run_id), work.find(message.thread_id)
    requests = len(thread.open_requests or ()) if thread is not None and thread.state != "closed" else 0
    facts = run_actions.control_changed(
        run, message.agent_name, message.thread_id, requests, message.signal or {}, message.sequence, work.now
    )
    work.record_run(run, facts)
    return {}


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
