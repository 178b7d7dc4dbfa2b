"""Whether a soak went well: figures from samples, each with its bound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from attrs import frozen

Sample = dict[str, Any]
SETTLED = 60.0  # seconds of a process's life after which its memory is taken as a base
SPAN = 20.0  # seconds over which a median is taken
GROWTH = 1.2
WAL_MB = 64.0  # the length from which health speaks of an alarm
TRIM_SECONDS = 65.0  # between two trims of the streams, and some more
RECOVERY = 2.0


@frozen
class Check:
    """One line of the verdict."""

    what: str
    bound: str
    got: str
    good: bool


def around(samples: Sequence[Sample], name: str, begin: float, end: float) -> float | None:
    """The median of a value over a span of seconds; None without one."""
    values = [sample[name] for sample in samples if begin <= sample["at"] <= end and name in sample]
    return median(values) if values else None


def highest(samples: Iterable[Sample], name: str) -> float:
    """The highest value seen; 0 without one."""
    return max((sample[name] for sample in samples if name in sample), default=0)


def life(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of the last process: the daemon was killed and started again before."""
    pids = [sample["pid"] for sample in samples if "pid" in sample]
    return [sample for sample in samples if pids and sample.get("pid") == pids[-1]]


def growth(samples: Sequence[Sample], name: str) -> tuple[float, float] | None:
    """The value after the first minute of the last process, and at its end; None if it lived too short."""
    mine = life(samples)
    if not mine or mine[-1]["at"] - mine[0]["at"] < SETTLED + SPAN:
        return None
    begun, ended = mine[0]["at"], mine[-1]["at"]
    first = around(mine, name, begun + SETTLED - SPAN / 2, begun + SETTLED + SPAN / 2)
    last = around(mine, name, ended - SPAN, ended)
    return None if first is None or last is None else (first, last)


def checks(
    samples: Sequence[Sample],
    wrong: Sequence[str],
    recoveries: Sequence[float | None],
    most_entries: int,
    rate: float,
    load_ended: float = math.inf,
) -> list[Check]:
    """Everything that has to hold. `rate` is how many entries a second the feed gets at most.

    Growth is measured while there is load: what clients held is gone behind it.
    """
    feed = most_entries + rate * TRIM_SECONDS
    loaded = [sample for sample in samples if sample["at"] <= load_ended]
    return [
        Check("ledger, order, read models, integrity", "no fault", f"{len(wrong)} faults", not wrong),
        *(_growing(loaded, name, label, unit) for name, label, unit in GROWING),
        _below(samples, "wal_mb", "write-ahead log", WAL_MB, "MB"),
        _below(samples, "feed", "entries in the feed", feed, ""),
        _below(samples, "commands", "entries in all command streams", feed, ""),
        _undone(samples),
        _recovered(recoveries),
    ]


GROWING = (
    ("rss_mb", "memory, resident", "MB"),
    ("pss_mb", "memory, proportional", "MB"),
    ("files", "file handles", ""),
)


def _growing(samples: Sequence[Sample], name: str, label: str, unit: str) -> Check:
    what = f"{label}: at the end over after the first minute"
    found = growth(samples, name)
    if found is None:
        return Check(what, "at most 1.2", "the last process lived too short to tell", False)
    first, last = found
    got = f"{last:,.0f} over {first:,.0f} {unit}".strip() + f" = {last / first:.2f}"
    return Check(what, f"at most {GROWTH:g}", got, last <= first * GROWTH)


def _below(samples: Sequence[Sample], name: str, label: str, bound: float, unit: str) -> Check:
    got = highest(samples, name)
    return Check(f"{label}: most", f"at most {bound:,.0f} {unit}".strip(), f"{got:,.0f} {unit}".strip(), got <= bound)


def _undone(samples: Sequence[Sample]) -> Check:
    last = next((s for s in reversed(samples) if "pending" in s), {"pending": -1, "sent": -1})
    left = last["pending"] + last["sent"]
    return Check("rows not done after the load", "0", f"{left}", left == 0)


def _recovered(recoveries: Sequence[float | None]) -> Check:
    known = [seconds for seconds in recoveries if seconds is not None]
    got = f"at most {max(known, default=0):.1f} s after {len(recoveries)} faults"
    good = len(known) == len(recoveries) and all(seconds <= RECOVERY for seconds in known)
    return Check("healthy again after the end of a fault", f"{RECOVERY:g} s", got, good)
