"""New ids: the time in milliseconds and ten random bytes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from metawsm.domain.ids import prefixed

_EACH = 10  # bytes of an id
_AT_ONCE = 400  # bytes asked of the system at once: a call for each id costs more than all the rest of it


def _random() -> Iterator[bytes]:
    while True:
        pool = os.urandom(_AT_ONCE)
        for begin in range(0, _AT_ONCE, _EACH):
            yield pool[begin : begin + _EACH]


_RANDOM = _random()


def new_id(prefix: str) -> str:
    """A fresh id such as `fevt-...`. Not for threads: all ids are made on the hub or before it runs."""
    return prefixed(prefix, time.time_ns() // 1_000_000, next(_RANDOM))
