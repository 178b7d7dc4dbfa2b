"""Plain pictures as SVG: the frame, the scales, lines and bars that the measuring scripts share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 320, 60, 40, 40
PALETTE = ("#2563eb", "#d97706", "#059669", "#7c3aed", "#8a8f98")
Points = Sequence[tuple[float, float]]


def x_at(share: float) -> float:
    """Where a share (0 to 1) of the width lies."""
    return LEFT + share * (WIDTH - LEFT - 20)


def y_at(share: float) -> float:
    """Where a share (0 to 1) of the height lies, from the bottom."""
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)


def frame(title: str, top: float, digits: int = 0) -> list[str]:
    """The title, and four steps up to `top` with `digits` behind the point."""
    parts = [text(LEFT, 22, title, "start", 14)]
    for step in range(5):
        y = y_at(step / 4)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d4d7dc"/>')
        parts.append(text(LEFT - 6, y + 4, f"{top * step / 4:,.{digits}f}", "end"))
    return parts


def legend(colours: Mapping[str, str], width: int = 80) -> list[str]:
    """A square and a name for each colour, at the right of the title; each takes `width`."""
    parts = []
    begin = WIDTH - 20 - width * len(colours)
    for place, (name, colour) in enumerate(colours.items()):
        x = begin + place * width
        parts.append(f'<rect x="{x}" y="12" width="12" height="12" fill="{colour}"/>')
        parts.append(text(x + 17, 22, name, "start"))
    return parts


def text(x: float, y: float, said: str, anchor: str, size: int = 12) -> str:
    """A text at a place; `anchor` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{said}</text>'


def polyline(points: Points, colour: str) -> str:
    """A line through points of the picture."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def svg(parts: Sequence[str]) -> str:
    """The whole picture."""
    body = "\n".join(parts)
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" fill="#1f2430">'
    return f'{head}\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'


def over_time(title: str, series: Mapping[str, Points], marks: Sequence[float] = (), digits: int = 0) -> str:
    """Values over minutes, a line for each of `series` (seconds, value); a thin stroke at each of `marks` (seconds)."""
    last = max((at for points in series.values() for at, _ in points), default=1.0) or 1.0
    top = max((value for points in series.values() for _, value in points), default=1.0) * 1.1 or 1.0
    colours = dict(zip(series, PALETTE, strict=False))
    parts = frame(title, top, digits)
    for mark in marks:
        x = x_at(min(1.0, mark / last))
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y_at(1):.1f}" y2="{y_at(0):.1f}" stroke="#fca5a5" stroke-width="1"/>'
        )
    for step in range(5):
        anchor = "end" if step == 4 else "middle"  # else it would leave the picture
        parts.append(text(x_at(step / 4), HEIGHT - BOTTOM + 18, f"{last * step / 240:.1f} min", anchor))
    parts += [
        polyline([(x_at(at / last), y_at(value / top)) for at, value in points], colours[name])
        for name, points in series.items()
    ]
    return svg([*parts, *legend(colours, 100)])
