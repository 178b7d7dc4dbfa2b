"""An answer to an agent at work is brought to it, unless it reads the answer by itself."""

from __future__ import annotations

from metawsm.bus.jobs import NewJob
from metawsm.bus.reactions import Reaction, SubscriberSpec
from metawsm.domain.events import ControlSignal, PostAdded
from metawsm.domain.ids import post_id
from metawsm.domain.states import RESPONDERS

LISTEN_SECONDS = 3.0  # an agent that waits for its answer has read it by then


def react(reaction: Reaction) -> None:
    """Have the answer brought to the pane of the agent that asked."""
    event = reaction.event
    head = event.envelope
    if not (head.run_id and head.agent_name and head.actor_type in RESPONDERS and _is_answer(event.fact)):
        return
    run = reaction.run(head.run_id)
    agent = run.agent(head.agent_name) if run else None
    if agent is None or not agent.alive:
        return
    payload = {
        "run_id": head.run_id,
        "agent": agent.name,
        "thread_id": head.thread_id,
        "post_id": post_id(head.event_id),
    }
    lane = f"pane:{head.run_id}:{agent.name}"
    reaction.add_job(NewJob("deliver_answer", f"deliver:{head.event_id}", lane, payload, head.run_id, LISTEN_SECONDS))


def _is_answer(fact: object) -> bool:
    match fact:
        case PostAdded(kind="answer"):
            return True
        case ControlSignal(signal=signal):
            return signal.get("control_type") == "guidance_answer"
    return False


SPEC = SubscriberSpec(name="deliver_answers", types=frozenset({PostAdded.TYPE, ControlSignal.TYPE}), react=react)
