"""Two plain pictures as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Results = dict[str, dict[str, Any]]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 320, 60, 40, 40
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
    parts = _frame("One client: answered within (ms) by share of requests", top, "ms")
    for share in (0, 25, 50, 75, 99):
        parts.append(_text(_x(share / 99), HEIGHT - BOTTOM + 18, f"{share} %", "middle"))
    for name, curve in curves.items():
        points = " ".join(f"{_x(n / 98):.1f},{_y(value / top):.1f}" for n, value in enumerate(curve))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
    return _svg(parts + _legend())


def _throughput(results: list[dict[str, Any]]) -> str:
    """A pair of bars per number of clients."""
    top = max(each[name]["rate"] for each in results for name in COLOURS) * 1.15
    parts = _frame("Durable answers per second", top, "/s")
    for place, each in enumerate(results):
        middle = _x((place + 0.5) / len(results))
        parts.append(_text(middle, HEIGHT - BOTTOM + 18, f"{each['clients']} clients", "middle"))
        for name, shift in (("floor", -62), ("daemon", 2)):
            rate = each[name]["rate"]
            y = _y(rate / top)
            height = HEIGHT - BOTTOM - y
            parts.append(
                f'<rect x="{middle + shift:.1f}" y="{y:.1f}" width="60" height="{height:.1f}" fill="{COLOURS[name]}"/>'
            )
            parts.append(_text(middle + shift + 30, y - 5, f"{rate:,.0f}", "middle"))
    return _svg(parts + _legend())


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 20)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def _frame(title: str, top: float, unit: str) -> list[str]:
    parts = [_text(LEFT, 22, title, "start", 14)]
    for step in range(5):
        y = _y(step / 4)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d4d7dc"/>')
        parts.append(
            _text(LEFT - 6, y + 4, f"{top * step / 4:,.1f}" if unit == "ms" else f"{top * step / 4:,.0f}", "end")
        )
    return parts


def _legend() -> list[str]:
    parts = []
    for n, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<rect x="{WIDTH - 180 + n * 80}" y="12" width="12" height="12" fill="{colour}"/>')
        parts.append(_text(WIDTH - 163 + n * 80, 22, name, "start"))
    return parts


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{text}</text>'


def _svg(parts: list[str]) -> str:
    body = "\n".join(parts)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" fill="#1f2430">'
    return f'{head}\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
