"""What agents report and ask, and what is seen of them: when the run waits, goes on, fails and is completed."""

from __future__ import annotations

import pytest

from metawsm.domain import run_actions
from metawsm.domain.errors import CloseBlocked, IllegalTransition
from metawsm.domain.run_events import AgentStateChanged, RunGuidanceChanged, RunRoundStarted, RunStateChanged
from metawsm.domain.run_hints import hints
from metawsm.domain.run_rules import check_close
from metawsm.domain.run_states import AGENT_STATES, ALIVE, OBSERVED, RUNS
from metawsm.domain.run_view import run_view
from tests.support.run_story import BOOTSTRAPPED, TWO_TICKETS, WISH, RunStory, in_state

COMPLETION = {"control_type": "completion"}
PASSED = {"control_type": "validation", "status": "passed", "done_criteria": "It prints totals"}


def states(story: RunStory) -> list[tuple[str, str | None]]:
    """The states that the newest deed brought, with their reasons."""
    return [(fact.to_state, fact.reason) for fact in story.last if isinstance(fact, RunStateChanged)]


def test_a_request_holds_the_run_and_the_last_answer_lets_it_go() -> None:
    """It waits while any of its agents has an open request."""
    story = in_state("running")
    story.control("ann", 2)
    assert states(story) == [("awaiting_guidance", "guidance requested by ann")]
    story.control("bob", 1)
    assert states(story) == []
    story.control("ann", 0)
    assert story.run.state == "awaiting_guidance"
    story.control("bob", 0)
    assert states(story) == [("running", "guidance given")]


def test_the_same_news_twice_is_no_fact() -> None:
    """Two answers in one batch are followed by two commands; both find the thread as it is now."""
    story = in_state("awaiting_guidance")
    story.control("ann", 0)
    assert story.control("ann", 0) == []
    assert story.control("nobody", 1) == []


@pytest.mark.parametrize("state", ["planning", "paused", "failed", "stopping", "stopped", "closing", "closed"])
def test_guidance_elsewhere_is_noted(state: str) -> None:
    """A run that is not at work does not move; it knows of the request, and waits once it works again."""
    story = in_state(state)
    facts = story.control("ann", 1)
    assert facts == [RunGuidanceChanged("ann", "fctrl-run-7-ann", 1)]
    if state in ("paused", "failed", "stopped"):
        story.do(run_actions.resume)
    if state in ("planning", "paused", "failed", "stopped"):
        story.rest()
        assert (story.run.state, story.run.reason) == ("awaiting_guidance", "guidance requested by ann")


def test_a_request_of_a_completed_run_opens_it_again() -> None:
    """It waits; with the answer it is completed again, since nothing new is to be done."""
    story = in_state("completed")
    story.control("ann", 1)
    assert states(story) == [("running", "guidance requested"), ("awaiting_guidance", "guidance requested by ann")]
    story.control("ann", 0)
    assert states(story) == [("running", "guidance given"), ("completed", None)]


def test_a_standard_run_is_completed_when_all_have_reported_or_ended_well() -> None:
    """One agent reports, the other ends with 0; an end with an unknown code is none."""
    story = in_state("running")
    story.control("ann", 0, COMPLETION)
    assert story.run.state == "running"
    dead = story.fork()
    dead.see("bob", "dead", "its session is gone")
    assert dead.run.state == "running"
    story.see("bob", "stopped", "ended by itself", 0)
    assert states(story) == [("completed", None)]


def test_a_bootstrap_run_is_completed_when_all_are_validated() -> None:
    """Completion and a passed validation of every agent; a failed one, or an end with 0, is not enough."""
    story = in_state("running", BOOTSTRAPPED)
    for name in ("ann", "bob"):
        story.control(name, 0, COMPLETION)
        story.control(name, 0, {**PASSED, "status": "failed"})
    story.see("ann", "stopped", "ended by itself", 0)
    assert story.run.state == "running"
    story.control("ann", 0, PASSED)
    assert story.run.state == "running"
    story.control("bob", 0, PASSED)
    assert story.run.state == "completed"


def test_nothing_is_completed_while_an_agent_waits_or_a_step_is_under_way() -> None:
    """The answer, or the end of the step, completes it."""
    story = in_state("awaiting_guidance").complete()
    assert story.run.state == "completed"
    story = in_state("running")
    story.control("ann", 1)
    story.control("ann", 1, COMPLETION)
    story.control("bob", 0, COMPLETION)
    assert story.run.state == "awaiting_guidance"
    story = in_state("running")
    story.do(run_actions.restart, ("ann",))
    story.complete()
    assert story.run.state == "running"
    story.rest()
    assert story.run.state == "completed"


