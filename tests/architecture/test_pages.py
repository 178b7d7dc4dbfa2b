"""The documentation does not point into nothing: links, named files, and the index of the decisions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from metawsm.domain.run_states import AGENTS, RUNS, STEPS
from metawsm.domain.signals import CONTROL_TYPES, NEEDED
from metawsm.domain.states import TRANSITIONS
from tests.support import sources

PAGES = sorted(
    [sources.ROOT / "README.md", sources.ROOT / "CHANGELOG.md", *(sources.ROOT / "docs").rglob("*.md")],
    key=sources.name,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:metawsm|metawsm_start|tests|scripts|docs|requirements)/[\w./-]*)`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=sources.name)
def test_links_resolve(page: Path) -> None:
    """Each link into the repository leads to a file, and its fragment to a heading."""
    dead = []
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, fragment = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (fragment and fragment not in _anchors(file)):
            dead.append(target)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=sources.name)
def test_named_files_exist(page: Path) -> None:
    """Each path of the repository that stands in a page is there."""
    text = page.read_text(encoding="utf-8")
    assert [path for path in NAMED.findall(text) if not (sources.ROOT / path).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    """A decision that nobody finds is lost; a number is used once."""
    folder = sources.ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    decisions = sorted(path.name for path in folder.glob("[0-9]*.md"))
    assert [name for name in decisions if f"]({name})" not in index] == []
    assert len({name[:4] for name in decisions}) == len(decisions)


@pytest.mark.parametrize("picture", sorted((sources.ROOT / "docs").rglob("*.svg")), ids=sources.name)
def test_pictures_can_be_drawn(picture: Path) -> None:
    """Each picture is well-formed XML and says how large it is."""
    root = ET.fromstring(picture.read_text(encoding="utf-8"))
    assert root.tag.endswith("svg")
    assert "viewBox" in root.attrib


def test_the_guide_tells_the_states_and_signals_as_they_are() -> None:
    """The tables of the system guide equal those of the domain."""
    guide = (sources.ROOT / "docs" / "system-guide.md").read_text(encoding="utf-8")
    told = {row[0]: set(row[1]) for row in _rows(guide, "## States")}
    assert told == {state: set(targets) for state, targets in TRANSITIONS.items()}
    needs = {
        row[0]: tuple(name for name in row[1] if name in NEEDED[row[0]]) for row in _rows(guide, "## Control signals")
    }
    assert needs == {kind: NEEDED[kind] for kind in CONTROL_TYPES}


@pytest.mark.parametrize(
    ("heading", "table"),
    [("### States of a run", RUNS), ("### States of a step", STEPS), ("### States of an agent", AGENTS)],
)
def test_the_guide_tells_the_moves_of_runs_as_they_are(heading: str, table: Mapping[str, frozenset[str]]) -> None:
    """Each state of the guide's tables leads where the domain lets it lead."""
    guide = (sources.ROOT / "docs" / "system-guide.md").read_text(encoding="utf-8")
    told = {first.split("`")[0]: set(targets) for first, targets in _rows(guide, heading)}
    assert told == {state: set(targets) for state, targets in table.items()}


def _rows(page: str, heading: str) -> list[tuple[str, list[str]]]:
    """The first table under a heading: the word of each row's first cell, and the words of its second."""
    section = re.split(r"\n##+ ", page.split(f"{heading}\n")[1], maxsplit=1)[0]
    rows = [line.split("|")[1:3] for line in section.splitlines() if line.startswith("| `")]
    return [(first.strip(" `"), re.findall(r"`(\w+)`", second)) for first, second in rows]


def _anchors(page: Path) -> set[str]:
    """The fragments of a page's headings, as they are made from headings on the web."""
    headings = HEADING.findall(page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
