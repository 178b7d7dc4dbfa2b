"""Text of agents made safe for a terminal, and measured as a terminal shows it."""

from __future__ import annotations

import re

from metawsm.domain.plain_text import clean

SPACES = re.compile(r"[\s\u2028\u2029]+")


def one_line(text: object) -> str:
    """A clean text with every run of white space folded into one blank."""
    return SPACES.sub(" ", clean(text)).strip()


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
