"""How big things are: what fits a screen gets read."""

from __future__ import annotations

import ast
from pathlib import Path
from statistics import median

import pytest

from tests.support import sources

LENGTHS = {
    f"{sources.name(path)}:{function.name}": function
    for path in sources.modules(*sources.SHIPPED)
    for function in sources.functions(path)
}


@pytest.mark.parametrize(
    "path", [*sources.modules(*sources.SHIPPED, "tests"), sources.ROOT / "build.py"], ids=sources.name
)
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    """A longer module has more than one reason to change."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_functions_are_short() -> None:
    """Half of all functions fit ten lines, and at most two in a hundred are longer than thirty."""
    lengths = {name: _lines(function) for name, function in LENGTHS.items()}
    long = sorted(f"{name} ({lines})" for name, lines in lengths.items() if lines > 30)
    assert median(lengths.values()) <= 10
    assert len(long) <= len(lengths) * 0.02, long


def test_no_function_is_longer_than_sixty_lines() -> None:
    """A few long functions are allowed, endless ones are not."""
    assert [name for name, function in LENGTHS.items() if _lines(function) > 60] == []


def _lines(function: ast.FunctionDef) -> int:
    """Lines from `def` to the end, without the docstring."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    said = function.body[0]
    return whole - ((said.end_lineno or said.lineno) - said.lineno + 1)
