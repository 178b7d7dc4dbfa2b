"""What a look at a session says about its agent, and the texts that a run hands over."""

from __future__ import annotations

import attrs
import pytest

from metawsm.domain.run_brief import brief_page, brief_title, prompt_of, work_title
from metawsm.domain.run_health import Seen, Thresholds, state_of
from tests.support.run_story import BOOTSTRAPPED, BRIEF, in_state

NOW = 10_000.0
AFTER = Thresholds(300, 900, 1200)


@pytest.mark.parametrize(
    ("seen", "state", "reason"),
    [
        (Seen(True, activity=NOW - 299, progress=NOW), "running", None),
        (Seen(True, activity=NOW - 300, progress=NOW), "idle", None),
        (Seen(True, activity=NOW - 900, progress=NOW), "stalled", "no output for 15 min"),
        (Seen(True, activity=NOW, progress=NOW - 1200), "stalled", "no progress for 20 min"),
        (Seen(True, activity=NOW, progress=NOW - 1199), "running", None),
        (Seen(True), "running", None),
        (Seen(False), "dead", "its session is gone"),
        (Seen(True, True, 0), "stopped", "ended by itself"),
        (Seen(False, True, 0), "stopped", "ended by itself"),
        (Seen(True, True, 3, activity=NOW), "failed", "exit code 3"),
        (Seen(False, True, -9), "failed", "exit code -9"),
        (Seen(True, True, None), "dead", "its program ended, with an exit code that is not known"),
        (Seen(False, True, None), "dead", "its session is gone"),
    ],
)
def test_the_state_of_an_agent(seen: Seen, state: str, reason: str | None) -> None:
    """Its end goes before its session, its session before its age; an unknown exit code is not 0."""
    assert state_of(seen, NOW, AFTER) == (state, reason)


def test_the_brief_is_a_page() -> None:
    """Each answer under its heading, then questions and answers, those of several lines indented."""
    page = brief_page("run-7", attrs.evolve(BRIEF, scope="all\nof it "))
    assert page == (
        "# Bootstrap Brief\n\nRun ID: run-7\n\n## Goal\n\nA report.\n\n## Scope\n\nall\nof it\n\n"
        "## Done Criteria\n\nIt prints totals\n\n## Constraints\n\nNo network\n\n## Merge Intent\n\ndefault\n\n"
        "## Intake Q/A\n\n1. Q: What is to be reached?\n   A: A report.\n2. Q: What belongs to it, and what does not?\n"
        "   A: all\n      of it\n3. Q: What must hold at the end?\n   A: It prints totals\n"
        "4. Q: What must not happen?\n   A: No network\n5. Q: How is the work to be merged?\n   A: default\n"
    )
    assert brief_title("run-7") == "Bootstrap brief run-7"


@pytest.mark.parametrize(
    ("goal", "title"), [("A  report\nof all.", "A report of all"), ("x" * 99, "x" * 72), (" . ", "Work")]
)
def test_the_title_follows_from_the_goal(goal: str, title: str) -> None:
    """One line without its full stop, at most 72 characters."""
    assert work_title(attrs.evolve(BRIEF, goal=goal)) == title
    assert work_title(None) == "Work"


def test_the_prompt_says_how_to_ask_and_report() -> None:
    """The profile's words first, then its skills, then how; a validation only where there is a brief."""
    run = in_state("running", BOOTSTRAPPED).run
    prompt = prompt_of(" Be kind. ", ["/s/one/SKILL.md"], run, run.agents[0])
    assert prompt.startswith("Be kind.\n\nRead and follow these skills before you begin:\n- /s/one/SKILL.md\n\n")
    assert "agent ann of run run-7 on ticket MET-1, round 1" in prompt
    assert "--type validation" in prompt and "--type guidance_request" in prompt
    plain = in_state("running").run
    told = prompt_of("", [], plain, plain.agents[1])
    assert told.startswith("You are agent bob") and "validation" not in told and told.endswith('--summary "..."`.')
