"""New dead letters in the log: one line a second at most, however many come."""

from __future__ import annotations

import logging
import time

import gevent

from metawsm.bus.receive import DeadLetter

SECONDS = 1.0
LONGEST = 300  # characters of what a publisher brought along


class Burials:
    """Tells of letters that are stored. Call it on the hub."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._untold = 0
        self._last: DeadLetter | None = None
        self._told_at = -SECONDS

    def tell(self, letter: DeadLetter) -> None:
        """Tell of a letter, now or together with others that come within the second."""
        self._untold, self._last = self._untold + 1, letter
        if self._untold == 1:
            gevent.spawn_later(max(self._told_at + SECONDS - time.monotonic(), 0.0), self._say)

    def _say(self) -> None:
        letter, count = self._last, self._untold
        self._untold, self._told_at = 0, time.monotonic()
        if letter is not None:
            where, why = _safe(f"{letter.topic}/{letter.entry_id}"), _safe(letter.error or "")
            self._log.warning("%d new dead letters, %s the last, %s: %s", count, where, letter.reason, why)


def _safe(text: str) -> str:
    """One short line, whatever it holds: escapes, ends of lines and marks of direction become blanks."""
    line = "".join(sign if sign.isprintable() else " " for sign in text[:LONGEST])
    return line if len(text) <= LONGEST else f"{line}..."
