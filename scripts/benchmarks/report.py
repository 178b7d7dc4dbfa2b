"""From results to docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Results = dict[str, dict[str, Any]]
Row = tuple[str, str, str, str, bool]  # what, target, measured, ratio to the floor, reached

HEAD = """# Benchmarks

Written by `scripts/bench`; `scripts/bench --help` says how. Floor and daemon run side by side in the same minutes,
round by round in turn, and are asked by the same client in a process of its own, on the same machine. The floor is a
bare endpoint over stock gevent.pywsgi and bottle (TCP_NODELAY, no log) that commits one row with `synchronous=FULL` and
group commit. The daemon does two such commits for a question (accepted; handled and projected) and carries it through
Redis in between. Figures are medians over the rounds unless a percentile is named; ratios are medians of neighbouring
rounds.
"""


def write(results: Results, machine: str, folder: Path) -> None:
    """Write the page; scenarios that never ran are left out."""
    rows = [row for name, made in ROWS.items() if name in results for row in made(results[name]["result"])]
    lines = [HEAD, f"Machine: {machine}.\n", "| what | reach | measured | to the floor | |", "|---|---|---|---|---|"]
    lines += [
        f"| {what} | {target} | {got} | {ratio} | {'yes' if good else '**no**'} |"
        for what, target, got, ratio, good in rows
    ]
    lines += [
        "",
        "![Latency of one client](images/bench-latency.svg)",
        "",
        "![Throughput](images/bench-throughput.svg)",
        "",
    ]
    lines += list(_reads(results))
    lines += ["## When and how", "", "| scenario | measured at | command |", "|---|---|---|"]
    lines += [f"| {name} | {each['at']} | `{each['command']}` |" for name, each in sorted(results.items())]
    (folder / "benchmarks.md").write_text("\n".join(lines) + "\n")


def machine() -> str:
    """What it ran on."""
    return f"{hardware()} for the backlog and the bundled Valkey elsewhere"


def hardware() -> str:
    """Processor, memory, system, Python, and the Redis server that is installed."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    redis = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout.split()
    version = next((part[2:] for part in redis if part.startswith("v=")), "none")
    return (
        f"{os.cpu_count()} x {cpu}, {memory:.0f} GB, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, redis-server {version}"
    )


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def _one(result: dict[str, Any]) -> Iterator[Row]:
    floor, daemon, ratio = result["floor"], result["daemon"], result["ratios"]["p50"]
    got = f"{daemon['p50']:.2f} ms (floor {floor['p50']:.2f} ms)"
    yield (
        "ask, accepted to projected answer, 1 client: median",
        "at most 3x the floor",
        got,
        f"{ratio:.2f}x",
        ratio <= 3,
    )
    spread = daemon["p99_over_p50"]
    yield "the same, p99", "at most 4x its own median", f"{daemon['p99']:.2f} ms, {spread:.1f}x", "", spread <= 4


def _many(result: dict[str, Any], least: float, how: str) -> Iterator[Row]:
    floor, daemon, ratio = result["floor"]["rate"], result["daemon"]["rate"], result["ratios"]["rate"]
    what = f"asks per second, {result['clients']} clients{how}"
    yield (
        what,
        f"at least {least:g} of the floor",
        f"{daemon:,.0f}/s (floor {floor:,.0f}/s)",
        f"{ratio:.2f}",
        ratio >= least,
    )


def _stream(result: dict[str, Any], most: float) -> Iterator[Row]:
    accept, send = result["accept"], result["send"]
    got = (
        f"p95 {accept['p95']:.1f} ms, median {accept['p50']:.1f} ms; from sending the request p95 {send['p95']:.1f} ms"
    )
    what = f"acceptance to frame, {result['subscribers']} WebSocket subscribers, 100 events/s"
    yield what, f"p95 at most {most:g} ms", got, "", accept["p95"] <= most


def _read(result: dict[str, Any]) -> Iterator[Row]:
    questions = sum(kind["questions"] for kind in result["kinds"].values())
    got = f"p95 {result['p95']:.1f} ms, the slowest of {questions} questions"
    yield f"reads over HTTP at {result['threads']:,} threads", "p95 at most 5 ms", got, "", result["p95"] <= 5


def _start(result: dict[str, Any]) -> Iterator[Row]:
    shell, memory = result["list"], result["memory"]
    got = f"{shell['p50']:.0f} ms, p95 {shell['p95']:.0f} ms; the bare interpreter {shell['interpreter']:.0f} ms"
    yield "`forum list` from the shell, warm", "at most 100 ms", got, "", shell["p50"] <= 100
    got = f"{result['ready']:.2f} s, the very first time {result['first']:.2f} s"
    yield "ready after start, warm", "at most 1 s", got, "", result["ready"] <= 1
    got = f"{memory['rss']:.0f} MB resident, {memory['pss']:.0f} MB proportional"
    yield "memory at rest, without the Redis server", "at most 70 MB", got, "", memory["rss"] <= 70


