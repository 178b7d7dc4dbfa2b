"""One supervisor over the loops of the process: each has a name, and starts again when it fails."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from attrs import define, field

BUDGET = 10  # failures of one loop within WINDOW seconds after which it counts as broken
WINDOW = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds before a failed loop starts again
log = logging.getLogger("metawsm.supervisor")


@define(eq=False)
class Loop:
    """One loop and what became of it."""

    name: str
    run: Callable[[], None]
    failures: deque[float] = field(factory=deque)
    restarts: int = 0
    last_error: str | None = None
    greenlet: Any = None

    @property
    def broken(self) -> bool:
        """Whether it fails again and again."""
        while self.failures and self.failures[0] < time.monotonic() - WINDOW:
            self.failures.popleft()
        return len(self.failures) >= BUDGET


class Supervisor:
    """Starts loops, restarts those that fail, and ends them all, the last first."""

    def __init__(self) -> None:
        self._loops: list[Loop] = []

    def start(self, name: str, run: Callable[[], None]) -> None:
        """Run a loop that never returns by itself."""
        loop = Loop(name, run)
        self._loops.append(loop)
        loop.greenlet = gevent.spawn(self._keep, loop)

    def stop(self) -> None:
        """End every loop."""
        for loop in reversed(self._loops):
            loop.greenlet.kill(timeout=2)

    def facts(self) -> dict[str, Any]:
        """Each loop's state, for health."""
        return {
            loop.name: {"running": not loop.greenlet.dead, "restarts": loop.restarts}
            | ({"last_error": loop.last_error} if loop.last_error else {})
            for loop in self._loops
        }

    def broken(self) -> list[str]:
        """Names of loops that fail again and again."""
        return [loop.name for loop in self._loops if loop.broken]

    def _keep(self, loop: Loop) -> None:
        while True:
            try:
                loop.run()
                return
            except Exception as error:
                loop.failures.append(time.monotonic())
                loop.restarts += 1
                loop.last_error = repr(error)
                log.exception("loop %s failed and starts again", loop.name)
                gevent.sleep(min(FIRST_PAUSE * 2 ** len(loop.failures), LONGEST_PAUSE))
