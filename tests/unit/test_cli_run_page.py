"""The status of a run: every section, within the terminal, and nothing dangerous in it."""

from __future__ import annotations

from typing import Any

import pytest

from metawsm.cli.run_page import page
from metawsm.cli.text import width
from metawsm.domain import run_actions
from tests.support.run_story import BRIEF
from tests.support.shown_run import ShownRun

EVIL = "\x1b[31mred\x07\u202e 漢字 and more"


def told(story: ShownRun, columns: int | None = 80, **more: Any) -> list[str]:
    """The lines of the page."""
    return list(page(story.detail(**more), columns))


def full(story: ShownRun) -> dict[str, Any]:
    """Everything that a daemon may say about a run, in somebody's hostile words."""
    at = story.now
    place = {"workspace": "met-1-1", "repo": "api"}
    asked = {"agent": "agent", "thread_id": "fctrl-run-1-agent", "post_id": "fevt-1.post"}
    view = {"state": "waiting_human", "priority": "high", "waiting_since": at}
    control = {"thread_id": "fctrl-run-1-agent", "agent_name": "bob", "title": "Control thread of bob in run-1"}
    return {
        "docs": [{"ticket": "MET-1", "workspace": "met-1-1", "status": "failed", "error": EVIL, "updated_at": at}],
        "warnings": [EVIL],
        "guidance": [asked | {"question": f"{EVIL}\n{EVIL * 9}", "asked_at": at}],
        "checkouts": [
            place | {"files": [f"{EVIL}{n}" for n in range(10)], "more": 4, "measured_at": at},
            place | {"repo": "web", "files": [], "more": 0, "ahead": 2, "measured_at": at},
        ],
        "forum": {
            "states": {"waiting_human": 1, "answered": 2},
            "sla": {"waiting_count": 1, "breached_count": 1, "oldest_waiting_since": at},
            "threads": [view | control, view | {"thread_id": "fthr-1", "title": EVIL * 9}],
        },
        "operator": {"action": "answer_guidance", "reason": f"agent asked {EVIL}", "agents": ["agent"]},
    }


def waiting() -> ShownRun:
    """A run whose agent has asked."""
    story = ShownRun()
    story.rest()
    story.control("agent", 1)
    return story


def test_the_sections_stand_in_their_order() -> None:
    """Who looks for a thing finds it where the Go program had it; ages take the place of times."""
    story = waiting()
    lines = told(story, **full(story))
    heads = [line.split(":")[0] for line in lines if ":" in line and not line.startswith(" ")]
    assert heads == [
        "Run", "Status", "Mode", "Tickets", "Repos", "Docs", "Brief", "Guidance", "Forum", "Diffs", "Operator", "Next",
        "Steps", "Agents",
    ]  # fmt: skip
    assert "Status:   awaiting_guidance for 59m: guidance requested by agent" in lines
    assert "Forum:    1 waiting_human, 2 answered; 1 waiting, 1 breached, the oldest for 59m" in lines
    assert any(line.endswith("59m    bob: control thread") for line in lines)
    assert any(line.strip().startswith("fthr-1 ") and "red 漢字" in line for line in lines)
    assert "  met-1-1/api dirty files=14 (seen 59m ago)" in lines and "      ... (6 more)" in lines
    assert "  met-1-1/web clean, 2 commits ahead of main (seen 59m ago)" in lines
    assert "  agent asks, 59m ago, in fctrl-run-1-agent:" in lines
    assert f"  done criteria: {BRIEF.done_criteria}" in lines
    assert lines[-1].split()[:2] == ["agent@met-1-1", "running"] and "asks 1" in lines[-1]


@pytest.mark.parametrize("columns", [80, 60])
def test_it_fits_the_terminal_and_nothing_dangerous_reaches_it(columns: int) -> None:
    """Wide characters count twice; no control or bidi character of an agent's is left."""
    story = waiting()
    lines = told(story, columns, **full(story))
    assert max(map(width, lines)) <= columns
    assert "warning: red 漢字 and more" in "\n".join(lines)
    assert all(line.isprintable() for line in lines)


def test_a_command_that_takes_two_lines_can_still_be_copied() -> None:
    """A shell puts the lines together again; where there is no terminal it stays one line."""
    story = waiting()
    wanted = story.detail()["next"][0]
    lines = told(story)
    first = lines.index("Next:") + 1
    typed = lines[first : lines.index(next(line for line in lines if line.startswith("Steps:")))]
    assert len(typed) == 2
    assert " ".join(line.removesuffix("\\").strip() for line in typed) == wanted
    assert f"  {wanted}" in told(story, None)


