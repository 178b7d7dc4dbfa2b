"""StartRun: agents are to work on tickets; as a bootstrap run, with a brief of what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.bus import fields
from metawsm.bus.intake import Intake
from metawsm.bus.run_answers import check_manager, run_answer
from metawsm.bus.specs import RUN, CommandSpec
from metawsm.bus.work import Work
from metawsm.domain import run_actions
from metawsm.domain.errors import AlreadyExists, InvalidFields
from metawsm.domain.ids import RUN as RUN_ID
from metawsm.domain.names import BODY_LIMIT, branch_fault
from metawsm.domain.run import BOOTSTRAP
from metawsm.domain.run_events import Brief
from metawsm.domain.run_plan import Settings, Wish, plan_run
from metawsm.domain.values import value_class

MODES = ("run", BOOTSTRAP)
STRATEGIES = ("create", "fork", "reuse")
BRIEF = ("goal", "scope", "done_criteria", "constraints")


@value_class
class StartRun:
    """Start a run."""

    mode: str = fields.choice("run, or bootstrap: with a brief, and validated against it", MODES, default="run")
    tickets: tuple[str, ...] = fields.names_list("the tickets; each gets a workspace and its agents", required=True)
    repos: tuple[str, ...] = fields.names_list("names of the repositories in each workspace", required=True)
    doc_home_repo: str | None = fields.name("the repository that holds the tickets' documents; default: the first")
    base: str | None = fields.text(
        "the branch work starts from and is merged into; default: the policy's, or of a fork its source's branch",
        max_chars=200,
    )
    strategy: str | None = fields.choice("how the workspace is made; default: the policy's", STRATEGIES)
    source: str | None = fields.name("the workspace that is forked, or used again")
    agents: tuple[str, ...] = fields.names_list("which of the policy's agents; default: all")
    goal: str | None = fields.text("bootstrap: what is to be reached", max_bytes=BODY_LIMIT)
    scope: str | None = fields.text("bootstrap: what belongs to it and what does not", max_bytes=BODY_LIMIT)
    done_criteria: str | None = fields.text("bootstrap: what must hold at the end", max_bytes=BODY_LIMIT)
    constraints: str | None = fields.text("bootstrap: what must not happen", max_bytes=BODY_LIMIT)
    merge_intent: str | None = fields.text('bootstrap: how the work is to be merged; default: "default"', max_chars=300)
    run_id: str | None = fields.name("the run's id; default: a new one")
    paused: bool = fields.flag("only plan it; `resume` begins")
    dry_run: bool = fields.flag("tell what would be done, and do nothing")


def check(message: StartRun) -> None:
    """Rules between fields."""
    faults: dict[str, list[str]] = {}
    if message.mode == BOOTSTRAP:
        blank = [name for name in BRIEF if not (getattr(message, name) or "").strip()]
        faults |= {name: ["is required for a bootstrap run"] for name in blank}
    if message.doc_home_repo is not None and message.doc_home_repo not in message.repos:
        faults["doc_home_repo"] = ["must be one of repos"]
    if message.strategy in ("fork", "reuse") and message.source is None:
        faults["source"] = [f"is required for the strategy {message.strategy}"]
    if message.base is not None and (fault := branch_fault(message.base)):
        faults["base"] = [fault]
    if faults:
        raise InvalidFields(f"faulty field(s): {', '.join(faults)}", fields=faults)


def key(intake: Intake, message: StartRun) -> str:
    """The run's id, given now unless the sender chose one."""
    return message.run_id or intake.new_id(RUN_ID)


def handle(work: Work, message: StartRun) -> Mapping[str, Any]:
    """Plan the run and begin with its first step."""
    check_manager(work)
    run_id = str(work.command.run_id)
    if work.find_run(run_id) is not None:
        raise AlreadyExists(f"there is a run {run_id} already")
    fact = plan_run(run_id, _wish(message, work.tools.runs), work.tools.runs)
    who = (work.command.actor_type, work.command.actor_name)
    return run_answer(work, None, run_actions.create(run_id, fact, work.now, who, message.paused), message.dry_run)


def _wish(message: StartRun, settings: Settings) -> Wish:
    known = [name for name, _ in settings.agents]
    unknown = [name for name in message.agents if name not in known]
    if unknown:
        raise InvalidFields(
            f"the policy has no agent {', '.join(unknown)}",
            fields={"agents": [f"no agent {name!r}; known are: {', '.join(known)}" for name in unknown]},
        )
    brief = None
    if message.mode == BOOTSTRAP:
        told = {name: str(getattr(message, name)) for name in BRIEF}
        brief = Brief(merge_intent=message.merge_intent or "default", **told)
    return Wish(
        message.mode, message.tickets, message.repos, message.doc_home_repo, message.base, message.strategy,
        message.source, message.agents, brief,
    )  # fmt: skip


SPEC = CommandSpec(
    name="start_run",
    message=StartRun,
    summary="Start a run: workspaces, documents and agents for tickets (human or operator)",
    path="/runs",
    subject=RUN,
    key=key,
    check=check,
    handle=handle,
    status=201,
    answer="run",
    loads=False,
)
