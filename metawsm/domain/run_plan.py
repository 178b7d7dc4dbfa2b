"""Plans: the steps that an action on a run takes, in order. Pure; what is there outside, only the jobs find out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from attrs import frozen

from metawsm.domain.errors import InvalidFields
from metawsm.domain.ids import RUN
from metawsm.domain.names import slug
from metawsm.domain.operator import OperatorLimits
from metawsm.domain.run import FIND_REPOSITORIES, SEED_DOCS, START_SESSION, Run, RunAgent
from metawsm.domain.run_events import Brief, PlannedAgent, PlannedStep, RunCreated, Workspace

CREATE_WORKSPACE, PREPARE_DOCS = "create_workspace", "prepare_docs"
STOP_SESSION, WRITE_FEEDBACK, REMOVE_WORKSPACE = "stop_session", "write_feedback", "remove_workspace"
CHECK_GATES, CLOSE_DOCS, MERGE_BRANCH = "check_gates", "close_docs", "merge_branch"
MAKING = (FIND_REPOSITORIES, CREATE_WORKSPACE, SEED_DOCS, PREPARE_DOCS, WRITE_FEEDBACK)
"""Kinds of steps that have to be done before an agent begins."""
OF_SOURCE = "of source"
"""In the arguments of `create_workspace`: the run's base is the branch of the workspace that is forked."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_OURS = re.compile(rf"{RUN}-[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{4}}([0-9a-f]{{8}})")
_SHORT = re.compile(rf"{RUN}-([a-z0-9]{{1,8}})")
_NAME_LIMIT = 64
_SESSION_LIMIT = 200


@frozen
class Settings:
    """What the policy says about runs. `agents` are pairs of name and profile; `workspace_root` is absolute."""

    workspace_root: str
    strategy: str
    branch_prefix: str
    base: str
    session_pattern: str
    agents: tuple[tuple[str, str], ...]
    seeded: bool = False
    operator: OperatorLimits = OperatorLimits()


@frozen
class Wish:
    """A run as it is asked for; what is None or empty follows from the settings. `agents` are names of the policy's.

    `source` is the workspace that is forked (strategy fork) or worked in (reuse).
    """

    mode: str
    tickets: tuple[str, ...]
    repos: tuple[str, ...]
    doc_home_repo: str | None = None
    base: str | None = None
    strategy: str | None = None
    source: str | None = None
    agents: tuple[str, ...] = ()
    brief: Brief | None = None


def plan_run(run_id: str, wish: Wish, settings: Settings) -> RunCreated:
    """The run with all its names and the steps that bring it to life.

    Raises InvalidFields where the settings leave it without an agent, or without the workspace that its strategy needs.
    """
    strategy = wish.strategy or settings.strategy
    _check(wish, settings, strategy)
    workspaces = _workspaces(run_id, wish, settings, strategy)
    doc_home = wish.doc_home_repo or wish.repos[0]
    agents = _agents(wish, settings, workspaces)
    steps = [
        PlannedStep("start", FIND_REPOSITORIES, f"find {', '.join(wish.repos)}", {"repos": list(wish.repos)}),
        *_made(workspaces, strategy, wish),
        *(step for w in workspaces for step in _docs("start", w, doc_home, settings.seeded)),
        *(start_session("start", agent.name) for agent in agents),
    ]
    return RunCreated(
        mode=wish.mode,
        tickets=wish.tickets,
        repos=wish.repos,
        doc_home_repo=doc_home,
        base=_base(wish, settings, strategy),
        strategy=strategy,
        workspaces=workspaces,
        agents=agents,
        steps=tuple(steps),
        brief=wish.brief,
        seeded=settings.seeded,
    )


def _check(wish: Wish, settings: Settings, strategy: str) -> None:
    faults: dict[str, list[str]] = {}
    if strategy != "create" and wish.source is None:
        faults["source"] = [f"is required for the strategy {strategy}, which the policy names"]
    if not settings.agents:
        faults["agents"] = ["the policy names none: add one to its `agents`"]
    if faults:
        raise InvalidFields(f"faulty field(s): {', '.join(faults)}", fields=faults)


def token_of(run_id: str) -> str:
    """At most 8 letters and digits that tell the run's workspaces from those of other runs of its tickets."""
    if found := _OURS.fullmatch(run_id) or _SHORT.fullmatch(run_id):
        return found[1]
    return hashlib.sha256(run_id.encode()).hexdigest()[:8]


