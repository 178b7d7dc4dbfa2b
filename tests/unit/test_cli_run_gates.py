"""Gates that bar a closing: each on a line of its own, with the command that mends it."""

from __future__ import annotations

from typing import Any

import pytest

from metawsm.cli.run_gates import GATES_STEP, tell_refusal, tell_step
from metawsm.client.errors import ApiError
from metawsm.domain import run_actions
from metawsm.domain.errors import CloseBlocked
from metawsm.domain.run_plan import CHECK_GATES
from metawsm.domain.run_rules import Gate
from tests.support.shown_run import ShownRun

GATES = [
    Gate("workspace w repo api has uncommitted changes: a; b, (c) and 3 more", "git -C /srv/w commit && git push"),
    Gate("workspace w ticket T docs missing under /srv/w/ttmp", "metawsm.pyz restart --run-id run-1, or put them back"),
]


def closing() -> ShownRun:
    """A completed run that is being closed."""
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.close, None, True)
    return story


def failed(story: ShownRun) -> dict[str, Any]:
    """The step that failed, as readers see it."""
    return next(step for step in story.detail()["steps"] if step["state"] == "failed")


def test_both_sides_name_the_step_alike() -> None:
    """The command line knows the step of the gates by the domain's name."""
    assert GATES_STEP == CHECK_GATES


def test_gates_that_a_step_found_are_told_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    """The step's result has a list, and so people get one."""
    story = closing()
    found = [{"text": gate.text.replace("api", "a\x1b[2Jpi"), "mend": gate.mend} for gate in GATES]
    story.end("failed", "; ".join(gate.told() for gate in GATES), gates=found)
    tell_step(failed(story))
    expected = ["metawsm: close blocked"]
    for gate in GATES:
        expected += [f"  - {gate.text}", f"    mend: {gate.mend}"]
    assert capsys.readouterr().err.splitlines() == expected


def test_gates_that_the_run_knows_are_told_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was begun, and the same lines come from the error's details."""
    story = ShownRun()
    story.rest()
    story.complete("other ones\x1b[2J")
    with pytest.raises(CloseBlocked) as caught:
        run_actions.close(story.run, None, True, story.now)
    error = {"code": caught.value.code, "message": caught.value.message, "details": caught.value.details}
    tell_refusal(ApiError(409, b"", {"error": error}))
    head, text, mend = capsys.readouterr().err.splitlines()
    assert (head, text) == (
        "metawsm: close blocked",
        "  - agent agent: validated other done criteria than those of the brief",
    )
    assert mend.startswith("    mend: metawsm.pyz forum signal --run-id run-1 --ticket MET-1 --agent-name agent --type")


def test_a_merge_that_failed_is_told_in_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    """What is no list of gates stays as it is."""
    story = closing()
    story.end()
    story.end()
    story.fail("CONFLICT (content): a.py\nAutomatic merge failed")
    tell_step(failed(story))
    told = capsys.readouterr().err
    assert told == (
        "metawsm: close blocked\n"
        "    merge api of met-1-1 into main: CONFLICT (content): a.py\n    Automatic merge failed\n"
    )
