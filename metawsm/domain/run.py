"""The run: what its events make of it."""

from __future__ import annotations

from typing import Any

import attrs
from attrs import frozen

from metawsm.domain.run_events import (
    AgentStateChanged,
    Brief,
    PlannedAgent,
    PlannedStep,
    RunCreated,
    RunFact,
    RunGuidanceChanged,
    RunRoundStarted,
    RunSignalRecorded,
    RunStateChanged,
    RunStepsAdded,
    StepStateChanged,
    Workspace,
)
from metawsm.domain.run_states import ALIVE

BOOTSTRAP = "bootstrap"
"""The mode of a run with a brief."""
FIND_REPOSITORIES, SEED_DOCS, START_SESSION = "find_repositories", "seed_docs", "start_session"


@frozen
class Step:
    """A step of the run's plan; `index` counts from 1 over all actions of the run."""

    index: int
    action: str
    kind: str
    name: str
    args: dict[str, Any]
    state: str = "pending"
    attempts: int = 0
    error: str | None = None
    result: dict[str, Any] | None = None
    started_at: str | None = None
    ended_at: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.state in ("done", "skipped")


@frozen
class RunAgent:
    """An agent of a run. `open_requests`, `completed`, `validation` and `done_criteria` are of the current round.

    `round_sequence` is the event that began its newest round: what it reported before does not count. `restarts` counts
    automatic restarts in a row, `restarted_at` is when the newest was. `folder` is where its newest session keeps how
    its program ended.
    """

    name: str
    profile: str
    ticket: str
    workspace: str
    session: str
    state: str = "pending"
    state_since: str = ""
    reason: str | None = None
    exit_code: int | None = None
    control_thread: str | None = None
    open_requests: int = 0
    completed: bool = False
    validation: str | None = None
    done_criteria: str | None = None
    round_sequence: int = 0
    restarts: int = 0
    restarted_at: str | None = None
    folder: str | None = None

    @property
    def alive(self) -> bool:
        """Whether its session is there and its program has not ended."""
        return self.state in ALIVE

    @property
    def ended_well(self) -> bool:
        """Whether its program ended by itself with exit code 0."""
        return self.state == "stopped" and self.exit_code == 0


@frozen
class Run:
    """A run after its event `last_event_sequence`.

    `repositories` are the main checkouts found for its repos; `action_from` is the first step of the newest action.
    """

    run_id: str
    mode: str
    state: str
    state_since: str
    tickets: tuple[str, ...]
    repos: tuple[str, ...]
    doc_home_repo: str
    base: str
    strategy: str
    created_at: str
    updated_at: str
    last_event_sequence: int
    round: int = 1
    reason: str | None = None
    seeded: bool = False
    brief: Brief | None = None
    workspaces: tuple[Workspace, ...] = ()
    steps: tuple[Step, ...] = ()
    agents: tuple[RunAgent, ...] = ()
    repositories: dict[str, str] = attrs.field(factory=dict)
    action_from: int = 1
    created_by_type: str = "operator"
    created_by_name: str | None = None

    @property
    def ticket(self) -> str:
        """The first of its tickets: the one its events name."""
        return self.tickets[0]

    @property
    def waits(self) -> bool:
        """Whether any agent waits for guidance."""
        return any(agent.open_requests for agent in self.agents)

    @property
    def failed_step(self) -> Step | None:
        """The first step of the newest action that failed."""
        return next((step for step in self.steps[self.action_from - 1 :] if step.state == "failed"), None)

    @property
    def busy(self) -> Step | None:
        """The step whose job is under way."""
        return next((step for step in self.steps if step.state == "running"), None)

    def agent(self, name: str) -> RunAgent | None:
        """The agent of that name."""
        return next((agent for agent in self.agents if agent.name == name), None)

    def step(self, index: int) -> Step | None:
        """The step of that index."""
        return self.steps[index - 1] if 0 < index <= len(self.steps) else None

    def workspace(self, name: str) -> Workspace:
        """The workspace of that name. Raises LookupError."""
        return next(w for w in self.workspaces if w.name == name)


def session_began(run: Run, agent: str) -> str | None:
    """When the newest session of an agent was begun; None where it never was."""
    sessions = (step for step in run.steps if step.kind == "start_session" and step.args["agent"] == agent)
    return max((step.started_at for step in sessions if step.started_at), default=None)


def is_complete(run: Run, agent: RunAgent) -> bool:
    """Whether an agent has done what its run asks of it in this round."""
    if run.mode == BOOTSTRAP:
        return agent.completed and agent.validation == "passed"
    return agent.completed or agent.ended_well


