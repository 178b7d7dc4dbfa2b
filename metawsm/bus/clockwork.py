"""What schedules may use: plain functions that the daemon hands in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from attrs import define, frozen

from metawsm.bus.ports import Db, Writer


@frozen
class CommandLag:
    """How far the group of a command topic is behind: entries never delivered (None = unknown), and not yet acked.

    `delivered_ms` is when its newest delivered entry was added, `pending_ms` its oldest one not acked (0: none),
    milliseconds since 1970 by the clock of Redis.
    """

    topic: str
    lag: int | None
    pending: int
    delivered_ms: int
    pending_ms: int

    def has_passed(self, moment_ms: int) -> bool:
        """Whether nothing that was added up to that moment is left for the group."""
        if self.lag == 0 and self.pending == 0:
            return True
        return self.delivered_ms > moment_ms and (self.pending == 0 or self.pending_ms > moment_ms)


@frozen
class Sent:
    """The oldest command that is in Redis and not done: its row, its topic, when it was published.

    `upto` is the newest row now.
    """

    row_id: int
    topic: str
    at: str
    upto: int


@frozen
class Retention:
    """How long things are kept in the streams: hours, and entries of each."""

    stream_hours: int
    stream_entries: int

    @property
    def done_days(self) -> int:
        """How long ended outbox rows and idempotency keys are kept: a week, and longer than entries in Redis.

        A command of another program that is delivered once more is known by its row alone.
        """
        return max(7, self.stream_hours // 24 + 2)


class Prune(Protocol):
    """Deletes a bounded number of rows older than a time; 0 = there are no more."""

    def __call__(self, db: Db, *, before: str) -> int:
        """Delete some and return how many."""
        ...


@define
class Clockwork:
    """The tools of schedules. `ago(seconds)` is the time that long ago, RFC 3339.

    `reread` lets the relay look for pending rows in the table (`True`: even with commands in hand), `claim` takes over
    commands that other consumers of our group have read and left lying. `undelivered` is for health: the topic whose
    commands do not come back from Redis. The rest is what `republish` remembers.
    """

    writer: Writer
    ago: Callable[[float], str]
    read: Callable[[Callable[[Db], Any]], Any]
    connected: Callable[[], bool]
    command_lags: Callable[[], Sequence[CommandLag]]
    repeat_sent: Callable[[int], None]
    oldest_sent: Callable[[Db], Sent | None]
    oldest_pending: Callable[[Db], str | None]
    reread: Callable[[bool], None]
    claim: Callable[[], None]
    prunes: Sequence[Prune]
    trim_streams: Callable[[Retention], None]
    retention: Retention
    undelivered: Callable[[str | None], None]
    idle_ticks: int = 0
    repeated_at: str = ""
    repeated_row: int = 0
    repeats: int = 0
