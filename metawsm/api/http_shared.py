"""What the connections of one HTTP server have in common: limits, application, a coarse clock, the stop sign."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from attrs import frozen

from metawsm.api.http_head import Environ

NEVER = math.inf

ErrorBody = Callable[[int, str, str], bytes]
"""(status, code, message) to the JSON body of an error answer."""

WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@frozen
class Limits:
    """What one client may take. Sizes in bytes, times in seconds."""

    header_bytes: int = 16 * 1024
    header_lines: int = 100
    body_bytes: int = 1024 * 1024
    unread_bytes: int = 64 * 1024 * 1024
    """Announced bodies that all connections together may still be sending."""
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    send_seconds: float = 20.0
    idle_seconds: float = 75.0
    connections: int = 3000


class Shared:
    """One object per server. `now` (seconds) and `date` (for the Date header) are kept by the server's ticks.

    `unread` is the number of body bytes that are announced and not read yet, over all connections.
    """

    def __init__(self, app: WSGIApp, error_body: ErrorBody, limits: Limits, environ: Environ) -> None:
        self.app = app
        self.error_body = error_body
        self.limits = limits
        self.environ = environ
        self.now = 0.0
        self.date = ""
        self.stopping = False
        self.unread = 0

    def read_now(self) -> float:
        """The coarse clock in seconds; it does not count pauses of the whole process."""
        return self.now
