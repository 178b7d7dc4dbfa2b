"""`operator`: looks after runs by the operator's rules, which the daemon applies to what it has measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from metawsm.cli.forum_reads import option, reading
from metawsm.cli.output import note, print_json, say
from metawsm.cli.run_selector import SELECTOR, path_of, selected
from metawsm.cli.session import Session
from metawsm.cli.text import one_line
from metawsm.client.errors import ApiError, DaemonUnreachable
from metawsm.domain.operator import ANSWER, ASK_HUMAN, NOTHING, RESTART, STOP

Row = Mapping[str, Any]
TOLD = {
    ANSWER: "waits for guidance",
    ASK_HUMAN: "needs a human",
    RESTART: "is restarted",
    STOP: "is stopped",
    NOTHING: "is left alone",
}
PAGE = 500


@click.command("operator")
@reading(
    *SELECTOR,
    option("--all", "Every run that needs looking after; the default without a run and a ticket.", is_flag=True),
    option("--interval", "Seconds between two looks.", type=click.FloatRange(1), default=15.0, show_default=True),
    option("--once", "Look once and end.", is_flag=True),
    option("--dry-run", "Tell what would be done, and do nothing.", is_flag=True),
)
def operator(session: Session, run_id: str | None, ticket: str | None, interval: float, **flags: bool) -> None:
    """Look after runs until interrupted.

    Agents that are stalled or dead are restarted, within the policy's budget; runs in which nothing lives are
    stopped; what needs an answer or a human is told. The rules and what they are applied to are the daemon's: `status`
    shows the same decision.

    \b
    metawsm.pyz operator --all
    metawsm.pyz operator --ticket MET-1 --once --dry-run
    """
    named = None if flags["all"] or not (run_id or ticket) else selected(session, run_id, ticket)
    told: dict[str, Row] = {}
    begun = False
    while True:
        try:
            runs = [named] if named else _all(session)
            for each in runs:
                _look(session, each, told, flags["dry_run"])
            if not begun:
                begun = True
                note(_begun(len(runs), None if flags["once"] else interval))
        except DaemonUnreachable as error:
            if flags["once"]:
                raise
            note(f"metawsm: {error.message}")
        if flags["once"]:
            return
        time.sleep(interval)


def _begun(runs: int, interval: float | None) -> str:
    """That it works, where all is well and nothing else would be said."""
    goes_on = f"; looks again every {interval:g} s until interrupted, and prints what is new" if interval else ""
    return f"metawsm: {runs} run{'' if runs == 1 else 's'} looked at{goes_on}"


def _all(session: Session) -> Sequence[str]:
    """The runs that are not over, the failed ones among them: an agent of theirs may be started again."""
    return [str(run["run_id"]) for run in session.get("/runs", {"active": "true", "limit": PAGE})["runs"]]


def _look(session: Session, run_id: str, told: dict[str, Row], dry_run: bool) -> None:
    """Tell a decision that is news, and act on it."""
    run = session.get(path_of(run_id))["run"]
    decision = run["operator"]
    news = told.get(run_id, {"action": NOTHING}) != decision
    told[run_id] = decision
    if news and (decision["action"] != NOTHING or decision["reason"]):
        _tell(session, run, decision)
    if decision["action"] in (RESTART, STOP) and not dry_run:
        _act(session, run, decision)


def _tell(session: Session, run: Row, decision: Row) -> None:
    if session.as_json:
        print_json({"run_id": run["run_id"], **decision}, indent=None)
    else:
        say(one_line(f"{run['run_id']} {TOLD[decision['action']]}: {decision['reason']}"))


def _act(session: Session, run: Row, decision: Row) -> None:
    """Restart or stop. Two operators that see the same do it once: the key names what they saw."""
    body: dict[str, Any] = {"actor_type": "operator", "actor_name": "operator-loop"}
    if decision["action"] == RESTART:
        body |= {"agents": decision["agents"], "automatic": True}
    verb = "restart" if decision["action"] == RESTART else "stop"
    key = f"operator:{run['run_id']}:{verb}:{run['last_event_sequence']}"
    try:
        session.client.call("POST", f"{path_of(run['run_id'])}/{verb}", body=body, headers={"Idempotency-Key": key})
    except ApiError as error:
        note(one_line(f"metawsm: {run['run_id']} cannot {verb}: {error.message}"))
