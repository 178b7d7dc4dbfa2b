"""The five rooms of features: one file per feature plus one line in the room's `ALL`."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support import sources

ROOMS = [
    room
    for room in ("commands", "projections", "subscribers", "schedules", "jobs")
    if (sources.ROOT / "metawsm" / room).is_dir()
]


@pytest.mark.parametrize("room", ROOMS)
def test_all_names_each_file_of_the_room_once(room: str) -> None:
    """A feature that is forgotten in `ALL` would silently not exist."""
    folder = sources.ROOT / "metawsm" / room
    files = sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")
    assert sorted(_listed(folder / "__init__.py")) == files


def _listed(init: Path) -> list[str]:
    """The modules that the elements of the tuple `ALL` come from (`open_thread.SPEC` comes from `open_thread`)."""
    for node in sources.tree(init).body:
        target = (
            node.target
            if isinstance(node, ast.AnnAssign)
            else node.targets[0]
            if isinstance(node, ast.Assign)
            else None
        )
        if isinstance(target, ast.Name) and target.id == "ALL":
            assert isinstance(node, ast.AnnAssign | ast.Assign)
            assert isinstance(node.value, ast.Tuple), f"ALL of {sources.name(init)} is not a plain tuple"
            return [_origin(element) for element in node.value.elts]
    return []


def _origin(element: ast.expr) -> str:
    while isinstance(element, ast.Attribute | ast.Call):
        element = element.value if isinstance(element, ast.Attribute) else element.func
    assert isinstance(element, ast.Name), "an element of ALL is not `<module>.<name>`"
    return element.id
