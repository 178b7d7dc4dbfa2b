"""What bars the closing of a run, or its merging, each gate with the command that mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metawsm.cli.output import indented, note
from metawsm.cli.text import one_line
from metawsm.client.errors import ApiError

GATES_STEP = "check_gates"  # the domain says so, too; its plans bring in attrs, which a reading verb spares
BLOCKED = "close blocked"
Gates = Sequence[Mapping[str, Any]]


def tell_refusal(error: ApiError) -> None:
    """The gates that the run itself keeps shut: nothing was begun."""
    _tell("close", error.details.get("gates", ()), error.message)


def tell_step(step: Mapping[str, Any]) -> None:
    """The gates that a step found shut, or what else it failed on."""
    _tell(step["action"], gates_of(step), f"{step['name']}: {step.get('error', step['state'])}")


def gates_of(step: Mapping[str, Any]) -> Gates:
    """The gates that a step found shut."""
    found: Gates = (step.get("result") or {}).get("gates", ())
    return found


def without_gates(run: Mapping[str, Any]) -> str:
    """A run's reason in one line; of a blocked closing not what blocks it, which is told by itself."""
    reason = one_line(run.get("reason") or "")
    return BLOCKED if reason.startswith(f"{BLOCKED}:") else reason


def _tell(action: str, gates: Gates, otherwise: str) -> None:
    note(f"metawsm: {action} blocked")
    for gate in gates:
        note(f"  - {one_line(gate.get('text'))}")
        note(f"    mend: {one_line(gate.get('mend'))}")
    if not gates:
        note(indented(otherwise))
