"""What may be done to a run, and the facts that follow. Pure decisions; an empty list is a no-op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from metawsm.domain.errors import IllegalTransition, InvalidFields
from metawsm.domain.run import START_SESSION, Run, RunAgent, Step, created, evolve_run, is_complete
from metawsm.domain.run_events import (
    AgentStateChanged,
    PlannedStep,
    RunCreated,
    RunFact,
    RunGuidanceChanged,
    RunRoundStarted,
    RunSignalRecorded,
    RunStateChanged,
    RunStepsAdded,
    StepStateChanged,
)
from metawsm.domain.run_plan import (
    CHECK_GATES,
    STOP_SESSION,
    plan_cleanup,
    plan_close,
    plan_feedback,
    plan_making,
    plan_merge,
    plan_sessions,
    plan_stop,
    start_session,
)
from metawsm.domain.run_rules import check_close, settle
from metawsm.domain.run_states import AGENTS, OBSERVED, RUNS, STEPS, check_move

_ENDS = {"planning": "running", "stopping": "stopped", "closing": "closed"}
_AT_WORK = ("planning", "running", "awaiting_guidance")


@define
class Changes:
    """Facts in the making, and the run as they leave it: each is judged after those before it."""

    run: Run
    at: str
    facts: list[RunFact] = field(factory=list)

    def add(self, fact: RunFact) -> None:
        """Note a fact."""
        self.facts.append(fact)
        self.run = evolve_run(self.run, fact, self.at)

    def move(self, state: str, reason: str | None = None) -> None:
        """Bring the run into a state; being there already is no fact. Raises IllegalTransition."""
        if state != self.run.state:
            check_move(f"run {self.run.run_id}", RUNS, self.run.state, state)
            self.add(RunStateChanged(self.run.state, state, reason))

    def move_agent(self, agent: str, state: str, reason: str | None = None, exit_code: int | None = None) -> None:
        """Bring an agent into a state where that is legal; being there already is no fact."""
        now = self.run.agent(agent)
        if now is not None and now.state != state and state in AGENTS[now.state]:
            self.add(AgentStateChanged(agent, now.state, state, reason, exit_code))

    def move_step(self, step: Step, state: str, **told: Any) -> None:
        """Bring a step into a state."""
        check_move(f"step {step.index} ({step.name})", STEPS, step.state, state)
        self.add(StepStateChanged(step.index, step.name, step.state, state, **({"attempts": step.attempts} | told)))

    def begin(self, action: str, steps: Sequence[PlannedStep]) -> None:
        """Add the steps of an action and begin with the first."""
        self.add(RunStepsAdded(action, tuple(steps)))
        self.advance()

    def advance(self) -> None:
        """Begin the next step, or, when none is left, end what the run is in the middle of."""
        if self.run.busy is not None:
            return
        following = next((step for step in self.run.steps if step.state == "pending"), None)
        if following is not None:
            self.move_step(following, "running")
            return
        failed = self.run.failed_step
        if self.run.state == "stopping" and failed is not None:
            self.move("failed", f"{failed.name}: {failed.error}")
        elif self.run.state in _ENDS:
            self.move(_ENDS[self.run.state])
        self.settle()

    def settle(self) -> None:
        """Draw the run's state from those of its agents."""
        for state, reason in settle(self.run):
            self.move(state, reason)


def create(run_id: str, fact: RunCreated, at: str, by: tuple[str, str | None], paused: bool) -> list[RunFact]:
    """A new run: its steps begin at once, or, `paused`, when it is resumed."""
    changes = Changes(created(run_id, fact, at, by), at)
    changes.move("planning")
    if paused:
        changes.move("paused", "as asked")
    else:
        changes.advance()
    return [fact, *changes.facts]


