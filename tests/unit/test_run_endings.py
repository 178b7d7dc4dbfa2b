"""Stops, cleanups, merges and closes: what is under way, what fails, and what may be tried again."""

from __future__ import annotations

import attrs
import pytest

from metawsm.domain import run_actions
from metawsm.domain.errors import IllegalTransition
from tests.support.run_story import TWO_AGENTS, RunStory, in_state
from tests.unit.test_run_actions import DEEDS, TABLE, moves, plan


def test_removed_workspaces_are_made_again() -> None:
    """Their worktrees only: the documents are on the branch, and are not copied over from before."""
    story = in_state("completed", settings=attrs.evolve(TWO_AGENTS, seeded=True))
    story.do(run_actions.cleanup, False, False)
    assert story.rest().run.state == "completed"
    story.do(run_actions.restart, ())
    assert plan(story) == ["create_workspace met-1-7", "start_session ann", "start_session bob"]


def test_a_workspace_that_could_not_be_removed() -> None:
    """Uncommitted work stands in the way: the run has failed, and cleanup with force, or resume, goes on."""
    story = in_state("running")
    story.do(run_actions.cleanup, False, False)
    story.until("remove_workspace").fail("has uncommitted work")
    assert (story.run.state, story.run.reason) == ("failed", "remove workspace met-1-7: has uncommitted work")
    forced = story.fork()
    forced.do(run_actions.cleanup, False, True)
    assert forced.run.steps[-1].args == {"workspace": "met-1-7", "force": True}
    assert forced.rest().run.state == "stopped"
    story.do(run_actions.resume)
    assert plan(story) == ["create_workspace met-1-7", "start_session ann", "start_session bob"]


@pytest.mark.parametrize("state", [state for state in TABLE if state != "closing"])
def test_cleanup_at_any_time(state: str) -> None:
    """Sessions end and workspaces go, whatever is under way; a completed or closed run stays what it is."""
    story = in_state(state)
    story.do(run_actions.cleanup, False, False)
    story.rest()
    assert story.run.state == (state if state in ("completed", "closed") else "stopped")
    assert {agent.state for agent in story.run.agents} == {"stopped"}
    assert story.run.steps[-1].kind == "remove_workspace" and story.run.steps[-1].state == "done"


def test_cleanup_may_keep_workspaces() -> None:
    """Then only sessions end."""
    story = in_state("running")
    story.do(run_actions.cleanup, True, False)
    assert plan(story) == ["stop_session ann", "stop_session bob"]


def test_cleanup_under_way_bars_a_new_round() -> None:
    """A resume or restart would race with the removal; a second cleanup goes on behind it."""
    story = in_state("stopped")
    story.do(run_actions.cleanup, False, False)
    for deed in ("resume", "restart", "iterate"):
        with pytest.raises(IllegalTransition, match="under way"):
            DEEDS[deed](story)
    story.do(run_actions.cleanup, False, True)
    assert story.rest().run.state == "stopped"


def test_a_merge_that_fails_leaves_the_run_completed() -> None:
    """The step says why; what was to be merged after it is skipped, and merging again tries all."""
    story = in_state("completed")
    story.do(run_actions.merge)
    assert plan(story) == ["check_gates", "merge_branch met-1-7", "merge_branch met-1-7"]
    story.until("merge_branch").fail("conflict in a.txt")
    assert (story.run.state, [s.state for s in story.run.steps[-2:]]) == ("completed", ["failed", "skipped"])
    story.do(run_actions.merge)
    assert story.rest().run.state == "completed"


def test_a_late_step_of_an_earlier_action_stops_nothing() -> None:
    """A merge that fails while a cleanup already waits for it, or a start while the run is being stopped."""
    story = in_state("completed")
    story.do(run_actions.merge)
    story.do(run_actions.cleanup, False, False)
    story.fail("conflict")
    assert story.busy == "stop_session"
    assert story.rest().run.steps[-1].state == "done"


def test_an_outcome_counts_once() -> None:
    """A step that is not under way has ended already; one that is not there is nobody's."""
    story = RunStory()
    story.end()
    for index in (0, 1, 3, 99):
        assert story.do(run_actions.step_ended, index, "failed", 1, "late", None) == []


def test_an_action_answers_the_reason() -> None:
    """What had barred a close is forgotten with the next deed; that an agent waits is not."""
    story = in_state("closing")
    story.fail("is dirty")
    story.do(run_actions.merge)
    assert (story.run.state, story.run.reason) == ("completed", None)
    story = in_state("awaiting_guidance")
    story.do(run_actions.restart, ("bob",))
    assert story.run.reason == "guidance requested by ann"


@pytest.mark.parametrize("kind", ["check_gates", "close_docs", "merge_branch"])
def test_a_close_that_fails_can_be_tried_again(kind: str) -> None:
    """The run is completed again and says why; nothing of the close is left over."""
    story = in_state("closing")
    story.until(kind).fail("is dirty")
    assert story.run.state == "completed"
    what = {
        "check_gates": "",
        "close_docs": "close MET-1 in met-1-7: ",
        "merge_branch": "merge app of met-1-7 into main: ",
    }
    assert story.run.reason == f"close blocked: {what[kind]}is dirty"
    assert story.run.busy is None and not [s for s in story.run.steps if s.state == "pending"]
    story.do(run_actions.close, None, True)
    assert story.rest().run.state == "closed"


def test_a_question_during_a_close_is_heard_when_it_fails() -> None:
    """The run is not completed while an agent waits."""
    story = in_state("closing")
    story.control("ann", 1)
    assert story.run.state == "closing"
    story.fail("is dirty")
    assert moves(story) == "completed running awaiting_guidance"
