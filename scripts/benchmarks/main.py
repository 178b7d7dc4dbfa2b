"""The command behind scripts/bench."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import asks, backlog, plots, reads, rebuilds, report, runs, start, stream
from benchmarks.servers import ROOT

DOCS = ROOT / "docs"
SEEDS = ROOT / "build" / "bench"
Scenario = Callable[[], dict[str, Any]]


def scenarios(quick: bool, seeds: Path) -> dict[str, Scenario]:
    """What can be measured, by name."""
    rounds, seconds = (2, 1.0) if quick else (7, 3.0)
    ask = partial(asks.measure, rounds=rounds, seconds=seconds)
    sizes = (100,) if quick else (100, 20_000, 1_000_000)
    found: dict[str, Scenario] = {f"ask-{clients}": partial(ask, clients) for clients in (1, 8, 64)}
    found |= {f"ask-{clients}-lean": partial(ask, clients, lean=True) for clients in (8, 64)}
    found |= {f"stream-{n}": partial(stream.measure, n, 2.0 if quick else 10.0) for n in (1, 50, 500)}
    found |= {f"reads-{size}": partial(reads.measure, size, seeds, 5 if quick else 40) for size in sizes}
    found["start"] = partial(start.measure, 2 if quick else 7)
    found["backlog"] = partial(backlog.measure, 2_000 if quick else 100_000)
    found["rebuild"] = partial(rebuilds.measure, 100 if quick else 20_000, seeds)
    found["run-status"] = partial(runs.status, 5 if quick else 40)
    found["run-answers"] = partial(runs.answers, 3 if quick else 30)
    found["run-supervision"] = partial(runs.supervise, 2 if quick else 50, 10.0 if quick else 120.0)
    return found


def arguments(names: list[str]) -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measure the built daemon beside its floor. Without --quick the results of the scenarios that ran"
        " replace theirs in docs/benchmarks.json, and docs/benchmarks.md is written from it. Keep the machine idle.",
    )
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help=f"one of {', '.join(names)}; default all")
    parser.add_argument("--quick", action="store_true", help="small and short, nothing is written: does it still run?")
    parser.add_argument("--seeds", type=Path, default=SEEDS, help="where databases of many threads are kept")
    return parser


def main() -> None:
    """Measure what was asked for, tell it, and write it down."""
    parser = arguments(list(scenarios(quick=False, seeds=SEEDS)))
    asked = parser.parse_args()
    known = scenarios(asked.quick, asked.seeds)
    for name in asked.scenario:
        if name not in known:
            parser.error(f"there is no scenario {name}; there are: {', '.join(known)}")
    for name in asked.scenario or known:
        result = known[name]()
        for what, target, got, ratio, good in report.ROWS[name](result):
            print(f"{'reached' if good else 'MISSED '} {what}: {got} {ratio} (reach: {target})", flush=True)
        if not asked.quick:
            _keep(name, result)


def _keep(name: str, result: dict[str, Any]) -> None:
    path = DOCS / "benchmarks.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    results[name] = {"at": moment, "command": f"scripts/bench {name}", "result": result}
    path.write_text(json.dumps(results, indent=1) + "\n")
    plots.write(results, DOCS / "images")
    report.write(results, report.machine(), DOCS)


if __name__ == "__main__":
    main()
