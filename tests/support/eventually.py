"""Waiting for something to become true, without guessing how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(probe: Callable[[], T], timeout: float = 5.0, interval: float = 0.01) -> T:
    """Call `probe` until it returns something true and does not raise; return that.

    `timeout` and `interval` are seconds. After the timeout the last error is raised, or AssertionError.
    """
    deadline = time.monotonic() + timeout
    while True:
        failure: Exception | None = None
        try:
            value = probe()
            if value:
                return value
        except Exception as error:
            failure = error
        if time.monotonic() > deadline:
            raise failure or AssertionError(f"still not true after {timeout} s: {probe}")
        time.sleep(interval)
