"""With a run its control threads close: nobody will answer there any more."""

from __future__ import annotations

from metawsm.bus.reactions import Reaction, SubscriberSpec
from metawsm.domain.run_events import RunStateChanged


def react(reaction: Reaction) -> None:
    """Close the control thread of each agent of a run that was closed."""
    fact, run_id = reaction.event.fact, reaction.event.envelope.run_id
    if not isinstance(fact, RunStateChanged) or fact.to_state != "closed" or run_id is None:
        return
    run = reaction.run(run_id)
    for agent in run.agents if run else ():
        if agent.control_thread:
            reason = f"run {run_id} is closed"
            reaction.send("close_thread", {"thread_id": agent.control_thread, "reason": reason}, about=agent.name)


SPEC = SubscriberSpec(name="close_control_threads", types=frozenset({RunStateChanged.TYPE}), react=react)
