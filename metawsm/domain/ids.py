"""Collision-free ids: UUID version 7 behind a prefix that says what is named. Source: RFC 9562, section 5.7."""

from __future__ import annotations

THREAD = "fthr"
EVENT = "fevt"
COMMAND = "fcmd"
RUN = "run"

# The digit that holds the variant: its upper two bits are 10, the lower two stay random.
_VARIANT = {f"{digit:x}": "89ab"[digit & 3] for digit in range(16)}


def prefixed(prefix: str, milliseconds: int, random: bytes) -> str:
    """A new id such as `fevt-0190...`: a UUIDv7 of the Unix time in `milliseconds` and 10 bytes of `random`."""
    time, rest = f"{milliseconds & 0xFFFFFFFFFFFF:012x}", random.hex()
    return f"{prefix}-{time[:8]}-{time[8:]}-7{rest[1:4]}-{_VARIANT[rest[4]]}{rest[5:8]}-{rest[8:20]}"


def post_id(event_id: str) -> str:
    """The id of the post that an event brought."""
    return f"{event_id}.post"
