"""A run told as a story: each deed of somebody becomes facts, later than those before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from metawsm.domain import run_actions
from metawsm.domain.run import BOOTSTRAP, FIND_REPOSITORIES, START_SESSION, Run, Step, created, evolve_run
from metawsm.domain.run_events import Brief, RunCreated, RunFact
from metawsm.domain.run_plan import CREATE_WORKSPACE, Settings, Wish, plan_run
from metawsm.domain.view import timestamp
from tests.support.run_settings import SETTINGS

START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
BRIEF = Brief("A report.", "All of it", "It prints totals", "No network")
WISH = Wish("run", ("MET-1",), ("app", "docs"))
BOOTSTRAPPED = Wish(BOOTSTRAP, ("MET-1",), ("app",), brief=BRIEF)
TWO_TICKETS = Wish("run", ("MET-1", "MET-2"), ("app",))
TWO_AGENTS = attrs.evolve(SETTINGS, agents=(("ann", "shell"), ("bob", "codex")))
BY = ("operator", "op")


class RunStory:
    """A run and all its facts. `last` is what the newest deed brought."""

    def __init__(
        self, wish: Wish = WISH, settings: Settings = TWO_AGENTS, paused: bool = False, run_id: str = "run-7"
    ) -> None:
        self.facts: list[RunFact] = []
        self.last: list[RunFact] = []
        self._run: Run | None = None
        self._run_id = run_id
        fact = plan_run(run_id, wish, settings)
        self.tell(run_actions.create(run_id, fact, self.now, BY, paused))

    @property
    def run(self) -> Run:
        """The run now."""
        assert self._run is not None
        return self._run

    @property
    def busy(self) -> str | None:
        """The kind of the step that is under way."""
        return self.run.busy.kind if self.run.busy else None

    @property
    def now(self) -> str:
        """The story's time."""
        return timestamp(START + timedelta(seconds=len(self.facts)))

    def fork(self) -> RunStory:
        """The same story so far, to be told on in another way."""
        other = copy(self)
        other.facts = list(self.facts)
        return other

    def tell(self, facts: Sequence[RunFact]) -> list[RunFact]:
        """Facts of one command."""
        at, self.last = self.now, list(facts)
        for fact in facts:
            self.facts.append(fact)
            sequence = len(self.facts)
            if isinstance(fact, RunCreated):
                self._run = created(self._run_id, fact, at, BY, sequence)
            else:
                self._run = evolve_run(self.run, fact, at, sequence)
        return self.last

    def do(self, action: Callable[..., list[RunFact]], *args: Any, **more: Any) -> list[RunFact]:
        """One of `domain.run_actions` on the run as it is; the time is added."""
        return self.tell(action(self.run, *args, at=self.now, **more))

    def end(self, state: str = "done", error: str | None = None, **result: Any) -> list[RunFact]:
        """The step that is under way ends."""
        step = self.run.busy
        assert step is not None, "no step is under way"
        told = result or (result_of(step, self.run) if state == "done" else None)
        return self.do(run_actions.step_ended, step.index, state, 1, error, told)

    def fail(self, error: str = "no luck") -> list[RunFact]:
        """The step that is under way fails."""
        return self.end("failed", error)

    def until(self, kind: str) -> RunStory:
        """Let steps end well until one of this kind is under way."""
        while self.run.busy is not None and self.run.busy.kind != kind:
            self.end()
        assert self.run.busy is not None, f"no step {kind} came"
        return self

    def rest(self) -> RunStory:
        """Let all steps end well."""
        while self.run.busy is not None:
            self.end()
        return self

    def see(self, agent: str, state: str, reason: str | None = None, exit_code: int | None = None) -> list[RunFact]:
        """Something is found out about an agent."""
        return self.do(run_actions.agents_seen, [(agent, state, reason, exit_code)])

    def control(self, agent: str, requests: int = 0, report: Mapping[str, str] | None = None) -> list[RunFact]:
        """An agent's control thread has changed, just now."""
        thread = f"fctrl-{self._run_id}-{agent}"
        return self.do(run_actions.control_changed, agent, thread, requests, report or {}, len(self.facts) + 1)

    def complete(self, criteria: str = BRIEF.done_criteria) -> RunStory:
        """Every agent reports completion and a passed validation, and has no question left."""
        for agent in self.run.agents:
            self.control(agent.name, 0, {"control_type": "completion"})
            self.control(agent.name, 0, {"control_type": "validation", "status": "passed", "done_criteria": criteria})
        return self


def result_of(step: Step, run: Run) -> dict[str, Any] | None:
    """What a step of this kind finds when it ends well."""
    match step.kind:
        case kind if kind == FIND_REPOSITORIES:
            return {"repositories": {name: f"/src/{name}" for name in step.args["repos"]}}
        case kind if kind == CREATE_WORKSPACE:
            planned = run.workspace(step.args["workspace"])
            return {"workspace_path": planned.path, "branch": planned.branch}
        case kind if kind == START_SESSION:
            return {"folder": f"/state/{run.run_id}/{step.args['agent']}-{step.index}"}
    return None


def in_state(state: str, wish: Wish = WISH, settings: Settings = TWO_AGENTS) -> RunStory:
    """A run that has come into this state by the shortest way."""
    if state == "paused":
        return RunStory(wish, settings, paused=True)
    story = RunStory(wish, settings)
    if state == "planning":
        return story
    if state == "failed":
        story.fail()
        return story
    story.rest()
    if state == "awaiting_guidance":
        story.control(story.run.agents[0].name, 1)
    elif state in ("stopping", "stopped"):
        story.do(run_actions.stop)
    elif state in ("completed", "closing", "closed"):
        story.complete()
    if state in ("closing", "closed"):
        story.do(run_actions.close, None, True)
    if state in ("stopped", "closed"):
        story.rest()
    assert story.run.state == state
    return story
