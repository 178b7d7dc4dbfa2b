"""Text of agents and of programs made safe to show."""

from __future__ import annotations

import re

SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI as one character
    r"|\x1b[ -/]*[0-~]?"
)
BIDI = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
DROPPED = {code: None for code in (*range(0x20), *range(0x7F, 0xA0), *BIDI) if chr(code) not in "\n\t"}


def clean(text: object) -> str:
    """A text without escape sequences, control and bidi characters; line ends and tabs stay."""
    return SEQUENCES.sub("", str(text).replace("\r\n", "\n")).translate(DROPPED)


def last_words(text: str, most: int = 2000) -> str:
    """What a program said in the end, made safe to show: at most `most` characters, the last ones."""
    said = clean(text).strip()
    return said if len(said) <= most else f"…{said[1 - most :]}"
