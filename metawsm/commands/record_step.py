"""RecordStep: the job of a step has ended. Only the job worker sends it."""

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
class RecordStep:
    """Tell how a step ended."""

    run_id: str = fields.name("the run", required=True)
    step: int = fields.integer("the step's index", required=True)
    state: str = fields.choice("how it ended", ("done", "failed"), required=True)
    attempts: int = fields.integer("how often its job was tried", required=True)
    error: str | None = fields.text("why it failed", max_bytes=None)
    result: dict[str, Any] | None = fields.json_object("what it found")


def handle(work: Work, message: RecordStep) -> Mapping[str, Any]:
    """Go on with the next step, or end the action."""
    run = work.run(message.run_id)
    facts = run_actions.step_ended(
        run, message.step, message.state, message.attempts, message.error, message.result, work.now
    )
    work.record_run(run, facts)
    return {}


SPEC = CommandSpec(
    name="record_step",
    message=RecordStep,
    summary="Record how a step of a run ended",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