def _backlog(result: dict[str, Any]) -> Iterator[Row]:
    seconds, peak, commands = result["seconds"], result["memory_peak"], result["commands"]
    what = f"backlog of {commands:,} commands"
    got = f"{seconds:.1f} s from the moment Redis is back until the last event is there, {commands / seconds:,.0f}/s"
    got += f"; the last command done after {result['handled']:.1f} s"
    yield f"{what}: drained", "20 s", got, "", seconds <= 20 * commands / 100_000
    yield f"{what}: memory", "300 MB", f"{peak:.0f} MB at the peak", "", peak <= 300
    got = f"{result['out_of_order']} of {result['applied']:,} applied out of order"
    yield f"{what}: order", "intact", got, "", not result["out_of_order"] and result["applied"] >= commands
    got = (
        f"{result['asked_meanwhile']} accepted, p95 {result['write_p95']:.0f} ms; lists p95 {result['read_p95']:.0f} ms"
    )
    yield f"{what}: new requests meanwhile", "answered", got, "", result["asked_meanwhile"] > 0


def _rebuild(result: dict[str, Any]) -> Iterator[Row]:
    before, during = result["before"], result["during"]
    got = f"lists p95 {during['list']:.0f} ms (before {before['list']:.1f}), "
    got += f"questions p95 {during['ask']:.0f} ms (before {before['ask']:.1f})"
    got += f"; {result['events']:,} events in {result['seconds']:.1f} s"
    yield (
        f"`forum rebuild` at {result['threads']:,} threads: requests meanwhile",
        "answered",
        got,
        "",
        result["answered"] > 0,
    )


def _run_status(result: dict[str, Any]) -> Iterator[Row]:
    got = f"{result['p50']:.0f} ms, p95 {result['p95']:.0f} ms; the bare interpreter {result['interpreter']:.0f} ms"
    what = "`status` of a run with 4 agents and 3 repositories, from the shell"
    yield what, "at most 150 ms", got, "", result["p50"] <= 150


def _run_answers(result: dict[str, Any]) -> Iterator[Row]:
    got = f"p95 {result['p95']:.0f} ms, median {result['p50']:.0f} ms, from sending the answer"
    what = "a guidance answer until the agent that waits goes on"
    yield what, "within 100 ms", got, "", result["p95"] <= 100


def _run_supervision(result: dict[str, Any]) -> Iterator[Row]:
    what = f"{result['runs']} runs with 4 agents each looked after, git and tmux included"
    got = f"{result['percent']:.1f} % over {result['seconds']:.0f} s"
    yield what, "under 10 % of one core", got, "", result["percent"] < 10


ROWS: dict[str, Any] = {
    "ask-1": _one,
    "ask-8": lambda result: _many(result, 0.33, ""),
    "ask-64": lambda result: _many(result, 0.6, ""),
    "ask-8-lean": lambda result: _many(result, 0.33, " that cost nothing (epoll)"),
    "ask-64-lean": lambda result: _many(result, 0.6, " that cost nothing (epoll)"),
    "stream-1": lambda result: _stream(result, 3),
    "stream-50": lambda result: _stream(result, 8),
    "stream-500": lambda result: _stream(result, 20),
    "reads-100": _read,
    "reads-20000": _read,
    "reads-1000000": _read,
    "start": _start,
    "backlog": _backlog,
    "rebuild": _rebuild,
    "run-status": _run_status,
    "run-answers": _run_answers,
    "run-supervision": _run_supervision,
}


def _reads(results: Results) -> Iterator[str]:
    sizes = [results[name]["result"] for name in ROWS if name.startswith("reads-") and name in results]
    if not sizes:
        return
    yield "## Reads, kind by kind"
    yield ""
    yield "p95 in milliseconds over HTTP of the slowest question of each kind. Every set of filters is a question."
    yield ""
    yield "| kind | questions | " + " | ".join(f"{size['threads']:,} threads" for size in sizes) + " |"
    yield "|---|---|" + "---|" * len(sizes)
    for kind, first in sizes[0]["kinds"].items():
        found = (size["kinds"].get(kind) for size in sizes)  # a size that was measured earlier may lack a new kind
        cells = " | ".join(f"{each['p95']:.1f}" if each else "" for each in found)
        yield f"| {kind} | {first['questions']} | {cells} |"
    yield ""
