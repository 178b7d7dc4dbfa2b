"""The repository's own text, for the tests that look at how it is written."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SHIPPED = ("metawsm", "metawsm_start")
"""The packages that go into the artifact."""


def modules(*folders: str) -> list[Path]:
    """Every Python file below these folders of the repository, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def tree(path: Path) -> ast.Module:
    """The parsed module."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name(path: Path) -> str:
    """The file's path inside the repository."""
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """All functions and methods of a module, nested ones included."""
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef))


def texts() -> Iterator[tuple[str, str]]:
    """(path, text) of every text file that belongs to the repository; made, hidden and locked ones are left out."""
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        if inside.parts[0] in {"build", "dist"} or any(part in _MADE or _hidden(part) for part in inside.parts):
            continue
        if path.is_file() and not path.is_symlink():
            try:
                yield inside.as_posix(), path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


_MADE = {"__pycache__", "node_modules"}


def _hidden(part: str) -> bool:
    return part.startswith(".") and part not in {".ci", ".gitignore"}