def resume(run: Run, at: str) -> list[RunFact]:
    """Go on: what was not made is made, and agents that failed, ended early or died begin anew, in the same round."""
    ended = [agent for agent in run.agents if not agent.alive and not is_complete(run, agent)]
    if run.state in _AT_WORK and (run.busy is not None or not ended):
        return []
    if run.state not in (*_AT_WORK, "paused", "failed", "stopped"):
        raise IllegalTransition(f"run {run.run_id} is {run.state}: there is nothing to resume")
    _check_calm(run, "resumed")
    changes = Changes(run, at)
    if run.state not in _AT_WORK:
        changes.move("planning", "resumed")
    if run.state == "paused":
        changes.advance()
    else:
        for agent in ended:
            changes.move_agent(agent.name, "pending", "resumed")
        changes.begin("resume", plan_sessions(run, "resume", ended))
    return changes.facts


def stop(run: Run, at: str) -> list[RunFact]:
    """End the sessions; what has not begun is skipped."""
    if run.state in ("stopped", "stopping"):
        return []
    changes = Changes(run, at)
    changes.move("stopping", "as asked")
    _end_sessions(changes, "stop", plan_stop("stop", run.agents))
    return changes.facts


def _end_sessions(changes: Changes, action: str, steps: Sequence[PlannedStep]) -> None:
    for agent in changes.run.agents:
        changes.move_agent(agent.name, "stopping", action)
    changes.begin(action, steps)


def restart(run: Run, names: Sequence[str], at: str, restarts: int = 0) -> list[RunFact]:
    """A new round of some agents, or of all: their sessions are begun anew. `restarts`: see RunRoundStarted."""
    agents = _named(run, names)
    _check_calm(run, "restarted")
    changes = Changes(run, at)
    _new_round(changes, "restart", agents, None, restarts)
    changes.begin("restart", plan_sessions(run, "restart", agents))
    return changes.facts


def iterate(run: Run, feedback: str, at: str) -> list[RunFact]:
    """A new round of all agents, after the feedback was put where they read it."""
    _check_calm(run, "iterated")
    changes = Changes(run, at)
    _new_round(changes, "iterate", run.agents, feedback, 0)
    made, starts = plan_making(run, "iterate", run.agents), [start_session("iterate", a.name) for a in run.agents]
    changes.begin("iterate", (*made, *plan_feedback(run, feedback), *starts))
    return changes.facts


def _new_round(changes: Changes, action: str, agents: Sequence[RunAgent], feedback: str | None, restarts: int) -> None:
    if changes.run.state not in ("running", "awaiting_guidance"):
        changes.move("planning", action)
    changes.add(
        RunRoundStarted(changes.run.round + 1, tuple(agent.name for agent in agents), action, feedback, restarts)
    )
    for agent in agents:
        changes.move_agent(agent.name, "pending", action)


def _named(run: Run, names: Sequence[str]) -> Sequence[RunAgent]:
    unknown = [name for name in names if run.agent(name) is None]
    if unknown:
        known = ", ".join(agent.name for agent in run.agents)
        raise InvalidFields(
            f"run {run.run_id} has no agent {', '.join(unknown)}",
            fields={"agents": [f"no agent {name!r}; known are: {known}" for name in unknown]},
        )
    return [agent for agent in run.agents if agent.name in names] if names else run.agents


def _check_calm(run: Run, deed: str) -> None:
    """Raise while a step is under way, or in states that allow no new round."""
    if run.busy is not None:
        raise IllegalTransition(
            f"run {run.run_id} cannot be {deed} while step {run.busy.index} ({run.busy.name}) is under way;"
            " wait for it, or stop the run"
        )
    if run.state not in ("running", "awaiting_guidance") and "planning" not in RUNS[run.state]:
        raise IllegalTransition(f"run {run.run_id} is {run.state} and cannot be {deed}")


def merge(run: Run, at: str) -> list[RunFact]:
    """Merge the branches of a completed run."""
    if run.state != "completed":
        raise IllegalTransition(
            f"run {run.run_id} must be completed before it is merged (now: {run.state});"
            f" what it waits for: metawsm.pyz status --run-id {run.run_id}"
        )
    _check_calm(run, "merged")
    changes = Changes(run, at)
    changes.begin("merge", plan_merge(run))
    return changes.facts


