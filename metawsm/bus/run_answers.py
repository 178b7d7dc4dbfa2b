"""What commands on runs share: who may send them, and how they answer, for real or as a dry run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metawsm.bus.work import Work
from metawsm.domain.errors import NotAllowed
from metawsm.domain.run import Run, created, evolve_run
from metawsm.domain.run_events import RunCreated, RunFact
from metawsm.domain.run_view import run_view
from metawsm.domain.states import RESPONDERS


def check_manager(work: Work) -> None:
    """Runs start programs: only a human or operator commands them. Raises NotAllowed."""
    if work.actor.type not in RESPONDERS:
        raise NotAllowed(f"only a human or an operator commands runs, not actor_type {work.actor.type}")


def run_answer(work: Work, before: Run | None, facts: Sequence[RunFact], dry_run: bool) -> Mapping[str, Any]:
    """`{run}` after the facts; of a dry run `{run, plan}`, the run as it would be and the steps it would take."""
    if not dry_run:
        return {"run": run_view(work.record_run(before, facts))}
    run = _after(work, before, facts)
    under_way = before.busy if before else None
    taken = [step for step in run.steps if step.state in ("pending", "running") and step != under_way] if facts else []
    return {"run": run_view(run), "plan": [{"name": s.name, "kind": s.kind, "args": s.args} for s in taken]}


def _after(work: Work, before: Run | None, facts: Sequence[RunFact]) -> Run:
    run = before
    for fact in facts:
        if isinstance(fact, RunCreated):
            actor = (work.command.actor_type, work.command.actor_name)
            run = created(str(work.command.run_id), fact, work.now, actor)
        elif run is not None:
            run = evolve_run(run, fact, work.now)
    if run is None:
        raise ValueError("there is no run to tell of")
    return run
