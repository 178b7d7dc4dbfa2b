"""Who may import whom: the contracts of pyproject.toml hold, and no package escapes them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support import sources

FACES = {"tui", "mcp", "__main__"}
"""Packages whose layer already forbids them the drivers, or which only start another."""

OWNERS = {
    "one-owner-apsw": {"storage"},
    "one-owner-redis": {"streams"},
    "one-owner-bottle": {"api"},
    "one-owner-cattrs": {"messages", "policy"},
    "gevent-in-the-daemon": {"daemon", "api", "storage", "streams"},
}


def _contracts() -> dict[str, dict[str, Any]]:
    settings = tomllib.loads((sources.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["id"]: contract for contract in settings["tool"]["importlinter"]["contracts"]}


def test_the_contracts_hold() -> None:
    """import-linter finds no import against the direction, no second owner of a driver, no feature using another."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(linter), "--no-cache"], cwd=sources.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("contract", OWNERS)
def test_no_package_escapes_the_ownership_of_drivers(contract: str) -> None:
    """A new package is under each ownership contract from its first day, or one of the owners."""
    packages = {path.stem for path in (sources.ROOT / "metawsm").iterdir() if path.suffix == ".py" or path.is_dir()}
    packages -= {"__init__", "__pycache__"} | FACES | OWNERS[contract]
    assert {f"metawsm.{name}" for name in packages} <= set(_contracts()[contract]["source_modules"])


def test_the_domain_never_looks_at_the_clock() -> None:
    """What `datetime` offers for that is not called either: `now` is always an argument."""
    calls = [
        f"{sources.name(path)}:{node.lineno}"
        for path in sources.modules("metawsm/domain")
        for node in ast.walk(sources.tree(path))
        if isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"}
    ]
    assert calls == []


def test_programs_are_started_in_one_place() -> None:
    """Whoever needs a program asks `effects`; only the bundled server, which outlives us, is started elsewhere."""
    starts = re.compile(r"\bsubprocess\b|\bposix_spawn|\bos\.(system|popen|exec\w+|fork\w*|spawn\w+)\(")
    starters = {sources.name(path) for path in sources.modules("metawsm") if starts.search(_code(path))}
    assert starters == {"metawsm/effects/program.py", "metawsm/streams/bundled.py"}


def _code(path: Path) -> str:
    """The module as the parser sees it, without its comments and documentation."""
    module = sources.tree(path)
    for node in ast.walk(module):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value = ast.Constant(None)
    return ast.unparse(module)
