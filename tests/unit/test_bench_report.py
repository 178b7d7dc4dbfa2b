"""What scripts/bench makes of its results."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.sources import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

asks, figures, plots, report = (import_module(f"benchmarks.{name}") for name in ("asks", "figures", "plots", "report"))

SIDE = {"p50": 1.0, "p99": 3.0, "rate": 1000.0, "p99_over_p50": 3.0, "curve": [float(n) for n in range(1, 101)]}


def result(clients: int, p50: float, rate: float) -> dict[str, Any]:
    """A result of an ask scenario whose daemon answers with these ratios to the floor."""
    daemon = SIDE | {"p50": p50, "rate": 1000.0 * rate}
    return {"clients": clients, "floor": SIDE, "daemon": daemon, "ratios": {"p50": p50, "rate": rate}}


@pytest.mark.parametrize(("p50", "good"), [(3.0, True), (3.1, False)])
def test_latency_is_reached_up_to_three_times_the_floor(p50: float, good: bool) -> None:
    """The verdict of a row follows from its target."""
    row, _ = report.ROWS["ask-1"](result(1, p50, 0.5))
    assert row[-1] is good


@pytest.mark.parametrize(("rate", "good"), [(0.6, True), (0.59, False)])
def test_throughput_is_reached_from_the_share_of_the_floor_on(rate: float, good: bool) -> None:
    """64 clients need 0.6 of the floor."""
    (row,) = report.ROWS["ask-64"](result(64, 2.0, rate))
    assert row[-1] is good


def test_a_page_holds_only_what_was_measured(tmp_path: Path) -> None:
    """Scenarios that never ran are left out, a miss is told plainly, and every picture is well-formed."""
    results = {"ask-8": {"at": "2026-01-01 00:00 UTC", "command": "scripts/bench ask-8", "result": result(8, 2.0, 0.1)}}
    plots.write(results, tmp_path / "images")
    report.write(results, "a machine", tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| asks per second, 8 clients |" in page and "**no**" in page and "64 clients" not in page
    for picture in (tmp_path / "images").iterdir():
        ET.fromstring(picture.read_text())


def test_a_kind_of_question_that_was_not_asked_earlier_is_left_blank(tmp_path: Path) -> None:
    """Sizes are measured one by one: the page is written although the others know fewer kinds."""
    kinds = {"list": {"questions": 2, "p95": 1.0}, "inbox": {"questions": 3, "p95": 2.0}}
    read = {"threads": 100, "questions": 5, "p95": 2.0, "kinds": kinds}
    older = read | {"threads": 20_000, "kinds": {"list": kinds["list"]}}
    results = {
        name: {"at": "2026-01-01 00:00 UTC", "command": f"scripts/bench {name}", "result": result}
        for name, result in (("reads-100", read), ("reads-20000", older))
    }
    report.write(results, "a machine", tmp_path)
    page = (tmp_path / "benchmarks.md").read_text()
    assert "| list | 2 | 1.0 | 1.0 |" in page and "| inbox | 3 | 2.0 |  |" in page


def test_percentiles_of_few_values() -> None:
    """The share is clamped to what is there, and a curve has the number of points asked for."""
    assert figures.at([1.0, 2.0, 3.0], 0.99) == 3.0
    assert figures.at([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert len(asks.curve([1.0, 2.0])) == 100
