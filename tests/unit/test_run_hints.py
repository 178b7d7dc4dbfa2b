"""What may be done next: it follows from what happened, not from the state alone."""

from __future__ import annotations

import subprocess
from typing import Any

import attrs
import pytest

from metawsm.domain import run_actions
from metawsm.domain.run_plan import Wish
from metawsm.domain.run_view import run_view
from tests.support.run_settings import SETTINGS
from tests.support.run_story import BOOTSTRAPPED, WISH, RunStory, in_state


def following(story: RunStory) -> list[str]:
    """The hints of a run, shortened."""
    at = f" --run-id {story.run.run_id}"
    return [hint.replace(at, "").replace("metawsm.pyz ", "") for hint in run_view(story.run)["next"]]


def test_after_a_merge_comes_the_close() -> None:
    """It is not offered again, until there is another round."""
    story = in_state("completed")
    assert following(story) == ["iterate --feedback <feedback>", "merge --dry-run", "merge", "close"]
    story.do(run_actions.merge)
    story.rest()
    assert following(story) == ["close", "iterate --feedback <feedback>"]
    story.do(run_actions.iterate, "again")
    story.rest().complete()
    assert "merge" in following(story)


MERGES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "dirty base": ({"path": "/src/app one", "files": ["a"]}, ["git -C '/src/app one' stash"]),
    "conflict": ({"files": ["a"]}, ["git -C {place}/app merge main"]),
    "hook": ({"exit_code": 1}, []),
}


@pytest.mark.parametrize("name", MERGES)
def test_after_a_merge_that_failed_comes_its_mend(name: str) -> None:
    """Of a plain merge and of one that a close wanted; then the same verb again."""
    told, mends = MERGES[name]
    for verb in ("merge", "close"):
        story = in_state("completed")
        story.do(*((run_actions.merge,) if verb == "merge" else (run_actions.close, None, True)))
        story.until("merge_branch").end("failed", "no", **told)
        place = story.run.workspaces[0].path
        assert following(story) == [
            *(mend.format(place=place) for mend in mends),
            verb,
            "iterate --feedback <feedback>",
        ]


def test_after_a_blocked_close_come_the_mends_of_its_gates() -> None:
    """Each once."""
    story = in_state("closing")
    gates = [{"text": text, "mend": f"git -C /w/{mend} commit"} for text, mend in (("a", "x"), ("b", "y"), ("c", "x"))]
    story.end("failed", "no", gates=gates)
    assert following(story) == ["git -C /w/x commit", "git -C /w/y commit", "close", "iterate --feedback <feedback>"]


COMPLETED = ["iterate --feedback <feedback>", "merge --dry-run", "merge", "close"]


@pytest.mark.parametrize(("state", "more"), [("running", ["resume"]), ("completed", COMPLETED), ("closed", [])])
def test_a_workspace_that_could_not_be_removed_can_be_by_force(state: str, more: list[str]) -> None:
    """The same without force would fail again."""
    story = in_state(state)
    story.do(run_actions.cleanup, False, False)
    story.until("remove_workspace").fail("has uncommitted changes")
    assert following(story) == [*more, "cleanup --force"]


@pytest.mark.parametrize(
    ("state", "verbs"),
    [("awaiting_guidance", ["resume"]), ("closed", []), ("completed", COMPLETED)],
)
def test_after_a_cleanup_nothing_is_cleaned_up_or_answered(state: str, verbs: list[str]) -> None:
    """The agents are gone, with what they had asked; what can be merged or closed still can be."""
    story = in_state(state)
    story.do(run_actions.cleanup, False, False)
    story.rest()
    assert following(story) == verbs


def test_a_shell_refuses_a_hint_that_is_not_filled_in() -> None:
    """Pasted as it stands it must not become the answer or the feedback itself."""
    for state in ("completed", "awaiting_guidance"):
        open_ones = [hint for hint in run_view(in_state(state).run)["next"] if "<" in hint]
        assert open_ones
        for shell in ("sh", "bash"):
            assert all(subprocess.run([shell, "-n", "-c", hint], capture_output=True).returncode for hint in open_ones)


def test_a_workspace_of_somebody_else_stays() -> None:
    """With strategy reuse a cleanup has only sessions to end."""
    story = in_state("running", attrs.evolve(WISH, strategy="reuse", source="mine"))
    story.do(run_actions.cleanup, False, False)
    assert following(story.rest()) == ["resume"]


def test_kept_workspaces_can_be_cleaned_up_later() -> None:
    """That is what keeping them is for."""
    story = in_state("running")
    story.do(run_actions.cleanup, True, False)
    assert following(story.rest()) == ["resume", "cleanup"]


@pytest.mark.parametrize(("wish", "verb"), [(WISH, "run"), (BOOTSTRAPPED, "bootstrap")])
def test_repositories_that_are_not_there_want_another_run(wish: Wish, verb: str) -> None:
    """A run keeps the names it began with: a restart cannot help, and a resume only when they are there."""
    story = RunStory(attrs.evolve(wish, tickets=("MET-1", "MET-2")), SETTINGS)
    story.fail("repositories not found: nope")
    assert following(story) == [f"{verb} --ticket MET-1 --ticket MET-2 --repos <names>", "resume", "cleanup"]
