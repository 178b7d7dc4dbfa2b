"""Control signals, schema version 1: their fields and what each needs. Source: contract, section 7."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.domain.errors import InvalidFields
from metawsm.domain.names import BODY_LIMIT, text_fault

CONTROL_TYPES = ("guidance_request", "guidance_answer", "completion", "validation")
STATUSES = ("passed", "failed")
TEXTS = ("question", "context", "answer", "summary", "status", "done_criteria", "answers")
NEEDED: dict[str, tuple[str, ...]] = {
    "guidance_request": ("question",),
    "guidance_answer": ("answer",),
    "completion": (),
    "validation": ("status", "done_criteria"),
}
_KNOWN = frozenset({"schema_version", "control_type", "run_id", "agent_name", *TEXTS})


def check_signal(payload: Mapping[str, Any], run_id: str, agent_name: str) -> dict[str, Any]:
    """The signal in its stored form. Raises InvalidFields that names every faulty member as `payload.<member>`."""
    faults: dict[str, list[str]] = {}
    signal = {"schema_version": 1, "run_id": run_id, "agent_name": agent_name, **payload}
    for name in sorted(set(signal) - _KNOWN):
        faults[f"payload.{name}"] = [f"is not known; known are: {', '.join(sorted(_KNOWN))}"]
    _check_head(signal, run_id, agent_name, faults)
    _check_texts(signal, faults)
    if faults:
        raise InvalidFields("the control signal has faults", fields=faults)
    return {name: value for name, value in signal.items() if value is not None}


def _check_head(signal: Mapping[str, Any], run_id: str, agent_name: str, faults: dict[str, list[str]]) -> None:
    version = signal["schema_version"]
    if type(version) is not int or version != 1:
        faults["payload.schema_version"] = ["must be 1"]
    if signal.get("control_type") not in CONTROL_TYPES:
        faults["payload.control_type"] = [f"must be one of: {', '.join(CONTROL_TYPES)}"]
    for name, outer in (("run_id", run_id), ("agent_name", agent_name)):
        if signal[name] != outer:
            faults[f"payload.{name}"] = [f"must agree with the outer {name}, {outer!r}"]


def _check_texts(signal: Mapping[str, Any], faults: dict[str, list[str]]) -> None:
    kind = str(signal.get("control_type"))
    for name in TEXTS:
        value = signal.get(name)
        if value is None:
            if name in NEEDED.get(kind, ()):
                faults[f"payload.{name}"] = [f"is required for {kind}"]
        elif fault := _text_fault(name, value, name in NEEDED.get(kind, ())):
            faults[f"payload.{name}"] = [fault]


def _text_fault(name: str, value: Any, needed: bool) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if fault := text_fault(value):
        return fault
    if len(value.encode()) > BODY_LIMIT:
        return f"must be at most {BODY_LIMIT} bytes of UTF-8"
    if needed and not value.strip():
        return "must not be blank"
    if name == "status" and value not in STATUSES:
        return f"must be one of: {', '.join(STATUSES)}"
    return None
