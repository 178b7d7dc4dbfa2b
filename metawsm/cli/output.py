"""Printing: tables for people, JSON for programs, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from metawsm.cli.text import cut, fold, one_line, pad, width
from metawsm.domain.plain_text import DROPPED, clean

GAP = "  "
NARROWEST = 20
ESCAPED = {code: f"\\u{code:04x}" for code in DROPPED if code > 0x1F}  # JSON itself escapes those below
Row = Mapping[str, Any]


class Column(NamedTuple):
    """One column: its head, what it shows of a row, and when it may go (a higher `drop` goes first; 0 stays)."""

    head: str
    cell: Callable[[Row], object]
    drop: int = 0
    flexible: bool = False


def key(name: str) -> Callable[[Row], object]:
    """A cell that shows one member of the row."""
    return lambda row: row.get(name, "")


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Write a value as JSON on stdout, without raw control and bidi characters, in any character set of a terminal."""
    utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, ensure_ascii=not utf8, indent=indent)
    say(text if text.isascii() else text.translate(ESCAPED))


def say(text: str) -> None:
    """Write a line on stdout, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Write a line on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def table(columns: Sequence[Column], rows: Sequence[Row], empty: str) -> None:
    """Print rows under heads; on a terminal in its width, elsewhere uncut. `empty` is noted when there are no rows."""
    if not rows:
        note(empty)
        return
    limit = terminal_columns()
    shown, lines = table_lines(columns, rows, limit)
    for line in lines:
        say(line)
    if missing := left_out(columns, shown, rows):
        for line in fold(missing, limit):
            note(line)


def left_out(columns: Sequence[Column], shown: Sequence[Column], rows: Sequence[Row]) -> str:
    """Which columns with something in them are not shown; empty where all are."""
    missing = [column.head for column in columns if column not in shown and _is_filled(column, rows)]
    return f"left out at this width: {', '.join(missing)}; --json has everything" if missing else ""


def _is_filled(column: Column, rows: Sequence[Row]) -> bool:
    return any(one_line(column.cell(row)) for row in rows)


def table_lines(columns: Sequence[Column], rows: Sequence[Row], limit: int | None) -> tuple[list[Column], list[str]]:
    """Which columns are shown within `limit` columns of the terminal (None: no limit), and the lines, heads first."""
    shown, widths = fit(columns, rows, limit)
    texts = [[column.head for column in shown], *([one_line(column.cell(row)) for column in shown] for row in rows)]
    lines = (GAP.join(pad(cut(text, size), size) for text, size in zip(line, widths, strict=True)) for line in texts)
    return shown, [line.rstrip() for line in lines]


def fit(columns: Sequence[Column], rows: Sequence[Row], limit: int | None) -> tuple[list[Column], list[int]]:
    """Which columns are shown, and how wide each is, within `limit` columns of the terminal (None: no limit).

    On a terminal a column that may go goes at once when nothing stands in it.
    """
    filled = (column for column in columns if not column.drop or _is_filled(column, rows))
    shown = list(columns) if limit is None else list(filled)
    while True:
        widths = [max(width(one_line(text)) for text in (column.head, *map(column.cell, rows))) for column in shown]
        if limit is None:
            return shown, widths
        fixed = sum(size for column, size in zip(shown, widths, strict=True) if not column.flexible)
        left = limit - fixed - len(GAP) * (len(shown) - 1)
        wanted = max((size for column, size in zip(shown, widths, strict=True) if column.flexible), default=0)
        last = max(shown, key=lambda column: column.drop)
        if left >= min(wanted, NARROWEST) or last.drop == 0:
            room = max(left, 8)
            return shown, [min(size, room) if c.flexible else size for c, size in zip(shown, widths, strict=True)]
        shown.remove(last)


def terminal_columns() -> int | None:
    """The width of the terminal that stdout is, or None."""
    if not sys.stdout.isatty():
        return None
    wish = os.environ.get("COLUMNS", "")
    try:
        return int(wish) if wish.isascii() and wish.isdigit() and int(wish) else os.get_terminal_size(1).columns
    except OSError:
        return 80


def age(moment: object, now: datetime | None = None) -> str:
    """How long ago a time in RFC 3339 was, in its largest unit: 5s, 12m, 3h, 4d."""
    try:
        then = datetime.fromisoformat(str(moment))
        seconds = int(((now or datetime.now(UTC)) - then).total_seconds())
    except (ValueError, TypeError):
        return ""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def indented(text: object) -> str:
    """A text of several lines, clean, under its head."""
    return "\n".join(f"    {line}" if line else "" for line in clean(text).rstrip("\n").split("\n"))


def silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere, after the reader of our output has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
