"""The messages that stand in the program's text, with `…` where something is filled in."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support import sources

GAP = "…"
TOLD = frozenset({
    "Refused", "Unavailable", "Overloaded", "PolicyError", "OutcomeUnknown", "OutsideError", "ProgramMissing",
    "ProgramFailed", "TimedOut", "Obstructed", "MergeConflict",
})  # fmt: skip
"""Errors whose text is for whoever runs the program; those of a request are in docs/reference/errors.md."""

LOGGED = frozenset({"warning", "error", "exception"})
SHORTEST = 12  # letters; a text with fewer hands on a message of another place
FILLED = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[sdrgf]|\{\w*(?:![rs])?(?::[^}]*)?\}")


def written(node: ast.expr) -> str | None:
    """The text that an expression is known to be, None for anything but a literal."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else GAP for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = (written(node.left) or GAP, written(node.right) or GAP)
        return None if parts == (GAP, GAP) else "".join(parts)
    return None


def with_gaps(text: str) -> str:
    """A text with one `…` for each thing that is filled in, in whatever way, and single blanks."""
    return re.sub(rf"{GAP}+", GAP, " ".join(FILLED.sub(GAP, text).split()))


def all_texts() -> list[str]:
    """Every literal text of the program."""
    found = {
        with_gaps(text)
        for path in sources.modules(*sources.SHIPPED)
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.expr) and (text := written(node))
    }
    return sorted(found)


def failures() -> dict[str, str]:
    """Every text of an error for operators and of a log line that warns, and where it stands."""
    return {
        with_gaps(text): sources.name(path)
        for path in sources.modules(*sources.SHIPPED)
        for text in _told(path)
        if len(re.findall(r"[A-Za-z]", with_gaps(text))) >= SHORTEST
    }


def _told(path: Path) -> Iterator[str]:
    """The literal first arguments of such calls."""
    for node in ast.walk(sources.tree(path)):
        if isinstance(node, ast.Call) and node.args and _tells(node.func) and (text := written(node.args[0])):
            yield text


def _tells(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in TOLD
    if isinstance(function, ast.Attribute) and function.attr in LOGGED and isinstance(function.value, ast.Name):
        return function.value.id.lower().lstrip("_") in ("log", "logger")
    return False
