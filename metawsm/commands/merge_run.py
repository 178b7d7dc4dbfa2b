"""MergeRun: the branches of a completed run are merged into their base."""

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
class MergeRun:
    """Merge a completed run."""

    run_id: str = fields.in_path("the run")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: MergeRun) -> Mapping[str, Any]:
    """Merge each branch into its base; nothing is pushed."""
    check_manager(work)
    run = work.run(message.run_id)
    return run_answer(work, run, run_actions.merge(run, work.now), message.dry_run)


SPEC = CommandSpec(
    name="merge_run",
    message=MergeRun,
    summary="Merge the branches of a completed run into their base (human or operator)",
    path="/runs/{run_id}/merge",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
