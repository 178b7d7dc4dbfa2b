"""How an action on a run ended: a line on stdout, what to do next on stderr, and the exit code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from metawsm.cli.accepted import queued
from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.output import Column, key, note, print_json, say, table
from metawsm.cli.run_following import follow_steps, open_steps
from metawsm.cli.run_gates import gates_of, tell_refusal, tell_step, without_gates
from metawsm.cli.run_page import checkout_line
from metawsm.cli.run_selector import path_of
from metawsm.cli.session import Session
from metawsm.cli.text import cut, one_line
from metawsm.client.errors import ApiError

Row = Mapping[str, Any]
MERGE_STEP = "merge_branch"  # the domain says so, too; its plans bring in attrs, which a reading verb spares
REASON = 160  # columns of a reason; the failed step has all of it


def act(session: Session, path: str, body: Mapping[str, Any], follow: bool, idle: str = "") -> int:
    """Send an action, tell of its steps until they have ended, and say what came of it; `idle` where it has none."""
    try:
        status, answer = session.client.call("POST", path, body=body)
    except ApiError as error:
        if error.code != "close_blocked":
            raise
        tell_refusal(error)
        return ExitCode.CONFLICT
    if status == 202:
        if session.as_json:
            print_json(answer)
        return queued(answer)
    if "plan" in answer:
        return _planned(session, answer)
    return _ended(session, answer, follow, idle)


def _ended(session: Session, answer: Row, follow: bool, idle: str) -> int:
    run = answer["run"]
    indices = [] if run["state"] == "paused" else open_steps(run)  # what is only planned waits for its resume
    if idle and not indices:
        note(idle)
    if indices and follow:
        run = follow_steps(session, run, indices)
        answer = {"run": run}
    if session.as_json:
        print_json(answer)
    else:
        say(run_line(run | {"reason": without_gates(run)} if follow else run))
    return _code(run, indices) if follow else ExitCode.DONE


def run_line(run: Row) -> str:
    """A run in one line."""
    reason = f": {cut(one_line(run['reason']), REASON)}" if run.get("reason") else ""
    where = f"{run['state']}, {run['mode']} round {run['round']} of {', '.join(run['tickets'])}"
    return f"{one_line(run['run_id'])}  {one_line(where)}{reason}"


def _code(run: Row, indices: Collection[int]) -> int:
    """What the steps and the run's state come to; the way on goes to stderr."""
    undone = _undone(run, indices)
    if undone is not None and run["state"] == "completed" and (undone["action"] == "close" or gates_of(undone)):
        tell_step(undone)
        return ExitCode.CONFLICT
    if undone is None and run["state"] != "failed":
        _tell_next(run)
        return ExitCode.DONE
    what = f"step {undone['index']} ({undone['name']}) is {undone['state']}; " if undone else ""
    note(one_line(f"metawsm: {what}run {run['run_id']} is {run['state']}"))
    _tell_next(run)
    return ExitCode.FAILED


def _undone(run: Row, indices: Collection[int]) -> Row | None:
    """The first step of the action that was not done; what a stop found under way is of an earlier one and may fail."""
    followed = [step for step in run["steps"] if step["index"] in indices]
    return next((s for s in followed if s["state"] != "done" and s["action"] == followed[-1]["action"]), None)


def _tell_next(run: Row) -> None:
    for command in run.get("next", ()):
        note(f"next: {one_line(command)}")


def _planned(session: Session, answer: Row) -> int:
    """What a dry run would do."""
    if session.as_json:
        print_json(answer)
        return ExitCode.DONE
    run = answer["run"]
    planned = set(open_steps(run))
    columns = [Column("STEP", key("index")), Column("KIND", key("kind")), Column("WHAT", key("name"), flexible=True)]
    table(columns, [step for step in run["steps"] if step["index"] in planned], "no step would be taken")
    if any(step["kind"] == MERGE_STEP for step in run["steps"] if step["index"] in planned):
        for checkout in session.get(path_of(run["run_id"]))["run"]["checkouts"]:
            note(checkout_line(checkout, run["base"]))
    note(f"nothing was done; run {one_line(run['run_id'])} would be {one_line(run['state'])}")
    return ExitCode.DONE
