"""`watch`: a line for each event of a run, until it has come to an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from metawsm.cli.event_line import line
from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.forum_reads import option, reading
from metawsm.cli.forum_watch import live, stored
from metawsm.cli.output import note, print_json, say
from metawsm.cli.run_outcome import run_line
from metawsm.cli.run_selector import SELECTOR, path_of, selected
from metawsm.cli.session import Session
from metawsm.cli.text import one_line
from metawsm.domain.run_states import RUN_STATES

GOOD, BAD = ("completed", "closed"), ("failed", "stopped")
"""States in which nothing more happens by itself."""
ON_SOMEBODY = ("paused", "awaiting_guidance")
"""States that last until somebody does something."""


@click.command()
@reading(
    *SELECTOR,
    option("--until", "End when the run is in this state, or cannot get there by itself.", metavar="STATE",
           type=click.Choice(RUN_STATES)),
    option("--cursor", "Start after this sequence. [default: now; with --once: 0]", type=click.IntRange(0)),
    option("--once", "Print what is there and end.", is_flag=True),
)  # fmt: skip
def watch(
    session: Session, run_id: str | None, ticket: str | None, until: str | None, cursor: int | None, once: bool
) -> int:
    """Follow the events of a run until it ends.

    The exit code is 0 when it is completed or closed, 1 when it failed or was stopped.

    \b
    metawsm.pyz watch --ticket MET-1
    metawsm.pyz watch --ticket MET-1 --until awaiting_guidance
    """
    wanted = selected(session, run_id, ticket)
    run = session.get(path_of(wanted))["run"]
    if once:
        for event in stored(session, cursor or 0, {"run_id": wanted}):
            _print(session, event)
        return ExitCode.DONE
    return _follow(session, run, until, cursor)


def _follow(session: Session, run: Mapping[str, Any], until: str | None, cursor: int | None) -> int:
    """Print events from the cursor on, at least up to the run's newest one, until one ends it."""
    note(run_line(run))
    if run["state"] in ON_SOMEBODY:
        for command in run.get("next", ()):
            note(f"next: {one_line(command)}")
    newest = run["last_event_sequence"]
    start = newest if cursor is None else cursor
    now = _end(run["state"], until, begun=False)
    if now is not None and start >= newest:
        return now
    for event in live(session, start, {"run_id": run["run_id"]}):
        _print(session, event)
        code = _end(_state(event), until, begun=True) if event["sequence"] > newest else None
        code = now if event["sequence"] == newest else code
        if code is not None:
            return code
    raise AssertionError("the feed does not end by itself")


def _end(state: str | None, until: str | None, begun: bool) -> int | None:
    """The exit code, if a run in this state is where it was to be, or will not get there by itself.

    A run that has not moved yet (`begun` false) may be about to be resumed by somebody who wants to see it.
    """
    if until is None:
        return ExitCode.DONE if state in GOOD else ExitCode.FAILED if state in BAD else None
    if state == until:
        return ExitCode.DONE
    return ExitCode.FAILED if state == "closed" or (begun and state in BAD) else None


def _state(event: Mapping[str, Any]) -> str | None:
    """The state that an event brought the run into, if it did."""
    if event["envelope"]["event_type"] != "run.state.changed":
        return None
    return str(event["payload"]["to_state"])


def _print(session: Session, event: Mapping[str, Any]) -> None:
    if session.as_json:
        print_json(event, indent=None)
    else:
        say(line(event, ("agent_name",)))  # its run is known
