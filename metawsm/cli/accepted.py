"""What a verb says of a write that the daemon keeps and has not done yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.output import note
from metawsm.cli.text import one_line


def queued(answer: Mapping[str, Any]) -> int:
    """The command is kept and not yet handled, or not yet to be read: say how to look."""
    command = answer.get("command", {})
    status = one_line(command.get("status", "queued"))
    told = "applied but not to be read yet" if status == "applied" else f"accepted but still {status}"
    note(f"metawsm: {told}: command {one_line(command.get('id', ''))}")
    note(
        f"  look with `metawsm.pyz forum command --command-id {one_line(command.get('id', ''))}`;"
        " `metawsm.pyz forum debug` says what it may wait for"
    )
    return ExitCode.QUEUED
