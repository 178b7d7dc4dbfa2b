"""Calling something in a real thread while a greenlet waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from gevent.threadpool import ThreadPool

from metawsm.bus.ports import Outcome

T = TypeVar("T")


class Threads:
    """At most `count` native threads, made when first needed. A hop costs about 65 microseconds."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPool(count)

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread, wait for it, return its value or raise its error; waits while all are busy."""
        outcome: Outcome = self._pool.apply(_captured, (work,))
        if outcome.error is not None:
            raise outcome.error
        value: T = outcome.value
        return value

    def start(self, work: Callable[[], Any], done: Callable[[Outcome], None]) -> None:
        """Run `work` in a thread and call `done` on the hub, without waiting. A thread must be free."""
        self._pool.spawn(_captured, work).rawlink(lambda result: done(result.value))

    def close(self) -> None:
        """Wait for what runs, then end the threads."""
        self._pool.join()
        self._pool.kill()


def _captured(work: Callable[[], Any]) -> Outcome:
    # The pool would print a traceback for an error that somebody is about to handle.
    try:
        return Outcome(work())
    except Exception as error:  # noqa: BLE001 - carried to the caller, who raises it
        return Outcome(error=error)