def close(run: Run, entry: str | None, merge_first: bool, at: str) -> list[RunFact]:
    """Close a completed run; once closed, again is a no-op. Raises CloseBlocked naming each gate that is shut."""
    if run.state in ("closed", "closing"):
        return []
    check_close(run)
    _check_calm(run, "closed")
    changes = Changes(run, at)
    changes.move("closing", "as asked")
    changes.begin("close", plan_close(run, entry, merge_first))
    return changes.facts


def cleanup(run: Run, keep_workspaces: bool, force: bool, at: str) -> list[RunFact]:
    """End the sessions and remove the workspaces. A completed or closed run stays so; another one is stopped."""
    changes = Changes(run, at)
    if run.state not in ("completed", "closed", "stopped"):
        changes.move("stopping", "cleanup")
    _end_sessions(changes, "cleanup", plan_cleanup(run, keep_workspaces, force))
    return changes.facts


def step_ended(
    run: Run, index: int, state: str, attempts: int, error: str | None, result: Any, at: str
) -> list[RunFact]:
    """A step's job has ended, `done` or `failed`. A step that is not under way has ended already: a no-op."""
    step = run.step(index)
    if step is None or step.state != "running":
        return []
    changes = Changes(run, at)
    changes.move_step(step, state, attempts=attempts, error=error, result=result)
    if state == "done":
        _follow(changes, step, result or {})
        changes.advance()
    else:
        _fail(changes, step, error or "it failed")
    return changes.facts


def _follow(changes: Changes, step: Step, result: dict[str, Any]) -> None:
    """What a step that is done means for its agent."""
    agent = step.args.get("agent")
    if step.kind == START_SESSION:
        changes.move_agent(str(agent), "running")
    elif step.kind == STOP_SESSION:
        changes.move_agent(str(agent), "stopped", step.action, result.get("exit_code"))


def _fail(changes: Changes, step: Step, error: str) -> None:
    """What cannot be done ends its action; an end that fails does not keep the others from ending.

    A step of an earlier action than the newest one is past: it stops nothing.
    """
    run = changes.run
    if step.kind == START_SESSION:
        changes.move_agent(str(step.args.get("agent")), "failed", error)
    if step.index < run.action_from or step.action in ("stop", "cleanup"):
        changes.advance()
        return
    for left in [each for each in run.steps if each.state == "pending"]:
        changes.move_step(left, "skipped")
    if step.action == "close":
        blocked = "" if step.kind == CHECK_GATES else f"{step.name}: "
        changes.move("completed", f"close blocked: {blocked}{error}")
    elif step.action != "merge":
        changes.move("failed", f"{step.name}: {error}")
    changes.settle()


def agents_seen(run: Run, seen: Sequence[tuple[str, str, str | None, int | None]], at: str) -> list[RunFact]:
    """What was found out about agents at work: name, state, reason, exit code. Only what is news becomes a fact."""
    changes = Changes(run, at)
    for name, state, reason, exit_code in seen:
        agent = run.agent(name)
        if agent is not None and agent.alive and state in OBSERVED:
            changes.move_agent(name, state, reason, exit_code)
    if changes.facts:
        changes.settle()
    return changes.facts


def control_changed(
    run: Run, agent: str, thread_id: str, open_requests: int, report: Mapping[str, Any], reported: int, at: str
) -> list[RunFact]:
    """An agent's control thread has so many open requests now; `report` is a completion or validation, or empty.

    `reported` is the sequence of the report: one of before the agent's round does not count.
    """
    known = run.agent(agent)
    if known is None:
        return []
    changes = Changes(run, at)
    if (known.open_requests, known.control_thread) != (open_requests, thread_id):
        changes.add(RunGuidanceChanged(agent, thread_id, open_requests))
    if report and reported > known.round_sequence:
        told = (report.get("status"), report.get("done_criteria"))
        changes.add(RunSignalRecorded(agent, str(report["control_type"]), *told))
    changes.settle()
    return changes.facts
