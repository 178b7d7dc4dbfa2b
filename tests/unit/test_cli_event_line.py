"""Events of runs as lines: what moved, from where to where, and why."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from metawsm.cli.event_line import line
from metawsm.domain import run_actions
from metawsm.domain.run_events import RUN_FACTS, RunFact
from tests.support.run_story import BRIEF
from tests.support.shown_run import ShownRun


def shown(fact: RunFact) -> str:
    """What the line of a fact says after its head."""
    envelope = {"event_type": fact.TYPE, "run_id": "run-1", "ticket": "MET-1", "actor_type": "system"}
    payload: dict[str, Any] = attrs.asdict(fact)
    return line({"sequence": 7, "envelope": envelope, "payload": payload}).partition("  ")[2]


def everything() -> list[RunFact]:
    """Facts of a run that fails, is resumed, asks, is answered, iterated, and loses its agent."""
    story = ShownRun()
    story.end()
    story.fail("fatal:\x1b[2J no\nbranch")
    story.do(run_actions.resume)
    story.rest().complete()
    story.do(run_actions.iterate, "the tests\ntoo")
    story.rest()
    story.control("agent", 2)
    story.control("agent", 0)
    story.do(run_actions.agents_seen, [("agent", "stalled", "no output for 15 min", None)])
    story.do(run_actions.agents_seen, [("agent", "failed", "exit code 3", 3)])
    return story.facts


def test_every_event_of_a_run_says_something() -> None:
    """No type leaves an empty line, and no word of a tool reaches the terminal as it is."""
    facts = everything()
    assert {type(fact) for fact in facts} == set(RUN_FACTS)
    lines = [shown(fact) for fact in facts]
    assert all(lines) and all(each.isprintable() for each in lines)


@pytest.mark.parametrize(
    "words",
    [
        "created -> planning",
        "2 create workspace met-1-1: running -> failed: fatal: no branch",
        "planning -> failed: create workspace met-1-1: fatal: no branch",
        "failed -> planning: resumed",
        "agent completion",
        f"agent validation passed {BRIEF.done_criteria}",
        "iterate: round 2 of agent: the tests too",
        "iterate: 2 steps",
        "agent waits for 2 answers",
        "agent waits no more",
        "agent: running -> stalled: no output for 15 min",
        "agent: stalled -> failed: exit code 3",
    ],
)
def test_lines_tell_the_story(words: str) -> None:
    """States, steps, agents, rounds and reasons in words."""
    assert words in [shown(fact) for fact in everything()]


def test_the_first_event_says_what_is_asked_for() -> None:
    """Tickets, repositories, and how much it takes."""
    payload = {"mode": "bootstrap", "tickets": ["MET-1"], "repos": ["api", "web"], "agents": [{}], "steps": [{}, {}]}
    head = {"event_type": "run.created", "occurred_at": "2026-11-01T08:00:00.000000Z", "run_id": "run-1"}
    assert line({"sequence": 1, "envelope": head, "payload": payload}) == (
        "#1 08:00:00 run.created run-1  bootstrap of MET-1 over api, web: 1 agent, 2 steps"
    )
