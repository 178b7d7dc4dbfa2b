"""What scripts/soak makes of its samples and its ledger, and what scripts/reliability makes of a run."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.support.sources import ROOT

sys.path.insert(0, str(ROOT / "scripts"))

charts, ledgers, report, verdict, reliability_page = (
    import_module(name)
    for name in ("charts", "soaking.ledger", "soaking.report", "soaking.verdict", "reliability_page")
)

TAG = "soak-" + "0123456789abcdef" * 2


def life(pid: int, begin: int, end: int, memory: list[float]) -> list[dict[str, Any]]:
    """A sample a second of one process whose memory goes through these values evenly."""
    seconds = range(begin, end)
    values = [memory[(at - begin) * len(memory) // len(seconds)] for at in seconds]
    return [{"at": float(at), "pid": pid, "rss_mb": value} for at, value in zip(seconds, values, strict=True)]


def test_growth_is_told_within_the_last_process() -> None:
    """What an earlier process held does not count; nor does the first minute of the last."""
    samples = life(1, 0, 100, [500.0]) + life(2, 100, 400, [50.0, 100.0, 100.0, 110.0, 120.0])
    assert verdict.growth(samples, "rss_mb") == (100.0, 120.0)


def test_growth_of_a_short_life_is_not_told() -> None:
    """Less than the first minute and a span behind it says nothing, and that is not taken for good."""
    samples = life(1, 0, 70, [100.0])
    assert verdict.growth(samples, "rss_mb") is None
    told = {check.what: check for check in verdict.checks(samples, [], [], 1000, 1.0)}
    assert not told["memory, resident: at the end over after the first minute"].good


@pytest.mark.parametrize(("last", "good"), [(120.0, True), (121.0, False)])
def test_memory_may_grow_by_a_fifth(last: float, good: bool) -> None:
    """The bound of the memory's growth."""
    checks = verdict.checks(life(1, 0, 300, [100.0, 100.0, last]), [], [], 1000, 1.0)
    assert next(check for check in checks if check.what.startswith("memory, resident")).good is good


def test_growth_is_measured_while_there_is_load() -> None:
    """What is given back when the clients have gone hides no growth."""
    samples = life(1, 0, 300, [100.0, 100.0, 130.0]) + life(1, 300, 400, [50.0])
    told = verdict.checks(samples, [], [], 1000, 1.0, 300.0)
    assert next(check for check in told if check.what.startswith("memory, resident")).got.endswith("1.30")


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"wal_mb": 65.0}, "write-ahead log"),
        ({"feed": 1100}, "entries in the feed"),
        ({"pending": 1, "sent": 0}, "rows not done"),
    ],
)
def test_each_bound_is_looked_at(change: dict[str, Any], broken: str) -> None:
    """One value out of its bound breaks its own check and no other."""
    whole = {"rss_mb": 1.0, "pss_mb": 1.0, "files": 9, "wal_mb": 64.0, "feed": 1065, "pending": 0, "sent": 0}
    samples = [sample | whole for sample in life(1, 0, 100, [1.0])]
    assert all(check.good for check in verdict.checks(samples, [], [1.9], 1000, 1.0))
    samples[-1] |= change
    assert next(c.what for c in verdict.checks(samples, [], [1.9], 1000, 1.0) if not c.good).startswith(broken)


@pytest.mark.parametrize("recoveries", [[2.1], [0.1, None]])
def test_recovery_takes_two_seconds_at_most(recoveries: list[float | None]) -> None:
    """One that took longer, or never came, breaks the check."""
    checks = verdict.checks([], [], recoveries, 1000, 1.0)
    assert not checks[-1].good


def test_the_ledger_counts_commands_and_not_mentions() -> None:
    """An answer makes two events of one command; two commands with one text are one too many."""
    events = [("c1", f'{{"body":"{TAG}"}}'), ("c1", f'{{"reason":"{TAG}"}}')]
    assert ledgers.times_applied(events) == {TAG: 1}
    assert ledgers.times_applied([*events, ("c2", TAG)]) == {TAG: 2}


