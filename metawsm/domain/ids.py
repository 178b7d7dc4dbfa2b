"""Collision-free ids: UUID version 7 behind a prefix that says what is named. Source: RFC 9562, section 5.7."""

from __future__ import annotations

THREAD = "fthr"
EVENT = "fevt"
COMMAND = "fcmd"
RUN = "run"


def uuid7(milliseconds: int, random: bytes) -> str:
    """A UUIDv7 of the Unix time in `milliseconds` and 10 bytes of `random`."""
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | int.from_bytes(random[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def prefixed(prefix: str, milliseconds: int, random: bytes) -> str:
    """A new id such as `fevt-0190...`."""
    return f"{prefix}-{uuid7(milliseconds, random)}"


def post_id(event_id: str) -> str:
    """The id of the post that an event brought."""
    return f"{event_id}.post"
