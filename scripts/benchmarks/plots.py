"""Two plain pictures as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from charts import BOTTOM, HEIGHT, frame, legend, polyline, svg, text, x_at, y_at

Results = dict[str, dict[str, Any]]
COLOURS = {"floor": "#8a8f98", "daemon": "#2563eb"}


def write(results: Results, folder: Path) -> None:
    """Draw what has been measured."""
    folder.mkdir(exist_ok=True)
    if "ask-1" in results:
        (folder / "bench-latency.svg").write_text(_latency(results["ask-1"]["result"]))
    many = [results[name]["result"] for name in ("ask-8", "ask-64") if name in results]
    if many:
        (folder / "bench-throughput.svg").write_text(_throughput(many))


def _latency(result: dict[str, Any]) -> str:
    """Quantiles of both distributions up to the 99th percentile."""
    curves = {name: result[name]["curve"][:99] for name in COLOURS}
    top = max(max(curve) for curve in curves.values()) * 1.05
    parts = frame("One client: answered within (ms) by share of requests", top, digits=1)
    for share in (0, 25, 50, 75, 99):
        parts.append(text(x_at(share / 99), HEIGHT - BOTTOM + 18, f"{share} %", "middle"))
    for name, curve in curves.items():
        parts.append(polyline([(x_at(n / 98), y_at(value / top)) for n, value in enumerate(curve)], COLOURS[name]))
    return svg(parts + legend(COLOURS))


def _throughput(results: list[dict[str, Any]]) -> str:
    """A pair of bars per number of clients."""
    top = max(each[name]["rate"] for each in results for name in COLOURS) * 1.15
    parts = frame("Durable answers per second", top)
    for place, each in enumerate(results):
        middle = x_at((place + 0.5) / len(results))
        parts.append(text(middle, HEIGHT - BOTTOM + 18, f"{each['clients']} clients", "middle"))
        for name, shift in (("floor", -62), ("daemon", 2)):
            rate = each[name]["rate"]
            y = y_at(rate / top)
            height = HEIGHT - BOTTOM - y
            parts.append(
                f'<rect x="{middle + shift:.1f}" y="{y:.1f}" width="60" height="{height:.1f}" fill="{COLOURS[name]}"/>'
            )
            parts.append(text(middle + shift + 30, y - 5, f"{rate:,.0f}", "middle"))
    return svg(parts + legend(COLOURS))
