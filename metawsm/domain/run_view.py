"""The view of a run as readers get it."""

from __future__ import annotations

from typing import Any

import attrs

from metawsm.domain.run import Run, RunAgent, Step
from metawsm.domain.run_hints import hints


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