def created(run_id: str, fact: RunCreated, at: str, by: tuple[str, str | None], sequence: int = 0) -> Run:
    """The run that its first fact makes; `sequence` as for `evolve_run`."""
    return Run(
        run_id=run_id,
        mode=fact.mode,
        state="created",
        state_since=at,
        tickets=fact.tickets,
        repos=fact.repos,
        doc_home_repo=fact.doc_home_repo,
        base=fact.base,
        strategy=fact.strategy,
        created_at=at,
        updated_at=at,
        last_event_sequence=sequence,
        seeded=fact.seeded,
        brief=fact.brief,
        workspaces=fact.workspaces,
        steps=_numbered(fact.steps, 0),
        agents=tuple(_fresh_agent(agent, at) for agent in fact.agents),
        created_by_type=by[0],
        created_by_name=by[1],
    )


def _fresh_agent(agent: PlannedAgent, at: str) -> RunAgent:
    return RunAgent(agent.name, agent.profile, agent.ticket, agent.workspace, agent.session, state_since=at)


def _numbered(planned: tuple[PlannedStep, ...], after: int) -> tuple[Step, ...]:
    return tuple(
        Step(index, step.action, step.kind, step.name, step.args) for index, step in enumerate(planned, after + 1)
    )


def evolve_run(run: Run, fact: RunFact, at: str, sequence: int = 0) -> Run:
    """The run after a fact that happened at a time. Pure; raises ValueError for a second RunCreated.

    `sequence` is the fact's place in the log; 0 while it has none.
    """
    after = attrs.evolve(run, updated_at=at, last_event_sequence=sequence or run.last_event_sequence)
    return attrs.evolve(after, **_changes(after, fact, at))


def _changes(run: Run, fact: RunFact, at: str) -> dict[str, Any]:
    match fact:
        case RunStateChanged():
            return {"state": fact.to_state, "state_since": at, "reason": fact.reason}
        case RunStepsAdded():
            kept = tuple(attrs.evolve(s, state="skipped") if s.state == "pending" else s for s in run.steps)
            # An action answers the old reason, but for an open question.
            reason = run.reason if run.state == "awaiting_guidance" else None
            return {"steps": (*kept, *_numbered(fact.steps, len(kept))), "action_from": len(kept) + 1, "reason": reason}
        case RunRoundStarted():
            sequence = run.last_event_sequence  # its own, since the run is behind it already
            return {"round": fact.round, "agents": tuple(_again(agent, fact, at, sequence) for agent in run.agents)}
        case StepStateChanged():
            return _stepped(run, fact, at)
        case RunGuidanceChanged() | RunSignalRecorded() | AgentStateChanged():
            return {"agents": tuple(_agent(a, fact, at) if a.name == fact.agent else a for a in run.agents)}
    raise ValueError(f"no rule for {type(fact).__name__}")


def _again(agent: RunAgent, fact: RunRoundStarted, at: str, sequence: int) -> RunAgent:
    if agent.name not in fact.agents:
        return agent
    anew = attrs.evolve(agent, completed=False, validation=None, done_criteria=None, exit_code=None)
    restarted_at = at if fact.restarts else agent.restarted_at
    return attrs.evolve(anew, round_sequence=sequence, restarts=fact.restarts, restarted_at=restarted_at)


def _stepped(run: Run, fact: StepStateChanged, at: str) -> dict[str, Any]:
    begun, ended = fact.to_state == "running", fact.to_state in ("done", "failed", "skipped")
    was = run.steps[fact.step - 1]
    step = attrs.evolve(
        was,
        state=fact.to_state,
        attempts=fact.attempts,
        error=fact.error,
        result=fact.result,
        started_at=at if begun else was.started_at,
        ended_at=at if ended else None,
    )
    steps = (*run.steps[: fact.step - 1], step, *run.steps[fact.step :])
    return {"steps": steps, **_found(run, step)}


def _found(run: Run, step: Step) -> dict[str, Any]:
    """What the result of a step tells about the run itself."""
    if step.state != "done" or not step.result:
        return {}
    if step.kind == FIND_REPOSITORIES:
        return {"repositories": dict(step.result["repositories"])}
    if step.kind == START_SESSION:
        begun = (
            attrs.evolve(a, folder=step.result["folder"]) if a.name == step.args["agent"] else a for a in run.agents
        )
        return {"agents": tuple(begun)}
    if path := step.result.get("workspace_path"):
        place = {"path": path, "branch": step.result["branch"]}  # a workspace that is used again keeps its own
        moved = (attrs.evolve(w, **place) if w.name == step.args["workspace"] else w for w in run.workspaces)
        return {"workspaces": tuple(moved), "base": step.result.get("base", run.base)}
    return {}


def _agent(agent: RunAgent, fact: RunGuidanceChanged | RunSignalRecorded | AgentStateChanged, at: str) -> RunAgent:
    match fact:
        case RunGuidanceChanged():
            return attrs.evolve(agent, open_requests=fact.open_requests, control_thread=fact.thread_id)
        case RunSignalRecorded(control_type="completion"):
            return attrs.evolve(agent, completed=True)
        case RunSignalRecorded():
            return attrs.evolve(agent, validation=fact.status, done_criteria=fact.done_criteria)
        case AgentStateChanged():
            return attrs.evolve(
                agent, state=fact.to_state, state_since=at, reason=fact.reason, exit_code=fact.exit_code
            )