def test_a_failed_step_shows_the_tools_own_words() -> None:
    """Several lines stay several lines, and only so many; what waits behind it is counted."""
    story = ShownRun()
    story.end()
    story.fail("fatal: 'main' is no commit\n" + "hint\n" * 20)
    lines = told(story)
    at = lines.index("  2 create workspace met-1-1: failed:")
    assert lines[at + 1] == "      fatal: 'main' is no commit"
    assert lines[at + 9] == "      ... (13 more lines)"
    assert any(line.startswith("Steps:    total=4 done=1 running=0 ") and " failed=1 " in line for line in lines)
    assert "  metawsm.pyz resume --run-id run-1" in lines


def test_a_failure_that_was_tried_again_is_past() -> None:
    """After a second closing that goes on, the gates of the first are not told any more."""
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.close, None, True)
    story.fail("api has uncommitted changes (mend: commit)")
    assert any(line.startswith("  5 gates: failed") for line in told(story))
    story.do(run_actions.close, None, True)
    lines = told(story)
    assert not any("gates: failed" in line for line in lines)
    assert any(line.startswith("  9 gates ...") for line in lines)


def test_gates_that_are_shut_stand_on_lines_of_their_own() -> None:
    """Once, whole, each with a mend that can be copied; the head says only that they are."""
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.close, None, True)
    mend = f"git -C /srv/{'w' * 30} add --all && git -C /srv/{'w' * 30} commit"
    gates = [
        {"text": f"api has uncommitted changes: {EVIL * 3}", "mend": mend},
        {"text": "no docs", "mend": "put them"},
    ]
    story.end("failed", "api has ...; no docs (mend: put them)", gates=gates)
    lines = told(story)
    assert any(line.startswith("Status:") and line.endswith(": close blocked") for line in lines)
    at = lines.index("  5 gates: failed:")
    shown = lines[at + 1 : lines.index("Agents:")]
    assert shown[0].startswith("      - api has uncommitted changes: red") and max(map(width, shown)) <= 80
    assert shown[-2:] == ["      - no docs", "        mend: put them"]
    mended = shown[next(n for n, line in enumerate(shown) if "mend: git" in line) : -2]
    assert " ".join(line.removesuffix("\\").strip() for line in mended) == f"mend: {mend}"


def test_a_failure_of_an_earlier_action_is_past() -> None:
    """A merge that failed says nothing about the round that came after it."""
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.merge)
    story.until("merge_branch").fail("api has uncommitted changes")
    assert any("merge api of met-1-1 into main: failed" in line for line in told(story))
    story.do(run_actions.iterate, "again")
    story.rest()
    lines = told(story)
    assert not any("merge api" in line or "uncommitted" in line for line in lines)
    assert any(line.startswith("Steps:") and " failed=1 " in line for line in lines)


def test_a_run_without_all_that() -> None:
    """A standard run that has only begun has no brief, no diffs, no questions; nothing breaks."""
    lines = told(ShownRun(mode="run"))
    assert not any(line.startswith(("Brief", "Guidance", "Diffs", "Operator")) for line in lines)
    assert "Forum:    no threads" in lines
    assert "Docs:     in api; sync=none" in lines


def test_the_agents_table_keeps_what_matters() -> None:
    """A column in which nothing stands takes no room; what does not fit is named, the least useful first."""
    story = waiting()
    lines = told(story)
    assert lines[lines.index("Agents:") + 1].split() == ["AGENT", "STATE", "SINCE", "REPORTED", "SESSION"]
    run = story.detail()
    at = story.now
    told_too = {"exit_code": 1, "last_progress_at": at, "completed": True}
    run["agents"][0] |= {"name": "bob", "workspace": "met-1-2b7d1e0c", "session": "bob-met-1-2b7d1e0c"} | told_too
    lines = list(page(run, 80))
    heads, row, last = lines[lines.index("Agents:") + 1 :]
    assert heads.split() == ["AGENT", "STATE", "EXIT", "REPORTED", "SESSION"], heads
    assert row.endswith("asks 1, completion  bob-met-1-2b7d1e0c")
    assert last == "  left out at this width: SINCE, PROGRESS; --json has everything"
