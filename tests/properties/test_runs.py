"""Whatever is done to a run, however its steps end, whatever its agents do, in whatever order: what must hold of it."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from metawsm.domain import run_actions
from metawsm.domain.errors import Rejected
from metawsm.domain.run import Run, created, evolve_run, is_complete
from metawsm.domain.run_events import AgentStateChanged, RunCreated, RunFact, RunStateChanged, StepStateChanged
from metawsm.domain.run_plan import Wish, removed
from metawsm.domain.run_states import AGENT_STATES, AGENTS, RUNS, STEPS
from metawsm.domain.run_view import run_view
from metawsm.messages.codec import fact_of, payload_of
from metawsm.storage.connection import Connection
from metawsm.storage.run_rows import find_run, save_run
from metawsm.storage.schema import RUNS as TABLES
from tests.support.run_story import BOOTSTRAPPED, BY, TWO_AGENTS, TWO_TICKETS, WISH, RunStory, result_of

RESTING = ("running", "awaiting_guidance", "paused", "failed", "stopped", "completed", "closed")
PASSING = ("planning", "stopping", "closing")
REUSED = Wish("run", ("MET-1", "met.1"), ("app",), strategy="reuse", source="old-place")
WISHES = st.sampled_from([WISH, BOOTSTRAPPED, TWO_TICKETS, REUSED])
REPORTS: list[dict[str, str]] = [
    {}, {"control_type": "completion"}, {"control_type": "validation", "status": "failed", "done_criteria": "some"},
    {"control_type": "validation", "status": "passed", "done_criteria": "It prints totals"},
]  # fmt: skip
WHICH = st.integers(0, 7)


def fold(facts: list[RunFact], run_id: str) -> Run | None:
    """The run that facts make, by `evolve_run` alone, through their written form."""
    run: Run | None = None
    for sequence, fact in enumerate(facts, 1):
        read: Any = fact_of(fact.TYPE, fact.VERSION, payload_of(fact))
        assert read == fact
        if isinstance(read, RunCreated):
            run = created(run_id, read, "at", BY, sequence)
        else:
            assert run is not None
            run = evolve_run(run, read, "at", sequence)
    return run


def timeless(run: Run) -> dict[str, Any]:
    """A run without its times."""
    told = run_view(run)
    parts = [told, *told["agents"], *told["steps"]]
    for part in parts:
        for name in [name for name in part if name.endswith(("_at", "_since"))]:
            del part[name]
    return told


class Runs(RuleBasedStateMachine):
    """A run, people who command it, jobs that end, agents that are looked at and write on their control threads."""

    def __init__(self) -> None:
        super().__init__()
        self.story: RunStory
        self.db = Connection(":memory:")
        self.db.execute(TABLES)

    @initialize(wish=WISHES, paused=st.booleans(), seeded=st.booleans())
    def begin(self, wish: Wish, paused: bool, seeded: bool) -> None:
        """A run is started."""
        self.story = RunStory(wish, attrs.evolve(TWO_AGENTS, seeded=seeded), paused)
        save_run(self.db, None, self.story.run)

    def attempt(self, action: Any, *args: Any) -> None:
        """Do something: it is done whole, or refused with an error that says so."""
        before = self.story.run
        try:
            self.story.do(action, *args)
        except Rejected as error:
            assert str(error)
            assert self.story.run is before
            return
        check_moves(before, self.story)
        if self.story.last:
            save_run(self.db, before, self.story.run)

    @rule(name=st.sampled_from(["resume", "stop", "merge"]))
    def plain(self, name: str) -> None:
        """A command without options."""
        self.attempt(getattr(run_actions, name))

    @rule(which=WHICH, automatic=st.integers(0, 2))
    def restart(self, which: int, automatic: int) -> None:
        """Some agents, all, or one that is not there."""
        names = [agent.name for agent in self.story.run.agents]
        chosen = [[], names[:1], names[-1:], ["nobody"]][which % 4]
        self.attempt(lambda run, at: run_actions.restart(run, chosen, at, automatic))

    @rule(feedback=st.sampled_from(["shorter", "longer"]))
    def iterate(self, feedback: str) -> None:
        """A new round with feedback."""
        self.attempt(run_actions.iterate, feedback)

    @rule(merge=st.booleans())
    def close(self, merge: bool) -> None:
        """Close it."""
        self.attempt(run_actions.close, None, merge)

    @rule(keep=st.booleans(), force=st.booleans())
    def cleanup(self, keep: bool, force: bool) -> None:
        """Remove what it has made."""
        self.attempt(run_actions.cleanup, keep, force)

    @rule(well=st.integers(0, 4))
    def step_ends(self, well: int) -> None:
        """The step under way ends, mostly well."""
        self._end(well > 0)

    @rule()
    def steps_end_well(self) -> None:
        """All that is to be done is done."""
        while self.story.run.busy is not None:
            self._end(True)

    @rule(which=WHICH, state=st.sampled_from(["done", "failed"]))
    def a_step_is_told_again(self, which: int, state: str) -> None:
        """An outcome that is not that of the step under way: late, twice, or of a step that never was."""
        busy = self.story.run.busy
        if busy is None or busy.index != which:
            self.attempt(run_actions.step_ended, which, state, 1, "late", None)
            assert not self.story.last

    @rule(which=WHICH, state=st.sampled_from(AGENT_STATES), code=st.sampled_from([None, 0, 3]))
    def agent_is_seen(self, which: int, state: str, code: int | None) -> None:
        """An agent is looked at."""
        self.attempt(run_actions.agents_seen, [(self._agent(which), state, "seen", code)])

    @rule(which=WHICH, requests=st.integers(0, 2), report=st.sampled_from(REPORTS), late=st.booleans())
    def control_changes(self, which: int, requests: int, report: dict[str, str], late: bool) -> None:
        """Something happens on a control thread, now or long ago."""
        agent, sequence = self._agent(which), 1 if late else len(self.story.facts) + 1
        self.attempt(run_actions.control_changed, agent, f"fctrl-run-7-{agent}", requests, report, sequence)

    @rule()
    def everybody_is_done(self) -> None:
        """All agents report completion and validation."""
        for agent in self.story.run.agents:
            for report in (REPORTS[1], REPORTS[3]):
                sequence = len(self.story.facts) + 1
                self.attempt(run_actions.control_changed, agent.name, "fctrl", 0, report, sequence)

    def _agent(self, which: int) -> str:
        names = ["nobody", *(agent.name for agent in self.story.run.agents)]
        return names[which % len(names)]

    def _end(self, well: bool) -> None:
        step = self.story.run.busy
        if step is not None:
            result, error = (result_of(step, self.story.run), None) if well else (None, "no luck")
            self.attempt(run_actions.step_ended, step.index, "done" if well else "failed", 1, error, result)

    @invariant()
    def it_is_sound(self) -> None:
        """One step at most; what is pending will be begun; what is in passing has a step under way."""
        run = self.story.run
        under_way = [step for step in run.steps if step.state == "running"]
        assert len(under_way) <= 1
        assert all(step.state in ("done", "failed", "skipped", "running") for step in run.steps[: run.action_from - 1])
        if run.state in PASSING:
            assert under_way
        if not under_way and run.state != "paused":
            assert not [step for step in run.steps if step.state == "pending"]
        if run.state == "awaiting_guidance":
            assert run.waits
        if run.state == "running" and not under_way:
            assert not run.waits

    @invariant()
    def its_rows_are_the_run(self) -> None:
        """What was saved is found again the same."""
        assert find_run(self.db, self.story.run.run_id) == self.story.run

    def teardown(self) -> None:
        """Its facts alone make it, and from here it can be ended in every way."""
        if not hasattr(self, "story"):
            return
        folded = fold(self.story.facts, self.story.run.run_id)
        assert folded is not None and timeless(folded) == timeless(self.story.run)
        for outcome in (True, False):
            comes_to_rest(self.story.fork(), outcome)
        can_be_resumed(self.story.fork())
        can_be_cleaned(self.story.fork())
        can_be_closed(self.story.fork())


def check_moves(before: Run, story: RunStory) -> None:
    """Each state changed along the tables, from what it was."""
    run = before
    for fact in story.last:
        match fact:
            case RunStateChanged():
                assert fact.from_state == run.state
                assert fact.to_state in RUNS[fact.from_state]
            case StepStateChanged():
                step = run.step(fact.step)
                assert step is not None and fact.from_state == step.state
                assert fact.to_state in STEPS[fact.from_state]
                assert fact.to_state != "running" or fact.step >= run.action_from
            case AgentStateChanged():
                agent = run.agent(fact.agent)
                assert agent is not None and fact.from_state == agent.state
                assert fact.to_state in AGENTS[fact.from_state]
        run = evolve_run(run, fact, story.now)


def comes_to_rest(story: RunStory, well: bool) -> RunStory:
    """Whatever outcomes the steps get, there are finitely many, and then the run rests."""
    most = len(story.run.steps) + 1
    for _ in range(most):
        if story.run.busy is None:
            break
        story.end() if well else story.fail()
    assert story.run.busy is None
    assert story.run.state in RESTING
    return story


def can_be_resumed(story: RunStory) -> None:
    """A run at rest before its time goes on when it is resumed: each of its agents lives, or is done."""
    comes_to_rest(story, True)
    if story.run.state in ("completed", "closed"):
        return
    story.do(run_actions.resume)
    story.rest()
    assert story.run.state in ("running", "awaiting_guidance", "completed")
    assert all(agent.alive or is_complete(story.run, agent) for agent in story.run.agents)


def can_be_cleaned(story: RunStory) -> None:
    """A run at rest can be cleaned up: no agent lives, no workspace of its own is left."""
    comes_to_rest(story, True)
    story.do(run_actions.cleanup, False, True)
    story.rest()
    assert all(agent.state == "stopped" for agent in story.run.agents)
    if story.run.strategy != "reuse":
        assert removed(story.run) >= {w.name for w in story.run.workspaces if _was_made(story.run, w.name)}


def _was_made(run: Run, name: str) -> bool:
    return any(s.kind == "create_workspace" and s.state == "done" and s.args["workspace"] == name for s in run.steps)


def can_be_closed(story: RunStory) -> None:
    """Whatever has happened, a new round can complete it, and then it closes."""
    comes_to_rest(story, True)
    if story.run.state == "closed":
        return
    story.tell(run_actions.restart(story.run, (), story.now))
    story.rest()
    story.complete()
    assert story.run.state == "completed", story.run
    story.do(run_actions.close, None, True)
    story.rest()
    assert story.run.state == "closed"


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
