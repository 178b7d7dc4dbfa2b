"""The view of a run as readers get it, and what may be done next."""

from __future__ import annotations

from typing import Any

import attrs

from metawsm.domain.run import Run, RunAgent, Step
from metawsm.domain.run_plan import removed


def run_view(run: Run) -> dict[str, Any]:
    """The JSON object of a run; empty optional values are left out."""
    return _full(
        {
            "run_id": run.run_id,
            "mode": run.mode,
            "state": run.state,
            "state_since": run.state_since,
            "reason": run.reason,
            "round": run.round,
            "tickets": list(run.tickets),
            "repos": list(run.repos),
            "doc_home_repo": run.doc_home_repo,
            "base": run.base,
            "strategy": run.strategy,
            "brief": attrs.asdict(run.brief) if run.brief else None,
            "workspaces": [attrs.asdict(workspace) for workspace in run.workspaces],
            "agents": [_agent(agent) for agent in run.agents],
            "steps": [_step(step) for step in run.steps],
            "created_at": run.created_at,
            "created_by_type": run.created_by_type,
            "created_by_name": run.created_by_name,
            "updated_at": run.updated_at,
            "last_event_sequence": run.last_event_sequence,
            "next": hints(run),
        }
    )


def _agent(agent: RunAgent) -> dict[str, Any]:
    return _full(attrs.asdict(agent))


def _step(step: Step) -> dict[str, Any]:
    shown = attrs.asdict(step)
    del shown["args"]
    return _full(shown)


def _full(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def hints(run: Run) -> list[str]:
    """The commands that lead on from here."""
    at = f"--run-id {run.run_id}"
    answers = [
        f"metawsm.pyz forum signal {at} --ticket {agent.ticket} --agent-name {agent.name}"
        " --type guidance_answer --answer ..."
        for agent in run.agents
        if agent.open_requests
    ]
    cleaned = all(workspace.name in removed(run) for workspace in run.workspaces)
    following = () if run.state == "closed" and cleaned else _NEXT[run.state]
    return [*answers, *(f"metawsm.pyz {text.format(at=at)}" for text in following)]


_NEXT: dict[str, tuple[str, ...]] = {
    "created": ("watch {at}",),
    "planning": ("watch {at}",),
    "running": ("watch {at}", "stop {at}"),
    "awaiting_guidance": (),
    "paused": ("resume {at}", "cleanup {at}"),
    "failed": ("resume {at}", "restart {at}", "cleanup {at}"),
    "stopping": ("watch {at}",),
    "stopped": ("resume {at}", "cleanup {at}"),
    "completed": ("iterate {at} --feedback ...", "merge {at} --dry-run", "merge {at}", "close {at}"),
    "closing": ("watch {at}",),
    "closed": ("cleanup {at}",),
}
