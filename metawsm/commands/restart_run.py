"""RestartRun: agents begin a new round in new sessions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import existing_run
from metawsm.bus.run_answers import check_manager, run_answer
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Work
from metawsm.domain import run_actions
from metawsm.domain.operator import next_restart
from metawsm.domain.values import value_class


@value_class
class RestartRun:
    """Restart agents of a run."""

    run_id: str = fields.in_path("the run")
    agents: tuple[str, ...] = fields.names_list("which agents; default: all")
    automatic: bool = fields.flag("the operator loop asks for it: it counts against the restart budget")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: RestartRun) -> Mapping[str, Any]:
    """Begin a new round of the named agents, or of all."""
    check_manager(work)
    run = work.run(message.run_id)
    restarts = next_restart(run, message.agents, work.tools.runs.operator) if message.automatic else 0
    return run_answer(work, run, run_actions.restart(run, message.agents, work.now, restarts), message.dry_run)


SPEC = CommandSpec(
    name="restart_run",
    message=RestartRun,
    summary="Start agents of a run anew, in a new round (human or operator)",
    path="/runs/{run_id}/restart",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
