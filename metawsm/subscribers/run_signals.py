"""Signals and answers on an agent's control thread reach its run, by whatever surface they came."""

from __future__ import annotations

from typing import Any

from metawsm.bus.reactions import Reaction, SubscriberSpec
from metawsm.domain.events import ControlSignal, PostAdded, StateChanged, ThreadClosed

_REPORTS = ("completion", "validation")


def react(reaction: Reaction) -> None:
    """Tell the run that its agent's control thread has changed."""
    head, fact = reaction.event.envelope, reaction.event.fact
    if not (head.run_id and head.agent_name and str(head.thread_id).startswith("fctrl-")):
        return
    if isinstance(fact, StateChanged) and fact.from_state != "closed":  # only a reopening is news of its own
        return
    if isinstance(fact, PostAdded) and fact.kind != "answer":
        return
    if reaction.run(head.run_id) is None:
        return
    about = {"run_id": head.run_id, "agent_name": head.agent_name, "thread_id": head.thread_id}
    body: dict[str, Any] = {**about, "sequence": reaction.event.sequence}
    reports = isinstance(fact, ControlSignal) and fact.signal.get("control_type") in _REPORTS
    reaction.send("follow_control", body | ({"signal": fact.signal} if reports else {}))  # type: ignore[union-attr]


SPEC = SubscriberSpec(
    name="run_signals",
    types=frozenset({ControlSignal.TYPE, PostAdded.TYPE, StateChanged.TYPE, ThreadClosed.TYPE}),
    react=react,
)
