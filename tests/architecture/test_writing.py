"""How the repository is written: documented, speaking of itself alone, and without stand-ins."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import sources

UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|place" r"holder)\b", re.IGNORECASE)
MACHINE = re.compile(r"(?<![\w.~}*])/(?:ro" r"ot|wo" r"rk|ho" r"me)/[\w.]")
REGISTRY = re.compile("py" r"pi\.(org|python)|python" r"hosted\.org|np" r"mjs\.org|/si" "mple/")
STAND_INS = re.compile(r"unittest\.mo" r"ck|import mo" r"ck\b|fake" r"redis|monkey" r"patch\.setattr|Magic" "Mock")

PYTHON = {path: text for path, text in sources.texts() if path.endswith(".py")}


@pytest.mark.parametrize("path", [*sources.modules(*sources.SHIPPED), sources.ROOT / "build.py"], ids=sources.name)
def test_everything_public_says_what_it_is(path: Path) -> None:
    """Each public class and function has a docstring, each module that has code says what it is for."""
    module = sources.tree(path)
    silent = [name for name, node in _public(module) if ast.get_docstring(node) is None]
    if module.body and ast.get_docstring(module) is None:
        silent.append("the module")
    assert silent == []


def test_tests_say_what_they_show() -> None:
    """Each test has a sentence of its own."""
    silent = [
        f"{sources.name(path)}:{function.name}"
        for path in sources.modules("tests")
        for function in sources.functions(path)
        if function.name.startswith("test_") and ast.get_docstring(function) is None
    ]
    assert silent == []


def test_nothing_is_left_unfinished() -> None:
    """Code carries no note about work somebody should do some day."""
    assert _found(UNFINISHED, PYTHON) == []


def test_no_path_of_one_machine_and_no_registry() -> None:
    """The repository works wherever it is cloned to, with whatever package index is configured."""
    texts = dict(sources.texts())
    assert _found(MACHINE, texts) + _found(REGISTRY, texts) == []


def test_tests_use_the_real_thing() -> None:
    """Nothing in the tests stands in for SQLite, Redis, sockets or the product itself."""
    assert _found(STAND_INS, {path: text for path, text in PYTHON.items() if path.startswith("tests/")}) == []


def _public(scope: ast.Module | ast.ClassDef) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef]]:
    """Public classes and functions of a module, and the public methods of its public classes."""
    for node in scope.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                yield from ((f"{node.name}.{name}", part) for name, part in _public(node))


def _found(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    """`path:line: text` of every line that matches."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line)
    ]