def test_reports_of_an_earlier_round_do_not_count() -> None:
    """What was reported before the restart and is heard of after it is of an earlier life."""
    story = in_state("running")
    reported = len(story.facts)
    story.do(run_actions.restart, ("ann",))
    story.rest()
    for name, counts in (("ann", False), ("bob", True)):
        story.do(run_actions.control_changed, name, "fctrl-x", 0, COMPLETION, reported)
        agent = story.run.agent(name)
        assert agent is not None and agent.completed is counts
    story.control("ann", 0, COMPLETION)
    assert story.run.state == "completed"


def test_a_failed_agent_fails_the_run_while_others_work() -> None:
    """The others go on, and what they report is kept."""
    story = in_state("running")
    story.see("ann", "failed", "exit code 3", 3)
    assert states(story) == [("failed", "agent ann: exit code 3")]
    story.control("bob", 0, COMPLETION)
    bob = story.run.agent("bob")
    assert bob is not None and bob.completed and bob.alive
    story.do(run_actions.resume)
    assert [step.args for step in story.run.steps[story.run.action_from - 1 :]] == [{"agent": "ann"}]


def test_an_agent_that_is_done_may_end_as_it_likes() -> None:
    """After its completion neither a failure nor a vanished session is anybody's concern."""
    story = in_state("running")
    story.control("ann", 0, COMPLETION)
    story.see("ann", "failed", "exit code 1", 1)
    assert story.run.state == "running"
    story.control("bob", 0, COMPLETION)
    assert story.run.state == "completed"


def test_an_agent_that_fails_while_a_step_is_under_way() -> None:
    """The step comes to its end first: a failed run has nothing under way."""
    story = in_state("running")
    story.do(run_actions.restart, ("ann",))
    story.see("bob", "failed", "exit code 1", 1)
    story.control("ann", 1)
    story.control("ann", 0)
    assert story.run.state == "running"
    story.rest()
    assert (story.run.state, story.run.reason) == ("failed", "agent bob: exit code 1")


@pytest.mark.parametrize("state", AGENT_STATES)
def test_only_news_that_is_legal_is_kept(state: str) -> None:
    """An agent that is not at work was seen in an earlier life; what it is to become nobody can see."""
    assert in_state("stopped").see("ann", state, "seen") == []
    assert in_state("stopping").see("ann", state, "seen") == []
    story = in_state("running")
    told = [fact for fact in story.see("ann", state) if isinstance(fact, AgentStateChanged)]
    assert [fact.to_state for fact in told] == ([state] if state not in ("running", "pending", "stopping") else [])
    assert story.see("nobody", "dead") == []


@pytest.mark.parametrize("before", ALIVE)
@pytest.mark.parametrize("after", OBSERVED)
def test_looks_bring_an_agent_from_state_to_state(before: str, after: str) -> None:
    """Each state that a look can find follows from each in which it is looked at; then it is stopped or restarted."""
    story = in_state("running")
    story.see("ann", before)
    story.see("ann", after, "seen")
    ann = story.run.agents[0]
    assert (ann.state, ann.reason) == (after, "seen" if before != after else None)
    for action, state in (
        (run_actions.stop, "stopping"),
        (lambda run, at: run_actions.restart(run, (), at), "pending"),
    ):
        told = story.fork()
        told.do(action)
        ended = action is run_actions.stop and after in ("stopped", "failed")
        assert told.run.agents[0].state == (after if ended else state)


@pytest.mark.parametrize("state", ["running", "awaiting_guidance"])
def test_a_failure_ends_the_work(state: str) -> None:
    """Of an agent or of a step, while the run waits for an answer, too."""
    story = in_state(state)
    other = story.fork()
    story.see("bob", "failed", "exit code 1", 1)
    assert states(story) == [("failed", "agent bob: exit code 1")]
    other.do(run_actions.restart, ("bob",))
    other.fail("no tmux")
    assert states(other) == [("failed", "session of bob: no tmux")]


