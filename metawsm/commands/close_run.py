"""CloseRun: a completed run is finished: its gates hold, its documents are closed, its branches merged."""

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
class CloseRun:
    """Close a completed run."""

    run_id: str = fields.in_path("the run")
    entry: str | None = fields.text("line for the tickets' changelogs", max_chars=300)
    no_merge: bool = fields.flag("leave the branches unmerged")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def handle(work: Work, message: CloseRun) -> Mapping[str, Any]:
    """Check what the run itself says, then measure the rest, close the documents and merge."""
    check_manager(work)
    run = work.run(message.run_id)
    return run_answer(work, run, run_actions.close(run, message.entry, not message.no_merge, work.now), message.dry_run)


SPEC = CommandSpec(
    name="close_run",
    message=CloseRun,
    summary="Close a completed run whose gates hold (human or operator)",
    path="/runs/{run_id}/close",
    subject=RUN,
    key=existing_run,
    handle=handle,
    answer="run",
    loads=False,
)
