"""Somebody else who wants to be heard while a piece of the program is at work."""

from __future__ import annotations

import socket

import gevent


class Other:
    """Sends something at the fifth step of the work; `seen` says how many steps there were when the loop saw it."""

    def __init__(self) -> None:
        self.steps = 0
        self.seen: list[int] = []
        self._ours, self._theirs = socket.socketpair()
        self._watcher = gevent.get_hub().loop.io(self._theirs.fileno(), 1)
        self._watcher.start(self._see)

    def step(self, _: object = None) -> None:
        """Another step has been done."""
        self.steps += 1
        if self.steps == 5:
            self._ours.send(b"x")

    def _see(self) -> None:
        self._watcher.stop()
        self.seen.append(self.steps)

    def close(self) -> None:
        """Give everything back."""
        self._watcher.close()
        self._ours.close()
        self._theirs.close()
