"""CleanupRun: the sessions and workspaces of a run go; its branches and its history stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_run
from metawsm.bus.run_answers import check_manager, run_answer
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Work
from metawsm.domain import run_actions
from metawsm.domain.errors import IllegalTransition
from metawsm.domain.run import Run
from metawsm.domain.run_events import PlannedStep
from metawsm.domain.run_plan import REMOVE_WORKSPACE, plan_cleanup
from metawsm.domain.values import value_class


@value_class
class CleanupRun:
    """Remove what a run has made."""

    run_id: str = fields.in_path("the run")
    keep_workspaces: bool = fields.flag("end the sessions only")
    force: bool = fields.flag("remove workspaces even with work that is nowhere else")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: CleanupRun) -> Mapping[str, Any]:
    """End the sessions, remove the workspaces."""
    check_manager(work)
    run = work.run(message.run_id)
    _check_others(work, run, plan_cleanup(run, message.keep_workspaces, message.force))
    return run_answer(
        work, run, run_actions.cleanup(run, message.keep_workspaces, message.force, work.now), message.dry_run
    )


def _check_others(work: Work, run: Run, steps: Sequence[PlannedStep]) -> None:
    """Raise IllegalTransition where a workspace would be removed in which another run works (strategy reuse)."""
    for name in (step.args["workspace"] for step in steps if step.kind == REMOVE_WORKSPACE):
        other = work.other_run_in(run.run_id, name)
        if other is not None:
            raise IllegalTransition(
                f"run {other} works in workspace {name}, so it cannot be removed with run {run.run_id}:"
                " stop or close that one first, or end only the sessions (cleanup --keep-workspaces)"
            )


SPEC = CommandSpec(
    name="cleanup_run",
    message=CleanupRun,
    summary="Remove the sessions and workspaces of a run; branches stay (human or operator)",
    path="/runs/{run_id}/cleanup",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
