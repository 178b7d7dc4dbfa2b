"""New ids: the time in milliseconds and ten random bytes."""

from __future__ import annotations

import os
import time

from metawsm.domain.ids import prefixed


def new_id(prefix: str) -> str:
    """A fresh id such as `fevt-...`."""
    return prefixed(prefix, time.time_ns() // 1_000_000, os.urandom(10))