def _base(wish: Wish, settings: Settings, strategy: str) -> str:
    """A local branch: it is merged into. Of a fork its source's, by the names we give until its making tells."""
    if strategy == "fork" and wish.source and wish.base is None:
        return f"{settings.branch_prefix}/{wish.source}"
    return (wish.base or settings.base).removeprefix("origin/")  # work starts from both


def _workspaces(run_id: str, wish: Wish, settings: Settings, strategy: str) -> tuple[Workspace, ...]:
    token = token_of(run_id)
    names = _distinct(f"{slug(ticket)[: _NAME_LIMIT - 12]}-{token}" for ticket in wish.tickets)
    if strategy == "reuse" and wish.source:
        names = [wish.source] * len(wish.tickets)
    return tuple(
        Workspace(name, ticket, f"{settings.branch_prefix}/{name}", f"{settings.workspace_root}/{name}")
        for name, ticket in zip(names, wish.tickets, strict=True)
    )


def _agents(wish: Wish, settings: Settings, workspaces: Sequence[Workspace]) -> tuple[PlannedAgent, ...]:
    """Each agent once per workspace. Its name is its identity in the run, so with several tickets it names its own."""
    wanted = [pair for pair in settings.agents if not wish.agents or pair[0] in wish.agents]
    places = [(name, profile, w) for w in workspaces for name, profile in wanted]
    several = len(workspaces) > 1
    names = _distinct((f"{n}-{slug(w.ticket)}" if several else n)[:_NAME_LIMIT] for n, _, w in places)
    pattern = settings.session_pattern
    named = (session_name(pattern, name, w.name) for name, (_, _, w) in zip(names, places, strict=True))
    sessions = _distinct(named, _SESSION_LIMIT)
    return tuple(
        PlannedAgent(name, profile, w.ticket, w.name, session)
        for name, session, (_, profile, w) in zip(names, sessions, places, strict=True)
    )


def session_name(pattern: str, agent: str, workspace: str) -> str:
    """The tmux session of an agent: letters, digits, '_' and '-' only, since '.' and ':' mean something to tmux."""
    named = pattern.replace("{agent}", agent).replace("{workspace}", workspace)
    return _UNSAFE.sub("-", named).strip("-") or "agent"


def _distinct(names: Iterable[str], limit: int = _NAME_LIMIT) -> list[str]:
    """The names in order; one that was there before gets a number."""
    found: list[str] = []
    for name in names:
        candidate, number = name, 2
        while candidate in found:
            candidate, number = f"{name[: limit - 4]}-{number}", number + 1
        found.append(candidate)
    return found


def _made(workspaces: Sequence[Workspace], strategy: str, wish: Wish) -> list[PlannedStep]:
    how: dict[str, Any] = {"strategy": strategy} | ({"source": wish.source} if wish.source else {})
    if strategy == "fork" and wish.base is None:
        how["base"] = OF_SOURCE
    return [
        PlannedStep("start", CREATE_WORKSPACE, f"{strategy} workspace {name}", {"workspace": name, **how})
        for name in dict.fromkeys(w.name for w in workspaces)
    ]


def _docs(action: str, workspace: Workspace, repo: str, seeded: bool) -> list[PlannedStep]:
    args = {"workspace": workspace.name, "ticket": workspace.ticket, "repo": repo}
    where = f"{workspace.ticket} in {workspace.name}"
    seed = [PlannedStep(action, SEED_DOCS, f"documents of {where} from {repo}", args)] if seeded else []
    return [*seed, PlannedStep(action, PREPARE_DOCS, f"documents of {where}", args)]


def start_session(action: str, agent: str) -> PlannedStep:
    """An agent's session, begun anew if there is one."""
    return PlannedStep(action, START_SESSION, f"session of {agent}", {"agent": agent})


def plan_sessions(run: Run, action: str, agents: Sequence[RunAgent]) -> tuple[PlannedStep, ...]:
    """Sessions begun anew, after what is not made, or not any more, of the workspaces they are in."""
    return (*plan_making(run, action, agents), *(start_session(action, agent.name) for agent in agents))


