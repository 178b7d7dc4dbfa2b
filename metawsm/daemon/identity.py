"""New ids: the time in milliseconds and ten random bytes."""

from __future__ import annotations

import os
import time

from metawsm.domain.ids import prefixed

_EACH = 10  # bytes of an id
_AT_ONCE = 400  # bytes asked of the system at once: a call for each id costs more than all the rest of it
_POOL: list[bytes] = []  # what was asked for and is not used: one `pop` takes it, so no two threads get the same


def _random() -> bytes:
    while True:
        try:
            return _POOL.pop()
        except IndexError:
            fresh = os.urandom(_AT_ONCE)
            _POOL.extend([fresh[begin : begin + _EACH] for begin in range(0, _AT_ONCE, _EACH)])


def new_id(prefix: str) -> str:
    """A fresh id such as `fevt-...`, in any thread: on slow disks handlers run in one of the writer's own."""
    return prefixed(prefix, time.time_ns() // 1_000_000, _random())
