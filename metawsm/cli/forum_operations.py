"""The verbs for those who run the daemon: command, debug, rebuild."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.forum_reads import SCOPE, option, reading
from metawsm.cli.output import Column, key, note, print_json, say, table
from metawsm.cli.session import Session
from metawsm.cli.text import one_line
from metawsm.client.address import segment

POLL_SECONDS = 0.3


@click.command()
@reading(option("--command-id", "The command, as the daemon named it.", required=True))
def command(session: Session, command_id: str) -> int:
    """Look what became of a command that was accepted but not yet handled."""
    answer = session.get(f"/forum/commands/{segment('command_id', command_id, ours=False)}")
    found = answer.get("command", {})
    if session.as_json:
        print_json(answer)
    else:
        error = found.get("error") or {}
        message = error.get("message", "") if isinstance(error, Mapping) else error
        say(one_line(f"{found.get('id')}  {found.get('status')}  {message}"))
    return ExitCode.QUEUED if found.get("status") == "queued" else ExitCode.DONE


@click.command()
@reading(*SCOPE, option("--limit", "Most rows of each kind.", type=click.IntRange(1, 500)))
def debug(session: Session, **query: Any) -> None:
    """Show outbox, bus and topics; --json shows everything.

    Ticket and run choose among events and threads; of outbox rows and jobs the newest are shown, whosever they are.
    """
    answer = session.get("/forum/debug", query)
    if session.as_json:
        print_json(answer)
        return
    facts = answer.get("debug", {})
    bus = facts.get("bus", {})
    for name in ("healthy", "error", "running", "redis_url", "stream_name", "consumer_group", "consumer_name"):
        if bus.get(name) is not None:
            say(f"{name:32} {_plain(bus[name])}")
    for name, value in facts.get("outbox", {}).items():
        say(f"{'outbox ' + one_line(name):32} {_plain(value)}")
    columns = [
        Column("TOPIC", key("topic")),
        Column("LENGTH", key("stream_length")),
        Column("PENDING", key("consumer_group_pending")),
        Column("LAG", key("consumer_group_lag")),
    ]
    table(columns, bus.get("topics", ()), "there are no topics")


def _plain(value: object) -> str:
    """A value as people write it."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else one_line(value)


@click.command()
@reading()
def rebuild(session: Session) -> None:
    """Make the read models anew from the events, while the daemon serves."""
    answer = session.client.call("POST", "/forum/rebuild", body={})[1]
    while answer.get("rebuild", {}).get("running"):
        _progress(answer["rebuild"])
        time.sleep(POLL_SECONDS)
        answer = session.get("/forum/rebuild")
    if session.as_json:
        print_json(answer)
    else:
        say(one_line(f"rebuilt from {answer.get('rebuild', {}).get('total', 0)} events"))


def _progress(state: Mapping[str, Any]) -> None:
    """How far the rebuild is."""
    total = state.get("total")
    note(f"rebuilding: {state.get('done', 0)} of {total} events" if total else "rebuilding: begun")
