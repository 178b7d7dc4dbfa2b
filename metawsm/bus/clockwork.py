"""What schedules may use: plain functions that the daemon hands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, frozen

from metawsm.bus.ports import Db, Writer


@frozen
class CommandLag:
    """How far a command group is behind: entries never delivered (None = unknown) and delivered but not acked."""

    lag: int | None
    pending: int


@frozen
class Retention:
    """How long things are kept. Hours for streams, days for done outbox rows and idempotency keys."""

    stream_hours: int
    stream_entries: int
    done_days: int = 7


class Prune(Protocol):
    """Deletes a bounded number of rows older than a time; 0 = there are no more."""

    def __call__(self, db: Db, *, before: str) -> int:
        """Delete some and return how many."""
        ...


@define
class Clockwork:
    """The tools of schedules. `ago(seconds)` is the time that long ago, RFC 3339.

    `reread` lets the relay look for pending rows in the table, `claim` takes over commands that other consumers of our
    group have read and left lying.
    """

    writer: Writer
    ago: Callable[[float], str]
    read: Callable[[Callable[[Db], Any]], Any]
    connected: Callable[[], bool]
    command_lags: Callable[[], Sequence[CommandLag]]
    repeat_sent: Callable[[int], None]
    oldest_sent: Callable[[Db], tuple[str | None, int]]
    oldest_pending: Callable[[Db], str | None]
    reread: Callable[[], None]
    claim: Callable[[], None]
    prunes: Sequence[Prune]
    trim_streams: Callable[[Retention], None]
    retention: Retention
    idle_ticks: int = 0
