"""Text of agents made safe for a terminal, and measured as a terminal shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metawsm.domain.plain_text import clean

SPACES = re.compile(r"[\s\u2028\u2029]+")


def one_line(text: object) -> str:
    """A clean text with every run of white space folded into one blank."""
    return SPACES.sub(" ", clean(text)).strip()


def control_title(view: Mapping[str, Any]) -> str:
    """What a control thread is called in a list: who asks, and what, if anything is open; empty for another thread."""
    if not str(view.get("thread_id", "")).startswith("fctrl-"):
        return ""
    return f"{view.get('agent_name')}: {view.get('question') or 'control thread'}"


def width(text: str) -> int:
    """Columns that a terminal needs: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    import unicodedata  # slow to load and seldom needed

    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def cut(text: str, columns: int) -> str:
    """The text in at most `columns` columns, with an ellipsis where something was cut off."""
    if width(text) <= columns:
        return text
    while text and width(text) > columns - 1:
        text = text[: min(len(text) - 1, columns)]
    return f"{text}…" if columns > 0 else ""


def pad(text: str, columns: int) -> str:
    """The text filled up with blanks."""
    return text + " " * (columns - width(text))


def fold(text: object, columns: int | None) -> list[str]:
    """A text in lines of at most so many columns (None: one line), broken at blanks, longer words anywhere."""
    words = one_line(text).split(" ")
    if columns is None:
        return [" ".join(words)]
    columns, lines, line = max(columns, 1), [], ""
    for word in (part for whole in words for part in _parts(whole, columns)):
        if line and width(line) + 1 + width(word) > columns:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _parts(word: str, columns: int) -> Iterator[str]:
    """The word in pieces that fit."""
    while width(word) > columns:
        piece = cut(word, columns + 1)[:-1] or word[0]
        yield piece
        word = word[len(piece) :]
    yield word
