"""What may be done to a run, in each of its states, and the facts that follow."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metawsm.domain import run_actions
from metawsm.domain.errors import CloseBlocked, IllegalTransition, InvalidFields, Rejected
from metawsm.domain.run_events import AgentStateChanged, RunRoundStarted, RunStateChanged, RunStepsAdded
from metawsm.domain.run_states import RUN_STATES
from tests.support.run_story import BOOTSTRAPPED, TWO_TICKETS, WISH, RunStory, in_state

COMPLETION = {"control_type": "completion"}
Deed = Callable[[RunStory], object]
DEEDS: dict[str, Deed] = {
    "resume": lambda story: story.do(run_actions.resume),
    "stop": lambda story: story.do(run_actions.stop),
    "restart": lambda story: story.do(run_actions.restart, ()),
    "iterate": lambda story: story.do(run_actions.iterate, "shorter"),
    "merge": lambda story: story.do(run_actions.merge),
    "close": lambda story: story.do(run_actions.close, None, True),
    "cleanup": lambda story: story.do(run_actions.cleanup, False, False),
}
REFUSED, NOTHING = "refused", "nothing"
# For each state and deed: refused, nothing, or the states that the run goes through.
TABLE = {
    "planning": {"resume": NOTHING, "stop": "stopping", "restart": REFUSED, "iterate": REFUSED, "merge": REFUSED,
                 "close": REFUSED, "cleanup": "stopping"},
    "running": {"resume": NOTHING, "stop": "stopping", "restart": "", "iterate": "", "merge": REFUSED,
                "close": REFUSED, "cleanup": "stopping"},
    "awaiting_guidance": {"resume": NOTHING, "stop": "stopping", "restart": "", "iterate": "", "merge": REFUSED,
                          "close": REFUSED, "cleanup": "stopping"},
    "paused": {"resume": "planning", "stop": "stopping", "restart": "planning", "iterate": "planning",
               "merge": REFUSED, "close": REFUSED, "cleanup": "stopping"},
    "failed": {"resume": "planning", "stop": "stopping", "restart": "planning", "iterate": "planning",
               "merge": REFUSED, "close": REFUSED, "cleanup": "stopping"},
    "stopping": {"resume": REFUSED, "stop": NOTHING, "restart": REFUSED, "iterate": REFUSED, "merge": REFUSED,
                 "close": REFUSED, "cleanup": ""},
    "stopped": {"resume": "planning", "stop": NOTHING, "restart": "planning", "iterate": "planning",
                "merge": REFUSED, "close": REFUSED, "cleanup": ""},
    "completed": {"resume": REFUSED, "stop": "stopping", "restart": "planning", "iterate": "planning", "merge": "",
                  "close": "closing", "cleanup": ""},
    "closing": {"resume": REFUSED, "stop": REFUSED, "restart": REFUSED, "iterate": REFUSED, "merge": REFUSED,
                "close": NOTHING, "cleanup": REFUSED},
    "closed": {"resume": REFUSED, "stop": REFUSED, "restart": REFUSED, "iterate": REFUSED, "merge": REFUSED,
               "close": NOTHING, "cleanup": ""},
}  # fmt: skip


def moves(story: RunStory) -> str:
    """The states that the newest deed brought the run through."""
    return " ".join(fact.to_state for fact in story.last if isinstance(fact, RunStateChanged))


def plan(story: RunStory) -> list[str]:
    """The steps of the newest action: kind, and the agent or workspace each is about."""
    steps = story.run.steps[story.run.action_from - 1 :]
    return [f"{s.kind} {s.args.get('agent') or s.args.get('workspace') or ''}".strip() for s in steps]


def test_the_table_is_whole() -> None:
    """Every state in which a run can be found, and every deed."""
    assert set(TABLE) == set(RUN_STATES) - {"created"}
    assert all(set(row) == set(DEEDS) for row in TABLE.values())


@pytest.mark.parametrize(("state", "deed"), [(state, deed) for state in TABLE for deed in DEEDS])
def test_each_deed_in_each_state(state: str, deed: str) -> None:
    """It is refused with a reason, does nothing, or moves the run and has a step under way."""
    story, expected = in_state(state), TABLE[state][deed]
    before = story.run
    if expected == REFUSED:
        with pytest.raises(IllegalTransition, match=r"run-7"):
            DEEDS[deed](story)
        assert story.run is before
        return
    DEEDS[deed](story)
    if expected == NOTHING:
        assert story.last == [] and story.run == before
        return
    assert moves(story) == expected
    assert story.run.busy is not None
    added = [fact.action for fact in story.last if isinstance(fact, RunStepsAdded)]
    assert added == ([] if (state, deed) == ("paused", "resume") else [deed])


def test_a_new_run_begins_at_once() -> None:
    """It is created, planned, and its first step is under way; its facts say who asked."""
    story = RunStory()
    assert [fact.TYPE for fact in story.last] == ["run.created", "run.state.changed", "step.state.changed"]
    assert story.run.state == "planning" and story.run.steps[0].state == "running"
    assert (story.run.created_by_type, story.run.created_by_name) == ("operator", "op")
    assert story.rest().run.state == "running"
    assert [agent.state for agent in story.run.agents] == ["running", "running"]


def test_a_paused_run_waits_for_resume() -> None:
    """Nothing is under way until then; then its own first plan goes on."""
    story = in_state("paused")
    assert story.run.busy is None
    story.do(run_actions.resume)
    assert (story.busy, story.run.action_from) == ("find_repositories", 1)
    assert story.rest().run.state == "running"


@pytest.mark.parametrize("kind", ["find_repositories", "create_workspace", "prepare_docs", "start_session"])
def test_resume_after_each_step_that_failed(kind: str) -> None:
    """What was not made is made, what was done stays done, and every agent comes to life."""
    story = RunStory().until(kind)
    story.fail("disk full")
    assert (story.run.state, story.run.reason) == ("failed", f"{story.run.steps[_failed(story)].name}: disk full")
    assert story.run.busy is None and not [s for s in story.run.steps if s.state == "pending"]
    story.do(run_actions.resume)
    order = ["find_repositories", "create_workspace", "prepare_docs", "start_session"]
    made = [step.partition(" ")[0] for step in plan(story)]
    assert made == [*order[order.index(kind) : 3], "start_session", "start_session"]
    story.rest()
    assert story.run.state == "running"
    assert [agent.state for agent in story.run.agents] == ["running", "running"]


def test_what_fails_again_and_again_is_planned_once() -> None:
    """However often it was tried: a resume takes each step that is not done a single time."""
    story = RunStory().until("create_workspace")
    for _ in range(3):
        story.fail()
        story.do(run_actions.resume)
        assert [step.partition(" ")[0] for step in plan(story)] == [
            "create_workspace", "prepare_docs", "start_session", "start_session",
        ]  # fmt: skip
    assert story.rest().run.state == "running"


def _failed(story: RunStory) -> int:
    return [step.state for step in story.run.steps].index("failed")


def test_resume_leaves_living_agents_alone() -> None:
    """Only the session that failed is begun; the agent that lives is neither restarted nor in a new round."""
    story = RunStory().until("start_session")
    story.end()
    story.fail()
    story.do(run_actions.resume)
    assert plan(story) == ["start_session bob"] and story.run.round == 1
    assert story.rest().run.state == "running"


def test_resume_after_an_agent_failed() -> None:
    """The one that failed begins anew, the other works on; one resume is enough for all that ended meanwhile."""
    story = in_state("running")
    story.see("ann", "failed", "exit code 3", 3)
    assert (story.run.state, story.run.reason) == ("failed", "agent ann: exit code 3")
    story.see("bob", "dead", "its session is gone")
    story.do(run_actions.resume)
    assert plan(story) == ["start_session ann", "start_session bob"]
    assert story.rest().run.state == "running"


def test_resume_of_a_running_run_brings_back_who_is_gone() -> None:
    """After a reboot of the machine no session is there: what had been reported still counts."""
    story = in_state("running")
    story.control("bob", 0, COMPLETION)
    for name in ("ann", "bob"):
        story.see(name, "dead")
    story.do(run_actions.resume)
    assert (plan(story), story.run.state, story.run.round) == (["start_session ann"], "running", 1)
    assert story.do(run_actions.resume) == []


@pytest.mark.parametrize("kind", ["find_repositories", "create_workspace", "prepare_docs", "start_session"])
def test_stop_while_a_step_is_under_way(kind: str) -> None:
    """The step comes to its end, well or not, and only then do the sessions end; the rest is skipped."""
    for well in (True, False):
        story = RunStory().until(kind)
        under_way = story.run.busy
        story.do(run_actions.stop)
        assert story.run.busy == under_way
        story.end() if well else story.fail()
        assert story.busy == "stop_session"
        story.rest()
        assert (story.run.state, {agent.state for agent in story.run.agents}) == ("stopped", {"stopped"})
        assert {step.state for step in story.run.steps} <= {"done", "skipped", "failed"}


@pytest.mark.parametrize("kind", ["find_repositories", "create_workspace", "prepare_docs", "start_session"])
def test_what_a_stop_cut_off_is_made_up_for(kind: str) -> None:
    """A run that was stopped in mid-plan comes to life by resume and by restart."""
    for deed in ("resume", "restart"):
        story = RunStory().until(kind)
        story.do(run_actions.stop)
        story.rest()
        DEEDS[deed](story)
        assert story.rest().run.state == "running"
        done = {step.kind for step in story.run.steps if step.state == "done"}
        assert done >= {"find_repositories", "create_workspace", "prepare_docs", "start_session"}


def test_a_session_that_cannot_be_ended() -> None:
    """The others are ended all the same; then the run has failed, and can be stopped again or resumed."""
    story = in_state("stopping")
    story.fail("no tmux")
    story.rest()
    assert (story.run.state, story.run.reason) == ("failed", "end ann: no tmux")
    assert [agent.state for agent in story.run.agents] == ["stopping", "stopped"]
    again = story.fork()
    again.do(run_actions.stop)
    assert again.rest().run.state == "stopped"
    story.do(run_actions.resume)
    assert plan(story) == ["start_session ann", "start_session bob"]
    assert story.rest().run.state == "running"


def test_exit_codes_outlive_a_stop() -> None:
    """An agent that had ended with 0 when it was stopped is done, and is not begun again."""
    story = in_state("stopping")
    story.end(exit_code=0)
    story.end(exit_code=143)
    assert story.run.state == "stopped"
    assert [(a.state, a.exit_code) for a in story.run.agents] == [("stopped", 0), ("stopped", 143)]
    story.do(run_actions.resume)
    assert plan(story) == ["start_session bob"]


def test_restart_begins_a_round_of_those_named() -> None:
    """What they had reported is forgotten, what others reported is not."""
    story = in_state("completed")
    story.do(run_actions.restart, ("ann",))
    ann, bob = story.run.agents
    assert RunRoundStarted(2, ("ann",), "restart") in story.last
    assert (ann.completed, bob.completed, story.run.round, ann.state) == (False, True, 2, "pending")
    assert plan(story) == ["start_session ann"]
    assert story.rest().run.state == "running"
    story.control("ann", 0, COMPLETION)
    assert story.run.state == "completed"


def test_restart_of_an_agent_that_is_not_there() -> None:
    """Refused with the names that are known, before anything else is looked at."""
    with pytest.raises(InvalidFields, match="has no agent eve") as refused:
        in_state("planning").do(run_actions.restart, ("eve",))
    assert refused.value.fields == {"agents": ["no agent 'eve'; known are: ann, bob"]}


def test_automatic_restarts_are_counted() -> None:
    """As many as are handed in, with their time; one by a person counts from nothing."""
    story = in_state("running")
    story.do(run_actions.restart, ("ann",), restarts=2)
    assert (story.run.agents[0].restarts, story.run.agents[0].restarted_at) == (2, story.run.updated_at)
    assert story.run.agents[1].restarts == 0
    story.rest()
    story.do(run_actions.restart, ())
    assert story.run.agents[0].restarts == 0


def test_iterate_writes_feedback_before_the_sessions() -> None:
    """Into each workspace, then all agents begin anew."""
    story = in_state("completed", TWO_TICKETS)
    story.do(run_actions.iterate, "shorter")
    assert [step.partition(" ")[0] for step in plan(story)] == ["write_feedback"] * 2 + ["start_session"] * 4
    fact = next(fact for fact in story.last if isinstance(fact, RunRoundStarted))
    assert (fact.feedback, fact.action, fact.round) == ("shorter", "iterate", 2)
    assert story.run.steps[story.run.action_from - 1].args["feedback"] == "shorter"


def test_feedback_that_was_cut_off_is_written_in_the_end() -> None:
    """A stop or a failure between an iterate and its feedback does not lose it."""
    for cut in ("stop", "failure"):
        story = in_state("running")
        story.do(run_actions.iterate, "shorter")
        story.fail() if cut == "failure" else story.do(run_actions.stop)
        if cut == "stop":
            story.fail()
        story.rest()
        story.do(run_actions.resume)
        assert [step.partition(" ")[0] for step in plan(story)] == ["write_feedback", "start_session", "start_session"]
        assert story.rest().run.state == "running"
        story.do(run_actions.restart, ())
        assert plan(story) == ["start_session ann", "start_session bob"]


@pytest.mark.parametrize("wish", [WISH, BOOTSTRAPPED, TWO_TICKETS], ids=["run", "bootstrap", "two tickets"])
def test_the_whole_way(wish: object) -> None:
    """Started, asked, answered, completed, merged, closed, cleaned up."""
    story = RunStory(wish).rest()  # type: ignore[arg-type]
    story.control(story.run.agents[0].name, 1)
    assert story.run.state == "awaiting_guidance"
    story.control(story.run.agents[0].name, 0)
    assert story.complete().run.state == "completed"
    for deed, state in (("merge", "completed"), ("close", "closed"), ("cleanup", "closed")):
        DEEDS[deed](story)
        assert story.rest().run.state == state


def test_closing_needs_the_gates() -> None:
    """A bootstrap run whose agents validated something else stays completed."""
    story = in_state("running", BOOTSTRAPPED)
    story.complete("other criteria")
    with pytest.raises(CloseBlocked):
        story.do(run_actions.close, None, True)


def test_every_refusal_is_a_rejection() -> None:
    """The program tells them apart from bugs by that."""
    assert issubclass(IllegalTransition, Rejected) and issubclass(CloseBlocked, Rejected)


def test_agents_are_told_to_end() -> None:
    """Those that live, or wait to begin; one that has ended is left as it is until its session is gone."""
    story = in_state("running")
    story.see("ann", "stopped", "ended by itself", 0)
    story.do(run_actions.stop)
    told = [fact for fact in story.last if isinstance(fact, AgentStateChanged)]
    assert [(fact.agent, fact.to_state) for fact in told] == [("bob", "stopping")]
