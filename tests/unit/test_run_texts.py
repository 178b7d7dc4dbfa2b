"""What a look at a session says about its agent, and the texts that a run hands over."""

from __future__ import annotations

import attrs
import pytest

from metawsm.domain import run_actions
from metawsm.domain.papers import Papers, papers_of, seen_from
from metawsm.domain.run_brief import brief_page, brief_title, prompt_of, work_title
from metawsm.domain.run_health import Seen, Thresholds, state_of
from tests.support.run_story import BOOTSTRAPPED, BRIEF, TWO_TICKETS, RunStory, in_state

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


def test_the_prompt_says_what_lies_around() -> None:
    """The ticket's folder, the brief, each other repository; feedback where there is some, and only there."""
    run = in_state("running").run
    papers = Papers("ttmp/2026/11/01/MET-1--work", "ttmp/2026/11/01/MET-1--work/reference/01-brief.md")
    told = prompt_of("", [], run, run.agents[0], papers)
    assert "documents are in ttmp/2026/11/01/MET-1--work in this repository." in told
    assert "the brief of this run: ttmp/2026/11/01/MET-1--work/reference/01-brief.md." in told
    assert "The other repositories of this run lie beside this one: ../docs." in told and "../app" not in told
    assert "operator wants" not in told
    again = prompt_of("", [], run, run.agents[0], attrs.evolve(papers, feedback="ttmp/f.md"))
    assert "The operator wants something changed: ttmp/f.md says what to do now, the newest entry last." in again
    alone = in_state("running", BOOTSTRAPPED).run
    assert "other repositories" not in prompt_of("", [], alone, alone.agents[0])


def test_where_the_papers_are_follows_from_the_steps() -> None:
    """Those of the agent's own ticket, as told by the newest steps that were done; nothing before any was."""
    story = RunStory(TWO_TICKETS)
    assert papers_of(story.run, story.run.agents[0]) == Papers()
    for ticket in ("one", "two"):
        story.until("prepare_docs").end(documents=f"/w/{ticket}", brief=f"/w/{ticket}/b.md")
    story.rest()
    story.do(run_actions.iterate, "Shorter.")
    story.until("write_feedback").fail()
    story.do(run_actions.iterate, "Shorter!")
    story.until("write_feedback").end(page="/w/one/f.md")
    story.rest()
    first, *_, last = story.run.agents
    assert (first.ticket, last.ticket) == ("MET-1", "MET-2")
    assert papers_of(story.run, first) == Papers("/w/one", "/w/one/b.md", "/w/one/f.md")
    assert papers_of(story.run, last) == Papers("/w/two", "/w/two/b.md")


@pytest.mark.parametrize(("path", "seen"), [("/w/app/ttmp/x", "ttmp/x"), ("/w/application/x",) * 2, ("", "")])
def test_a_path_as_the_agent_names_it(path: str, seen: str) -> None:
    """Relative below its checkout, and whole elsewhere."""
    assert seen_from("/w/app", path) == seen
