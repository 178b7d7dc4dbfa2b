"""Writes what the last whole runs of the tests have shown into docs/reliability.md: reliability_page.py JUNIT_XML.

The runs are kept in docs/reliability-runs.json, the newest first.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

sys.path.insert(0, str(Path(__file__).resolve().parent))

import page_parts
from benchmarks.report import hardware

ROOT = Path(__file__).resolve().parents[1]
KEPT = 5  # runs
LIMIT_MINUTES = 40
Run = dict[str, Any]


def read_run(report: Path) -> Run:
    """The figures of one run, by file of the room of faults and by room elsewhere."""
    groups: dict[str, dict[str, float]] = {}
    root = ET.parse(report).getroot()  # noqa: S314 - our own pytest wrote it
    for case in root.iter("testcase"):
        group = groups.setdefault(_group(case.get("classname", "")), dict.fromkeys((*STATES, "seconds"), 0))
        group[_state(case)] += 1
        group["seconds"] += float(case.get("time", 0))
    at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    # Tests run side by side: their times add up to more than the run took.
    minutes = sum(float(suite.get("time", 0)) for suite in root.iter("testsuite")) / 60
    return {"at": at, "minutes": minutes, "machine": hardware(), "groups": dict(sorted(groups.items()))}


STATES = ("passed", "failed", "skipped")


def _state(case: ET.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def _group(classname: str) -> str:
    """The file of a test of faults, the room of any other."""
    parts = [part for part in classname.split(".") if not part.startswith("Test")]
    return f"{'/'.join(parts)}.py" if classname.startswith("tests.faults.") else "/".join(parts[:2])


def page_part(runs: Sequence[Run]) -> str:
    """The text for the page: the runs in short, then the newest one by files."""
    return "\n".join(_lines(runs))


def _lines(runs: Sequence[Run]) -> Iterator[str]:
    yield "| run | tests | passed | failed | skipped | minutes | |"
    yield "|---|---|---|---|---|---|---|"
    for run in runs:
        total = {name: sum(group[name] for group in run["groups"].values()) for name in STATES}
        minutes = run["minutes"]
        tests = sum(total[name] for name in STATES)
        verdict = "green" if not total["failed"] and minutes <= LIMIT_MINUTES else "**red**"
        counts = " | ".join(f"{total[name]:,.0f}" for name in STATES)
        yield f"| {run['at']} | {tests:,.0f} | {counts} | {minutes:.1f} | {verdict} |"
    yield ""
    yield f"The newest run, on {runs[0]['machine']}:"
    yield ""
    yield "| tests | passed | failed | skipped | seconds |"
    yield "|---|---|---|---|---|"
    for name, group in runs[0]["groups"].items():
        counts = " | ".join(f"{group[state]:.0f}" for state in (*STATES, "seconds"))
        yield f"| `{name}` | {counts} |"


def main() -> None:
    """Add the run to those that are kept, and write the page's part."""
    path = ROOT / "docs" / "reliability-runs.json"
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    runs = [read_run(Path(sys.argv[1])), *runs][:KEPT]
    path.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
    page_parts.replace(ROOT / "docs" / "reliability.md", "run", page_part(runs))


if __name__ == "__main__":
    main()
