"""An event in one line: of a thread, of a run, of a step, of an agent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from metawsm.cli.text import cut, one_line

Row = Mapping[str, Any]
SUMMARY = 100
SCOPE = ("ticket", "run_id", "agent_name")


def line(event: Row, scope: Sequence[str] = SCOPE) -> str:
    """An event in one line: sequence, time, type, thread, scope, actor, and what it says.

    `scope` are the members of the envelope that stand for what it belongs to.
    """
    envelope = event.get("envelope", {})
    place = "/".join(str(envelope[name]) for name in scope if envelope.get(name))
    actor = ":".join(str(envelope[name]) for name in ("actor_type", "actor_name") if envelope.get(name))
    head = (
        f"#{event.get('sequence')} {str(envelope.get('occurred_at', ''))[11:19]} {envelope.get('event_type')}"
        f" {envelope.get('thread_id', '')} {place} {actor}"
    )
    said = summary(str(envelope.get("event_type")), event.get("payload") or {})
    return f"{one_line(head)}  {cut(one_line(said), SUMMARY)}".rstrip()


def summary(kind: str, payload: Row) -> str:
    """What an event of this type says, in a few words."""
    told = OF_RUNS.get(kind)
    if told is not None:
        return told(payload)
    signal = payload.get("signal")
    if isinstance(signal, Mapping):
        texts = (signal.get(name) for name in ("question", "answer", "summary", "done_criteria"))
        return f"{signal.get('control_type')} {next(filter(None, texts), '')}"
    if "to_state" in payload:
        return _moved(payload)
    if "to_priority" in payload:
        return f"{payload.get('from_priority')} -> {payload['to_priority']}"
    if "reader_name" in payload:
        return receipt(payload)
    for name in ("title", "body", "to_assignee_name", "reason", "error"):
        if payload.get(name):
            return str(payload[name])
    return ""


def receipt(payload: Row) -> str:
    """What a receipt says: an answer was delivered, or read."""
    how = payload.get("how")
    return f"delivered to {payload['reader_name']} ({how})" if how else f"read by {payload['reader_name']}"


def _moved(payload: Row) -> str:
    """From state to state, and why."""
    why = payload.get("error") or payload.get("reason")
    return f"{payload.get('from_state')} -> {payload.get('to_state')}" + (f": {why}" if why else "")


def _created(payload: Row) -> str:
    agents, steps = (len(payload.get(name, ())) for name in ("agents", "steps"))
    over = f"{', '.join(payload.get('tickets', ()))} over {', '.join(payload.get('repos', ()))}"
    return f"{payload.get('mode')} of {over}: {_count(agents, 'agent')}, {_count(steps, 'step')}"


def _steps_added(payload: Row) -> str:
    return f"{payload.get('action')}: {_count(len(payload.get('steps', ())), 'step')}"


def _round_started(payload: Row) -> str:
    agents, feedback = ", ".join(payload.get("agents", ())), payload.get("feedback")
    begun = f"{payload.get('action')}: round {payload.get('round')} of {agents}"
    return f"{begun}: {feedback}" if feedback else begun


def _guidance_changed(payload: Row) -> str:
    waits = payload.get("open_requests")
    return f"{payload.get('agent')} " + (f"waits for {_count(waits, 'answer')}" if waits else "waits no more")


def _signal_recorded(payload: Row) -> str:
    parts = ("agent", "control_type", "status", "done_criteria")
    return " ".join(str(payload[name]) for name in parts if payload.get(name))


def _step_moved(payload: Row) -> str:
    return f"{payload.get('step')} {payload.get('name')}: {_moved(payload)}"


def _agent_moved(payload: Row) -> str:
    code, moved = payload.get("exit_code"), _moved(payload)
    unsaid = code is not None and "exit code" not in moved
    return f"{payload.get('agent')}: {moved}" + (f" (exit code {code})" if unsaid else "")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


OF_RUNS: dict[str, Callable[[Row], str]] = {
    "run.created": _created,
    "run.steps.added": _steps_added,
    "run.round.started": _round_started,
    "run.guidance.changed": _guidance_changed,
    "run.signal.recorded": _signal_recorded,
    "step.state.changed": _step_moved,
    "agent.state.changed": _agent_moved,
}
"""Events that need words of their own; those that move a state (`run.state.changed`, too) say so by their members."""