def plan_making(run: Run, action: str, agents: Sequence[RunAgent]) -> list[PlannedStep]:
    """The steps of earlier plans that have to be done before these agents begin, and are not done."""
    used, made = {None, *(agent.workspace for agent in agents)}, _made_by(run)
    again: list[PlannedStep] = []
    for step in run.steps:
        wanted = PlannedStep(action, step.kind, step.name, step.args)
        needed = step.kind in MAKING and step.args.get("workspace") in used and (step.kind, step.args) not in made
        if needed and wanted not in again:
            again.append(wanted)
    return again


def _made_by(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """What the steps have made, as kind and args.

    Removing a workspace, even in vain, undoes its making; its branch stays, with the documents on it.
    """
    made: list[tuple[str, dict[str, Any]]] = []
    for step in run.steps:
        if step.kind == REMOVE_WORKSPACE and step.state in ("done", "failed"):
            name = step.args["workspace"]
            made = [each for each in made if each[0] != CREATE_WORKSPACE or each[1]["workspace"] != name]
        elif step.state == "done":
            made.append((step.kind, step.args))
    return made


def removed(run: Run) -> set[str]:
    """Names of workspaces whose newest making was followed by their removal."""
    gone: set[str] = set()
    for step in run.steps:
        name = step.args.get("workspace")
        if step.state == "done" and name:
            if step.kind == REMOVE_WORKSPACE:
                gone.add(name)
            elif step.kind == CREATE_WORKSPACE:
                gone.discard(name)
    return gone


def plan_stop(action: str, agents: Sequence[RunAgent]) -> tuple[PlannedStep, ...]:
    """End the sessions."""
    return tuple(PlannedStep(action, STOP_SESSION, f"end {agent.name}", {"agent": agent.name}) for agent in agents)


def plan_feedback(run: Run, feedback: str) -> tuple[PlannedStep, ...]:
    """Put what the operator says where the agents read it."""
    return tuple(
        PlannedStep(
            "iterate",
            WRITE_FEEDBACK,
            f"feedback into {w.name}",
            {"workspace": w.name, "ticket": w.ticket, "repo": run.doc_home_repo, "feedback": feedback},
        )
        for w in run.workspaces
    )


def plan_merge(run: Run) -> tuple[PlannedStep, ...]:
    """Look whether each branch can be merged, then merge each: a conflict in one repository keeps all as they are."""
    gates = PlannedStep("merge", CHECK_GATES, "gates", {})
    return (*plan_making(run, "merge", run.agents), gates, *_merges(run, "merge"))


def _merges(run: Run, action: str) -> Iterator[PlannedStep]:
    """Merge each workspace's branch into the base of each repository."""
    for w in _each_branch(run):
        for repo in run.repos:
            told = f"merge {repo} of {w.name} into {run.base}"
            yield PlannedStep(action, MERGE_BRANCH, told, {"workspace": w.name, "repo": repo})


def plan_close(run: Run, entry: str | None, merge: bool) -> tuple[PlannedStep, ...]:
    """Make anew what was cleaned up, measure the gates, close the ticket's documents on the branch, then merge."""
    told = entry or f"Closed by metawsm run {run.run_id}" + (f", round {run.round}" if run.round > 1 else "")
    gates = PlannedStep("close", CHECK_GATES, "gates", {})
    docs = [
        PlannedStep(
            "close",
            CLOSE_DOCS,
            f"close {w.ticket} in {w.name}",
            {
                "workspace": w.name,
                "ticket": w.ticket,
                "repo": run.doc_home_repo,
                "entry": told,
            },
        )
        for w in run.workspaces
    ]
    merges = _merges(run, "close") if merge else ()
    return (*plan_making(run, "close", run.agents), gates, *docs, *merges)


def plan_cleanup(run: Run, keep_workspaces: bool, force: bool) -> tuple[PlannedStep, ...]:
    """End the sessions and remove the workspaces; branches stay."""
    stops = plan_stop("cleanup", run.agents)
    if keep_workspaces or run.strategy == "reuse":
        return stops
    removals = [
        PlannedStep("cleanup", REMOVE_WORKSPACE, f"remove workspace {w.name}", {"workspace": w.name, "force": force})
        for w in _each_branch(run)
    ]
    return (*stops, *removals)


def _each_branch(run: Run) -> list[Workspace]:
    """The workspaces, one per branch: with strategy reuse several tickets share one."""
    return list({w.branch: w for w in run.workspaces}.values())
