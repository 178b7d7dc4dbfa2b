"""`status`: one run with all that is known of it, or the runs there are."""

from __future__ import annotations

from typing import Any

import click

from metawsm.cli.forum_reads import PAGE, option, reading
from metawsm.cli.output import Column, age, key, note, print_json, say, table, terminal_columns
from metawsm.cli.run_page import page
from metawsm.cli.run_selector import SELECTOR, path_of, selected
from metawsm.cli.session import Session
from metawsm.cli.text import one_line


@click.command()
@reading(*SELECTOR, option("--all", "List all runs, also those that are over; of --ticket, if given.",
                           is_flag=True), *PAGE)  # fmt: skip
def status(
    session: Session, run_id: str | None, ticket: str | None, limit: int | None, cursor: str | None, **flags: bool
) -> None:
    """Show a run and what to do next, or list the runs that are not over.

    Without a run and a ticket it lists all runs but those that were stopped or closed.

    \b
    metawsm.pyz status
    metawsm.pyz status --ticket MET-1
    """
    if not flags["all"] and (run_id or ticket):
        chosen = selected(session, run_id, ticket)
        _one(session, chosen)
        if ticket and not run_id and not session.as_json:
            _note_others(session, chosen, ticket)
        return
    query = {"ticket": ticket, "limit": limit, "cursor": cursor}
    _list(session, query if flags["all"] else {**query, "active": True})


def _one(session: Session, run_id: str) -> None:
    answer = session.get(path_of(run_id))
    if session.as_json:
        print_json(answer)
        return
    for line in page(answer["run"], terminal_columns()):
        say(line)


def _note_others(session: Session, chosen: str, ticket: str) -> None:
    """Name the other runs of the ticket that are not over."""
    rows = session.get("/runs", {"ticket": ticket, "active": True})["runs"]
    others = [f"{row['run_id']} ({row['state']})" for row in rows if row["run_id"] != chosen]
    if others:
        note(one_line(f"other runs of {ticket}: {', '.join(others)}; show one with --run-id"))


def _list(session: Session, query: dict[str, Any]) -> None:
    answer = session.get("/runs", query)
    if session.as_json:
        print_json(answer)
        return
    columns = [
        Column("RUN", key("run_id")),
        Column("STATE", key("state")),
        Column("SINCE", lambda row: age(row.get("state_since")), drop=2),
        Column("MODE", key("mode"), drop=6),
        Column("ROUND", key("round"), drop=5),
        Column("TICKETS", lambda row: ", ".join(row.get("tickets", ()))),
        Column("AGENTS", key("agents_count"), drop=4),
        Column("ASKS", lambda row: row.get("open_requests") or "", drop=1),
        Column("REASON", key("reason"), drop=3, flexible=True),
    ]
    empty = (
        "no run is going on; --all lists those that were stopped or closed"
        if query.get("active")
        else "there are no runs"
    )
    table(columns, answer.get("runs", ()), empty)
    if answer.get("next_cursor"):
        note(f"there is more: add --cursor {one_line(answer['next_cursor'])}")
