"""What bars the closing of a run, each gate with the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from metawsm.cli.output import indented, note
from metawsm.cli.text import one_line
from metawsm.client.errors import ApiError

GATES_STEP = "check_gates"
BLOCKED = "close blocked: "
_GATE = re.compile(r"(.+?) \(mend: (.+?)\)(?:; |$)", re.DOTALL)


def is_blocked(run: Mapping[str, Any]) -> bool:
    """Whether the run's last closing was barred."""
    return run["state"] == "completed" and str(run.get("reason") or "").startswith(BLOCKED)


def tell_refusal(error: ApiError) -> None:
    """The gates that the run itself keeps shut: nothing was begun."""
    gates = [(str(gate.get("text")), str(gate.get("mend"))) for gate in error.details.get("gates", ())]
    _tell(gates, error.message.removeprefix(BLOCKED))


def tell_reason(reason: str) -> None:
    """The gates that were found shut outside of the run, or the step on which its closing failed."""
    rest = reason.removeprefix(BLOCKED)
    _tell(_GATE.findall(rest), rest)


def _tell(gates: Sequence[tuple[str, str]], otherwise: str) -> None:
    note("metawsm: close blocked")
    for text, mend in gates:
        note(f"  - {one_line(text)}")
        note(f"    mend: {one_line(mend)}")
    if not gates:
        note(indented(otherwise))
