"""An answer to an agent at work is brought to it, unless it reads the answer by itself.

That of an agent without a session waits for its next one; a line that was typed in vain is typed once more.
"""

from __future__ import annotations

from metawsm.bus.jobs import NewJob
from metawsm.bus.reactions import Reaction, SubscriberSpec
from metawsm.domain.envelope import Envelope
from metawsm.domain.events import ControlSignal, PostAdded, PostDelivered
from metawsm.domain.ids import post_id
from metawsm.domain.run import RunAgent
from metawsm.domain.run_events import AgentStateChanged
from metawsm.domain.run_states import ALIVE
from metawsm.domain.states import RESPONDERS

LISTEN_SECONDS = 3.0  # an agent that waits for its answer has read it by then
REMIND_SECONDS = 60.0  # an agent that was told has read its answer by then


def react(reaction: Reaction) -> None:
    """Have answers brought to the pane of the agent that asked."""
    head = reaction.event.envelope
    run = reaction.run(head.run_id) if head.run_id else None
    agent = run.agent(head.agent_name) if run and head.agent_name else None
    if agent is None or not agent.alive:
        return
    job = _job(reaction, agent)
    if job is not None:
        reaction.add_job(job)


def _job(reaction: Reaction, agent: RunAgent) -> NewJob | None:
    event, head = reaction.event, reaction.event.envelope
    match event.fact:
        case PostDelivered(post_id=post, how="line", reader_type="agent"):
            return _bring(head, head.thread_id, post, REMIND_SECONDS, as_line=True)
        case AgentStateChanged(from_state=before, to_state=now) if now in ALIVE and before not in ALIVE:
            post = _unread(reaction, agent)
            return _bring(head, agent.control_thread, post, LISTEN_SECONDS, as_line=True) if post else None
        case fact if head.actor_type in RESPONDERS and _is_answer(fact):
            return _bring(head, head.thread_id, post_id(head.event_id), LISTEN_SECONDS)
    return None


def _bring(head: Envelope, thread: str | None, post: str, delay: float, *, as_line: bool = False) -> NewJob:
    payload = {"run_id": head.run_id, "agent": head.agent_name, "thread_id": thread, "post_id": post}
    lane = f"pane:{head.run_id}:{head.agent_name}"
    more = {"as_line": True} if as_line else {}
    return NewJob("deliver_answer", f"deliver:{head.event_id}", lane, payload | more, head.run_id, delay)


def _unread(reaction: Reaction, agent: RunAgent) -> str:
    """An answer that came on the agent's control thread while it had no session; one line brings all of them."""
    store, thread = reaction.internal.store, agent.control_thread
    found = store.unread_answers(reaction.db, thread, agent.name, 0, reaction.event.sequence, 1) if thread else []
    return next(iter(found), "")


def _is_answer(fact: object) -> bool:
    match fact:
        case PostAdded(kind="answer"):
            return True
        case ControlSignal(signal=signal):
            return signal.get("control_type") == "guidance_answer"
    return False


SPEC = SubscriberSpec(
    name="deliver_answers",
    types=frozenset({PostAdded.TYPE, ControlSignal.TYPE, PostDelivered.TYPE, AgentStateChanged.TYPE}),
    react=react,
)
