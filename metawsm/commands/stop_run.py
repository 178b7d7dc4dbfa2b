"""StopRun: the sessions of a run end; its workspaces stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_run
from metawsm.bus.run_answers import check_manager, run_answer
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Work
from metawsm.domain import run_actions
from metawsm.domain.values import value_class


@value_class
class StopRun:
    """Stop a run."""

    run_id: str = fields.in_path("the run")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: StopRun) -> Mapping[str, Any]:
    """End the sessions; what has not begun is skipped."""
    check_manager(work)
    run = work.run(message.run_id)
    return run_answer(work, run, run_actions.stop(run, work.now), message.dry_run)


SPEC = CommandSpec(
    name="stop_run",
    message=StopRun,
    summary="Stop a run: its sessions end, its workspaces stay (human or operator)",
    path="/runs/{run_id}/stop",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
