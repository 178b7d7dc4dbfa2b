"""Reading a text from standard input, where a flag says `-`."""

from __future__ import annotations

import sys

from metawsm.domain.errors import InvalidFields

STDIN_LIMIT = 1024 * 1024


def read_stdin(flag: str) -> str:
    """All of stdin as a text, without the line end that a shell adds. Raises InvalidFields."""
    data = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(data) > STDIN_LIMIT:
        raise InvalidFields(
            f"{flag}: standard input is larger than {STDIN_LIMIT} bytes", fields={flag: ["is too large"]}
        )
    try:
        return data.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise InvalidFields(f"{flag}: not UTF-8", fields={flag: [f"is not UTF-8 at byte {error.start}"]}) from None