@pytest.mark.parametrize(
    ("status", "exact", "events", "good"),
    [
        (201, True, [("c1", TAG)], True),
        (201, True, [], False),
        (201, True, [("c1", TAG), ("c2", TAG)], False),
        (200, False, [], True),
        (409, True, [], True),
        (409, True, [("c1", TAG)], False),
        (202, True, [("c1", TAG)], False),
        (0, True, [], False),
        (429, True, [], False),
    ],
)
def test_the_ledgers_reckoning(status: int, exact: bool, events: list[tuple[str, str]], good: bool) -> None:
    """Accepted once, rejected never, a no-op at most once, and nothing unclear at the end."""
    ledger = ledgers.Ledger()
    ledger.answered(ledgers.Entry(TAG, "/forum/threads", b"{}", exact), status)
    assert (ledger.faults(events) == []) is good


def test_an_unclear_answer_is_settled_by_the_next() -> None:
    """The last answer counts."""
    ledger, entry = ledgers.Ledger(), ledgers.Entry(TAG, "/forum/threads", b"{}")
    for status in (0, 202, 201):
        ledger.answered(entry, status)
    assert ledger.unsettled() == [] and ledger.unclear == 2
    assert ledger.faults([("c1", TAG)]) == []


def test_an_external_command_is_applied_once() -> None:
    """What another program put into Redis is looked for as well."""
    ledger = ledgers.Ledger()
    ledger.published(TAG, b"{}")
    assert ledger.faults([]) and not ledger.faults([("c1", TAG)])


def test_charts_are_pictures() -> None:
    """Lines over time, with and without values and marks, are well-formed and stay inside the frame."""
    every: tuple[dict[str, list[tuple[float, float]]], ...] = (
        {},
        {"a": []},
        {"a": [(0.0, 0.0)], "b": [(0.0, 1.0), (60.0, 5.0)]},
    )
    for series in every:
        picture = ET.fromstring(charts.over_time("Title", series, [30.0, 90.0]))
        points = [pair.split(",") for line in picture.iter() for pair in line.get("points", "").split()]
        assert all(charts.LEFT <= float(x) <= charts.WIDTH and 0 <= float(y) <= charts.HEIGHT for x, y in points)


def test_the_page_tells_a_soak_that_failed() -> None:
    """A broken bound is said first, and a minute without a value is left empty."""
    samples = life(1, 0, 130, [10.0])
    checks = [{"what": "w", "bound": "b", "got": "g", "good": False}]
    load = {"rate": 150.0, "applied": 5, "rejected": 1, "unclear": 2, "external": 3, "followers": 4, "events": 9}
    result = {"command": "scripts/soak 2", "at": "today", "machine": "A machine.", "checks": checks, "load": load}
    page = report.page_part(result | {"faults": [{"name": "kill_redis", "at": 9.0}], "samples": samples})
    assert "**failed**" in page and "kill redis 1x" in page
    assert "| 1 | 10 |  |" in page and "| 2 | 10 |" in page and "| 3 |" not in page


def test_a_run_is_told_by_files_and_rooms(tmp_path: Path) -> None:
    """Failed and skipped tests are counted where they are; a class's tests belong to its file."""
    xml = tmp_path / "run.xml"
    xml.write_text(
        '<testsuites><testsuite time="120"><testcase classname="tests.faults.test_a.TestX" name="t" time="1.5"/>'
        '<testcase classname="tests.faults.test_a" name="u" time="1"><failure/></testcase>'
        '<testcase classname="tests.unit.test_b" name="v" time="0.1"><skipped/></testcase></testsuite></testsuites>'
    )
    run = reliability_page.read_run(xml)
    assert run["groups"]["tests/faults/test_a.py"] == {"passed": 1, "failed": 1, "skipped": 0, "seconds": 2.5}
    assert run["groups"]["tests/unit"]["skipped"] == 1
    page = reliability_page.page_part([run])
    assert "| 3 | 1 | 1 | 1 | 2.0 | **red** |" in page and "| `tests/unit` | 0 | 0 | 1 | 0 |" in page
