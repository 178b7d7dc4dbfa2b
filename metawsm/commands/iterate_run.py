"""IterateRun: a new round of all agents, with what the operator wants changed."""

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
class IterateRun:
    """Begin a new round with feedback."""

    run_id: str = fields.in_path("the run")
    feedback: str = fields.text("what is to be done otherwise, Markdown", required=True)
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: IterateRun) -> Mapping[str, Any]:
    """Put the feedback where the agents read it, then start them anew."""
    check_manager(work)
    run = work.run(message.run_id)
    return run_answer(work, run, run_actions.iterate(run, message.feedback, work.now), message.dry_run)


SPEC = CommandSpec(
    name="iterate_run",
    message=IterateRun,
    summary="Begin a new round of a run with feedback for its agents (human or operator)",
    path="/runs/{run_id}/iterate",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