GATES = {
    "nothing": ([], []),
    "completion": ([PASSED], ["agent ann: missing completion signal"]),
    "validation": ([COMPLETION], ["agent ann: validation is missing"]),
    "failed validation": ([COMPLETION, {**PASSED, "status": "failed"}], ["agent ann: validation is failed"]),
    "criteria": (
        [COMPLETION, {**PASSED, "done_criteria": "It runs"}],
        ["agent ann: validated other done criteria than those of the brief"],
    ),
    "both": ([], ["agent ann: missing completion signal", "agent ann: validation is missing"]),
}


def completed(reports: list[dict[str, str]]) -> RunStory:
    """A completed bootstrap run whose agent ann has reported this since its newest round."""
    story = in_state("completed", BOOTSTRAPPED)
    if reports:
        story.tell([RunRoundStarted(2, ("ann",), "restart")])
    for report in reports:
        story.control("ann", 0, report)
    return story


@pytest.mark.parametrize("name", [name for name in GATES if name not in ("nothing", "both")])
def test_each_gate_says_what_is_missing_and_what_mends_it(name: str) -> None:
    """The text, and a command that a person can run."""
    reports, texts = GATES[name]
    with pytest.raises(CloseBlocked) as blocked:
        check_close(completed(reports).run)
    gates = blocked.value.details["gates"]
    assert [gate["text"] for gate in gates] == texts
    at = "metawsm.pyz forum signal --run-id run-7 --ticket MET-1 --agent-name ann --type"
    what = {"completion": "completion"}.get(name, "validation --status passed --done-criteria 'It prints totals'")
    assert [gate["mend"] for gate in gates] == [f"{at} {what}"]
    assert str(blocked.value) == f"close blocked: {texts[0]} (mend: {at} {what})"


def test_all_gates_are_told_at_once() -> None:
    """Open requests, completion and validation of each agent."""
    story = in_state("completed", BOOTSTRAPPED)
    story.tell([RunRoundStarted(2, ("ann",), "restart"), RunGuidanceChanged("ann", "fctrl-x", 2)])
    with pytest.raises(CloseBlocked) as blocked:
        check_close(story.run)
    told = [(gate["text"], gate["mend"].split()[-1]) for gate in blocked.value.details["gates"]]
    assert told == [
        ("agent ann has 2 pending guidance request(s)", "<answer>"),
        ("agent ann: missing completion signal", "completion"),
        ("agent ann: validation is missing", "totals'"),
    ]


@pytest.mark.parametrize("state", ["running", "awaiting_guidance"])
def test_a_run_that_is_not_completed_says_what_it_waits_for(state: str) -> None:
    """The gates say more than its state does; a standard run has none, and is told its state."""
    with pytest.raises(CloseBlocked) as blocked:
        check_close(in_state(state, BOOTSTRAPPED).run)
    assert "missing completion signal" in str(blocked.value)
    with pytest.raises(IllegalTransition, match=f"must be in completed state before close .current: {state}"):
        check_close(in_state(state, WISH).run)


def test_criteria_are_compared_without_their_margins() -> None:
    """As the Go program did; and a standard run has no such gate."""
    check_close(completed([COMPLETION, {**PASSED, "done_criteria": " It  prints\n totals\n"}]).run)
    check_close(in_state("completed", TWO_TICKETS).run)
    check_close(in_state("completed", WISH).run)


@pytest.mark.parametrize("state", sorted({*RUNS} - {"created"}))
def test_every_state_has_its_hints(state: str) -> None:
    """A run that is seen in it can be shown; only one that waits has nothing but its questions."""
    view = run_view(in_state(state).run)
    assert view["state"] == state and view["next"]


def test_hints_lead_on() -> None:
    """First the open questions, then what the state allows; a view carries them and leaves empty values out."""
    story = RunStory().until("create_workspace")
    story.fail()
    story.control("ann", 1)
    answer = "metawsm.pyz forum signal --run-id run-7 --ticket MET-1 --agent-name ann --type guidance_answer"
    assert hints(story.run) == [f"{answer} --answer <answer>", *(f"metawsm.pyz {verb} --run-id run-7" for verb in
                                ("resume", "restart", "cleanup"))]  # fmt: skip
    view = run_view(story.run)
    assert view["next"] == hints(story.run)
    gone = in_state("running")
    gone.tell([AgentStateChanged("ann", "running", "dead")])
    assert hints(gone.run)[0] == "metawsm.pyz resume --run-id run-7"
    assert "brief" not in view and "exit_code" not in view["agents"][0] and "args" not in view["steps"][0]
