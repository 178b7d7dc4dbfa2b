"""`forum inbox`: the answers that an agent has not read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.forum_reads import option, reading
from metawsm.cli.output import indented, note, print_json, say
from metawsm.cli.read_marks import agent_option, mark_read
from metawsm.cli.session import Session
from metawsm.cli.text import cut, one_line

MOST_COUNTED = 1000  # the daemon counts no further
QUESTION = 200  # columns of a question that are shown
Row = Mapping[str, Any]


@click.command()
@reading(
    option("--check", "Only say how many there are, and mark nothing.", is_flag=True),
    agent_option,
    option("--run-id", "Only answers to what it asked in this run.", envvar="METAWSM_RUN_ID"),
    option("--limit", "Most answers. [default: 50]", type=click.IntRange(1, 500)),
)
def inbox(session: Session, check: bool, agent: str | None, run_id: str | None, limit: int | None) -> int:
    """Print the answers that an agent has not read, the oldest first, and mark them as read.

    Exit code 0 when there was something, 1 when there was nothing.

    \b
    metawsm.pyz forum inbox --agent bob
    metawsm.pyz forum inbox --check
    """
    if not agent:
        raise click.UsageError("say whose inbox it is: --agent, or METAWSM_AGENT")
    page = session.get("/forum/inbox", {"agent_name": agent, "run_id": run_id, "limit": 1 if check else limit})
    answers = page.get("answers", ())
    if session.as_json:
        print_json(page)
    elif check:
        say(_count(page.get("unread_count", 0)))
    else:
        _show(page)
    if not check:
        _mark(session, agent, answers)
    return ExitCode.DONE if answers else ExitCode.FAILED


def _count(unread: int) -> str:
    many = f"{unread} or more" if unread >= MOST_COUNTED else str(unread)
    return f"{many} unread answer{'' if unread == 1 else 's'}"


def _show(page: Row) -> None:
    """Each answer under its question; agents' and people's texts lose their control sequences."""
    for number, answer in enumerate(page.get("answers", ())):
        who = " ".join(filter(None, (answer.get("by_type"), answer.get("by_name"))))
        head = f"#{answer.get('sequence')} {answer.get('thread_id')} {who} {str(answer.get('at'))[:19]}Z"
        say(f"{chr(10) * bool(number)}{one_line(answer.get('title', ''))}")
        say(one_line(head))
        if answer.get("question"):
            say(indented(f"> {cut(one_line(answer['question']), QUESTION)}"))
        say(indented(answer.get("body", "")))
    if not page.get("answers"):
        note("there are no unread answers")
    if page.get("next_cursor"):
        note("there are more: the same command shows them")


def _mark(session: Session, agent: str, answers: list[Row]) -> None:
    """Mark what was printed, thread by thread; one that fails ends it, as the others would fail, too."""
    spans: dict[str, tuple[int, int]] = {}
    for answer in answers:
        thread, place = answer["thread_id"], answer["sequence"]
        spans[thread] = (spans.get(thread, (place, place))[0], place)
    for thread, (first, last) in spans.items():
        if not mark_read(session, thread, agent, first, last):
            return
