"""A step of a run in one line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from metawsm.cli.text import one_line

Row = Mapping[str, Any]


def step_line(step: Row, *, leads: bool = True) -> str:
    """A step and where it stands, in one line. `leads`: what it failed on follows."""
    name, state, attempts = one_line(step["name"]), step["state"], step.get("attempts", 0)
    if state == "running":
        return f"{name} ..."
    took = _seconds(step) if state == "done" else ""
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    return f"{name}: {state}{tried}{took}{':' if state == 'failed' and leads else ''}"


def _seconds(step: Row) -> str:
    """How long a step took, if it says so."""
    try:
        begun, ended = (datetime.fromisoformat(step[name]) for name in ("started_at", "ended_at"))
    except KeyError:
        return ""
    return f" in {(ended - begun).total_seconds():.1f} s"
