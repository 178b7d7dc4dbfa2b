"""Following what an action does to a run: its steps, as they begin and end, until none is under way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metawsm.cli.forum_watch import Told
from metawsm.cli.output import indented, note
from metawsm.cli.run_gates import GATES_STEP
from metawsm.cli.run_selector import path_of
from metawsm.cli.session import Session
from metawsm.cli.step_line import step_line
from metawsm.client.errors import DaemonUnreachable
from metawsm.client.feed import Feed

Row = Mapping[str, Any]


def open_steps(run: Row) -> list[int]:
    """The steps that an action has just brought about: those under way, and those that wait for them."""
    return [step["index"] for step in run["steps"] if step["state"] in ("pending", "running")]


def follow_steps(session: Session, run: Row, indices: Sequence[int]) -> Row:
    """Tell of these steps on stderr until none of them is under way, and return the run as it is then."""
    steps = Steps(indices)
    steps.tell(run)
    if not steps.busy(run):
        return run
    try:
        for look in _looks(session, run):
            steps.tell(look)
            if not steps.busy(look):
                return look
    except (KeyboardInterrupt, DaemonUnreachable):
        note(f"the run goes on without you; follow it with `metawsm.pyz watch --run-id {run['run_id']}`")
        raise
    raise AssertionError("the feed does not end by itself")


def _looks(session: Session, run: Row) -> Iterator[Row]:
    """The run, anew after each of its events; and at each heartbeat, in case a look was lost with the daemon."""
    feed = Feed(session.client, {"run_id": run["run_id"]}, run["last_event_sequence"], Told())
    for frame in feed.frames():
        if frame.get("type") in ("hello", "forum.events", "reset", "heartbeat"):
            try:
                yield session.get(path_of(run["run_id"]))["run"]
            except DaemonUnreachable:
                continue  # the feed comes back, and says hello


class Steps:
    """What was told of some steps."""

    def __init__(self, indices: Sequence[int]) -> None:
        self._places = {index: place for place, index in enumerate(indices, 1)}
        self._told: dict[int, str] = {}

    def tell(self, run: Row) -> None:
        """Note each step that has begun or ended since."""
        for step in self._mine(run):
            state = step["state"]
            if state != self._told.get(step["index"], "pending"):
                self._told[step["index"]] = state
                leads = step["kind"] != GATES_STEP  # whose gates are told one by one in the end
                note(f"[{self._places[step['index']]}/{len(self._places)}] {step_line(step, leads=leads)}")
                if state == "failed" and leads:
                    note(indented(step.get("error", "")))
                for text in (step.get("result") or {}).get("notes", ()):
                    note(indented(text))

    def busy(self, run: Row) -> bool:
        """Whether one of the steps is under way."""
        return any(step["state"] == "running" for step in self._mine(run))

    def _mine(self, run: Row) -> list[Row]:
        return [step for step in run["steps"] if step["index"] in self._places]
