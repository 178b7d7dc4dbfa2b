"""The facts about runs, their steps and their agents. Their envelope always names the run, never a thread."""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import frozen


@frozen
class Brief:
    """What a bootstrap run is to do, as it was asked before it began."""

    goal: str
    scope: str
    done_criteria: str
    constraints: str
    merge_intent: str = "default"


@frozen
class Workspace:
    """Where the agents of one ticket work: a folder with a linked worktree of each repository, on one branch."""

    name: str
    ticket: str
    branch: str
    path: str


@frozen
class PlannedAgent:
    """An agent of the run: unique by name in it; one tmux session in one workspace."""

    name: str
    profile: str
    ticket: str
    workspace: str
    session: str


@frozen
class PlannedStep:
    """A step of a plan: the kind of job that does it, what the job needs, and the action it belongs to."""

    action: str
    kind: str
    name: str
    args: dict[str, Any]


@frozen
class RunCreated:
    """A run was asked for. `repos` are names; `base` is the branch work starts from and is merged into."""

    TYPE: ClassVar[str] = "run.created"
    VERSION: ClassVar[int] = 1
    mode: str
    tickets: tuple[str, ...]
    repos: tuple[str, ...]
    doc_home_repo: str
    base: str
    strategy: str
    workspaces: tuple[Workspace, ...]
    agents: tuple[PlannedAgent, ...]
    steps: tuple[PlannedStep, ...]
    brief: Brief | None = None
    seeded: bool = False


@frozen
class RunStateChanged:
    """A run moved to another state."""

    TYPE: ClassVar[str] = "run.state.changed"
    VERSION: ClassVar[int] = 1
    from_state: str
    to_state: str
    reason: str | None = None


@frozen
class RunStepsAdded:
    """An action on the run added steps to its plan; those of earlier actions that have not begun are skipped."""

    TYPE: ClassVar[str] = "run.steps.added"
    VERSION: ClassVar[int] = 1
    action: str
    steps: tuple[PlannedStep, ...]


@frozen
class RunRoundStarted:
    """Agents begin anew: what they had reported as complete or valid no longer counts.

    `restarts` is how many automatic restarts in a row this one makes; 0 when a person asked for it.
    """

    TYPE: ClassVar[str] = "run.round.started"
    VERSION: ClassVar[int] = 1
    round: int
    agents: tuple[str, ...]
    action: str
    feedback: str | None = None
    restarts: int = 0


@frozen
class RunGuidanceChanged:
    """An agent waits for guidance, or waits no more."""

    TYPE: ClassVar[str] = "run.guidance.changed"
    VERSION: ClassVar[int] = 1
    agent: str
    thread_id: str
    open_requests: int


@frozen
class RunSignalRecorded:
    """An agent reported completion or validation in the current round."""

    TYPE: ClassVar[str] = "run.signal.recorded"
    VERSION: ClassVar[int] = 1
    agent: str
    control_type: str
    status: str | None = None
    done_criteria: str | None = None


@frozen
class StepStateChanged:
    """A step moved to another state. `attempts` counts how often its job was tried; `result` is what it found."""

    TYPE: ClassVar[str] = "step.state.changed"
    VERSION: ClassVar[int] = 1
    step: int
    name: str
    from_state: str
    to_state: str
    attempts: int = 0
    error: str | None = None
    result: dict[str, Any] | None = None


@frozen
class AgentStateChanged:
    """An agent moved to another state. `exit_code` is that of its program, where it has ended and is known."""

    TYPE: ClassVar[str] = "agent.state.changed"
    VERSION: ClassVar[int] = 1
    agent: str
    from_state: str
    to_state: str
    reason: str | None = None
    exit_code: int | None = None


RunFact = (
    RunCreated
    | RunStateChanged
    | RunStepsAdded
    | RunRoundStarted
    | RunGuidanceChanged
    | RunSignalRecorded
    | StepStateChanged
    | AgentStateChanged
)
RUN_FACTS: tuple[type[RunFact], ...] = (
    RunCreated,
    RunStateChanged,
    RunStepsAdded,
    RunRoundStarted,
    RunGuidanceChanged,
    RunSignalRecorded,
    StepStateChanged,
    AgentStateChanged,
)
