"""RecordAgents: what was found out about agents of a run. Only the daemon's own look at them sends it."""

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
class RecordAgents:
    """Tell what agents do."""

    run_id: str = fields.name("the run", required=True)
    seen: dict[str, Any] = fields.json_object(
        "by agent: `state`, `reason`, `exit_code`, and the `state_since` of the agent that was looked at", required=True
    )


def handle(work: Work, message: RecordAgents) -> Mapping[str, Any]:
    """Keep what is news, and draw the run's state from it."""
    run = work.run(message.run_id)
    seen = [
        (name, told["state"], told.get("reason"), told.get("exit_code"))
        for name, told in message.seen.items()
        if _is_current(run.agent(name), told)
    ]
    work.record_run(run, run_actions.agents_seen(run, seen, work.now))
    return {}


def _is_current(agent: Any, told: Mapping[str, Any]) -> bool:
    """Whether the look was at the agent as it is now: one that began anew since then is another."""
    return agent is not None and agent.state_since == told.get("state_since")


SPEC = CommandSpec(
    name="record_agents",
    message=RecordAgents,
    summary="Record what was found out about the agents of a run",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
