"""From a soak's result to the page's part and its charts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import charts

from soaking.verdict import Sample, around

CHARTS: tuple[tuple[str, str, dict[str, str], int], ...] = (
    ("memory", "Memory of the daemon (MB)", {"resident": "rss_mb", "proportional": "pss_mb"}, 0),
    ("handles", "File handles and threads", {"handles": "files", "threads": "threads"}, 0),
    ("outbox", "Rows not done in the outbox", {"pending": "pending", "sent": "sent"}, 0),
    ("streams", "Entries in Redis", {"feed": "feed", "commands": "commands"}, 0),
    ("files", "Files (MB)", {"WAL": "wal_mb", "database": "database_mb"}, 0),
    ("latency", "Writes: answered within (ms)", {"p50": "p50_ms", "p99": "p99_ms"}, 0),
    ("work", "Writes a second, and processor (%)", {"writes": "answers", "processor": "cpu_percent"}, 0),
)
COLUMNS = {
    "MB resident": ("rss_mb", 0),
    "MB proportional": ("pss_mb", 0),
    "handles": ("files", 0),
    "outbox: not done": ("undone", 0),
    "outbox: rows": ("forum_outbox_rows", 0),
    "feed": ("feed", 0),
    "commands": ("commands", 0),
    "WAL MB": ("wal_mb", 1),
    "database MB": ("database_mb", 0),
    "p50 ms": ("p50_ms", 1),
    "p99 ms": ("p99_ms", 0),
    "CPU %": ("cpu_percent", 0),
}
Result = dict[str, Any]


def draw(result: Result, folder: Path) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    marks = [fault["at"] for fault in result["faults"]]
    for name, title, lines, digits in CHARTS:
        series = {label: _points(result["samples"], key) for label, key in lines.items()}
        (folder / f"soak-{name}.svg").write_text(charts.over_time(title, series, marks, digits), encoding="utf-8")


def _points(samples: Sequence[Sample], key: str) -> list[tuple[float, float]]:
    return [(sample["at"], sample[key]) for sample in samples if key in sample]


def page_part(result: Result) -> str:
    """The text between the marks of docs/reliability.md."""
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    verdict = "passed" if all(check["good"] for check in result["checks"]) else "**failed**"
    yield f"`{result['command']}` on {result['at']}: {verdict}. {result['machine']}"
    yield ""
    yield _load(result)
    yield ""
    yield "| what | bound | measured | |"
    yield "|---|---|---|---|"
    for check in result["checks"]:
        good = "yes" if check["good"] else "**no**"
        yield f"| {check['what']} | {check['bound']} | {check['got']} | {good} |"
    yield ""
    for name, title, *_ in CHARTS:
        yield f"![{title}](images/soak-{name}.svg)"
        yield ""
    yield "Thin red strokes are faults: " + _faults(result) + "."
    yield ""
    yield from _table(result["samples"])


def _load(result: Result) -> str:
    told = result["load"]
    return (
        f"{told['rate']:g} writes a second were wished for, 150 times the one a second that is expected of a busy"
        f" team; {told['applied']:,} writes were applied, {told['rejected']:,} rejected. {told['unclear']:,} answers"
        f" did not tell the outcome, which a retry with the same key settled. {told['external']:,} commands came from"
        f" another program through Redis. Each of {told['followers']} followers of the stream got all"
        f" {told['events']:,} events once and in order."
    )


def _faults(result: Result) -> str:
    count = Counter(fault["name"].replace("_", " ") for fault in result["faults"])
    return ", ".join(f"{name} {times}x" for name, times in sorted(count.items())) or "none"


def _table(samples: Sequence[Sample]) -> Iterator[str]:
    """A row for every minute: medians over its last twenty seconds."""
    yield "| minute | " + " | ".join(COLUMNS) + " |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    told = [sample | _undone(sample) for sample in samples]
    for minute in range(1, int(samples[-1]["at"] // 60) + 1):
        cells = [_cell(around(told, key, minute * 60 - 20, minute * 60), digits) for key, digits in COLUMNS.values()]
        yield f"| {minute} | " + " | ".join(cells) + " |"


def _undone(sample: Sample) -> Sample:
    return {"undone": sample["pending"] + sample["sent"]} if "pending" in sample else {}


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
