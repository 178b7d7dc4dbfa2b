"""ResumeRun: a run that failed, stopped or was only planned goes on."""

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
class ResumeRun:
    """Let a run go on."""

    run_id: str = fields.in_path("the run")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: ResumeRun) -> Mapping[str, Any]:
    """Begin with the step that failed, or start the agents that ended anew."""
    check_manager(work)
    run = work.run(message.run_id)
    return run_answer(work, run, run_actions.resume(run, work.now), message.dry_run)


SPEC = CommandSpec(
    name="resume_run",
    message=ResumeRun,
    summary="Let a paused, failed or stopped run go on (human or operator)",
    path="/runs/{run_id}/resume",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
