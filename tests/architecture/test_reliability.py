"""docs/reliability.md names tests that exist, and every test file of the room of faults."""

from __future__ import annotations

import ast
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.support import sources

sys.path.insert(0, str(sources.ROOT / "scripts"))

page_parts = import_module("page_parts")

PAGE = (sources.ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids="::".join)
def test_each_named_test_exists(file: str, test: str) -> None:
    """A row of a table is worth its test."""
    path = sources.ROOT / file
    assert path.exists()
    assert not test or test in _names(path)


def _names(path: Path) -> set[str]:
    return {node.name for node in ast.walk(sources.tree(path)) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_each_file_of_faults_is_named() -> None:
    """A test that the page does not know of shows nothing to anybody."""
    files = {sources.name(path) for path in (sources.ROOT / "tests" / "faults").glob("test_*.py")}
    assert files - {file for file, _ in NAMED} == set()


def test_each_row_names_a_test() -> None:
    """Every fault and promise of the tables stands beside what shows it."""
    tables = PAGE.split("\n## Runs", maxsplit=1)[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ") and "shown by" not in line]
    assert [row for row in rows if "`tests/" not in row and "(#soak)" not in row] == []


@pytest.mark.parametrize("part", ["run", "soak"])
def test_written_parts_can_be_replaced(part: str, tmp_path: Path) -> None:
    """The marks of the parts that scripts write are there, once each."""
    copy = tmp_path / "page.md"
    copy.write_text(PAGE, encoding="utf-8")
    page_parts.replace(copy, part, "new text")
    text = copy.read_text(encoding="utf-8")
    assert text.count(f"<!-- {part}: begin -->\nnew text\n<!-- {part}: end -->") == 1
