"""`forum watch`: one line per event, for as long as one likes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from metawsm.cli.event_line import line
from metawsm.cli.forum_reads import SCOPE, option, reading
from metawsm.cli.output import note, print_json, say
from metawsm.cli.session import Session
from metawsm.cli.text import one_line
from metawsm.client.feed import State, follow
from metawsm.domain.errors import Obstructed

PAGE = 500


@click.command()
@reading(
    *SCOPE,
    option("--thread-id", "Only this thread."),
    option("--cursor", "Start after this sequence. [default: now; with --once: 0]", type=click.IntRange(0)),
    option("--once", "Print what is there and end.", is_flag=True),
)
def watch(session: Session, cursor: int | None, once: bool, **query: Any) -> None:
    """Follow the events until interrupted; goes on by itself after the daemon was away.

    \b
    metawsm.pyz forum watch --ticket MET-1
    metawsm.pyz forum watch --once --json
    """
    events = stored(session, cursor or 0, query) if once else live(session, cursor, query)
    for event in events:
        if session.as_json:
            print_json(event, indent=None)
        else:
            say(line(event))


def stored(session: Session, cursor: int, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every event after the cursor that is there now. A short page is not the end: only a cursor that stays is."""
    while True:
        page = session.get("/forum/events", {**query, "cursor": cursor, "limit": PAGE})
        yield from page["events"]
        if page.get("reset"):
            raise Obstructed(f"{page['reset']}; nothing was read, start without --cursor")
        if page["next_cursor"] == cursor:
            return
        cursor = page["next_cursor"]


def live(session: Session, cursor: int | None, query: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every event after the cursor, now and later; what else the daemon says goes to stderr."""
    for frame in follow(session.client, query, cursor, Told()):
        if frame.get("type") == "forum.events":
            yield from frame.get("events", ())
        elif frame.get("type") == "reset":
            note(f"the daemon starts anew ({one_line(frame.get('reason', ''))}); following from its newest event")
        elif frame.get("type") == "error":
            note(f"the daemon says: {one_line(frame.get('message', ''))}")


class Told:
    """Says once that the connection is lost, and once that it is back."""

    def __init__(self) -> None:
        self._lost = False

    def __call__(self, state: State) -> None:
        """Hear of a state of the feed."""
        lost = state.name != "live"
        if lost and not self._lost:
            note(f"lost the daemon ({one_line(state.reason)}); trying again")
        if self._lost and not lost:
            note(f"connected again; {one_line(state.reason) or 'nothing was missed'}")
        self._lost = lost
