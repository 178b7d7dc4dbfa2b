"""What the core needs from the outside, as Protocols; the daemon hands in the adapters of `storage` and `streams`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from attrs import field, frozen

from metawsm.domain.values import value_class

T = TypeVar("T")
Row = tuple[Any, ...]
Args = Sequence[Any] | Mapping[str, Any]


class Db(Protocol):
    """One SQLite connection, inside a transaction when handed to a writer job. Never keep it beyond the call."""

    def execute(self, sql: str, args: Args = (), /) -> Iterable[Row]:
        """Run one statement (cached by its text) and iterate over its rows."""
        ...

    def run(self, sql: str, args: Args = (), /) -> object:
        """Run one statement that gives no rows; half the price of `execute`. Rows would leave its read open."""
        ...

    def changes(self) -> int:
        """Rows changed by the newest INSERT, UPDATE or DELETE."""
        ...

    def last_insert_rowid(self) -> int:
        """The rowid of the newest INSERT."""
        ...


@value_class
class Outcome:
    """What became of a writer job: its value after the commit, or the error that undid it."""

    value: Any = None
    error: Exception | None = None


class Writer(Protocol):
    """The only way to change the database: jobs are batched into one durable commit (group commit).

    A job runs at most once to effect, but may be called twice (the first call is then rolled back) and in another
    thread, beside the hub: it touches the database, and nothing else that does not bear that; it must not block or
    switch greenlets, and holds the writer at most 5 ms.
    A returned cursor is fetched before the commit.
    """

    def run(self, job: Callable[[Db], T]) -> T:
        """Wait until `job` is committed (synchronous=FULL) and return its value, or raise its error.

        Raises Unavailable when the batch could not be stored, OutcomeUnknown when the commit's fate is not known.
        """
        ...

    def enqueue(self, job: Callable[[Db], Any], done: Callable[[Outcome], None]) -> None:
        """Like `run`, without waiting: `done` is called once, on the hub, after the commit or the failure."""
        ...

    def hold(self) -> None:
        """Start no batch until `resume`: jobs wait, the hub goes on. For a few milliseconds at most."""
        ...

    def resume(self) -> None:
        """Go on; each `hold` has its own `resume`."""
        ...

    def defer(self, job: Callable[[Db], Any], done: Callable[[Outcome], None] | None = None) -> None:
        """Run `job` with the next batch, or alone within 5 ms; for bookkeeping that a crash may lose.

        Without `done` a failure is logged.
        """
        ...


@value_class
class Message:
    """One message as it travels: Watermill's three fields."""

    uuid: str
    metadata: Mapping[str, str]
    payload: bytes


@value_class
class Publication:
    """A message on its way to a stream. `entry_id` is `*`, or `<sequence>-0` where a repeat must not duplicate."""

    topic: str
    message: Message
    entry_id: str = "*"


@frozen
class Subscription:
    """What is read: one stream through one group. With `noack` nothing stays pending (the cursor is elsewhere).

    A `blind` reader wants to know that there is something new: its deliveries come without their message.
    """

    topic: str
    group: str
    count: int = 256
    noack: bool = False
    blind: bool = False


@value_class
class Delivery:
    """One entry as read. `message` is None when it cannot be decoded; then `fault` says why.

    `raw` keeps the undecoded fields of a faulty entry; `trimmed` marks a pending entry whose body is gone.
    """

    topic: str
    group: str
    entry_id: str
    message: Message | None = None
    fault: str = ""
    raw: Mapping[bytes, bytes] = field(factory=dict)
    trimmed: bool = False


@value_class
class Ack:
    """Entries of one stream and group that need not be delivered again."""

    topic: str
    group: str
    entry_ids: Sequence[str]


@value_class
class Exchange:
    """The answer to one round trip: deliveries, and per publication an error text, or None if it is there now."""

    faults: Sequence[str | None]
    deliveries: Sequence[Delivery]


class Transport(Protocol):
    """Redis Streams as the core sees them. Every method raises Unavailable when the server cannot be used now."""

    def exchange(
        self, publications: Sequence[Publication], acks: Sequence[Ack], reads: Sequence[Subscription]
    ) -> Exchange:
        """Publish in order, acknowledge, then read what is new, without blocking, in one round trip."""
        ...

    def listen(self, reads: Sequence[Subscription], block_seconds: float) -> Sequence[Delivery]:
        """Wait on a connection of its own until something is new (or the time is over) and return it."""
        ...

    def pending(self, read: Subscription, after: str = "0") -> Sequence[Delivery]:
        """This consumer's own delivered and not acknowledged entries, oldest first, after the entry id `after`."""
        ...

    def ensure(self, reads: Sequence[Subscription]) -> Sequence[Subscription]:
        """Create missing streams and groups (from the beginning); return those that had to be created."""
        ...

    def ensure_streams(self, topics: Sequence[str]) -> None:
        """Create missing streams that have no group of ours, so that other programs find them from the start."""
        ...

    def claim_idle(self, read: Subscription, idle_seconds: float) -> Sequence[Delivery]:
        """Take over entries that any consumer of the group has left unacknowledged for so long."""
        ...

    def empty(self, topics: Sequence[str], newest: str) -> None:
        """Remove all entries of streams, so that any entry id can be written again.

        Groups stay: each gets again what it had not acknowledged, and what comes after the entry id `newest`.
        """
        ...

    def last_entry_id(self, topic: str) -> str:
        """The id of the last entry ever added (`0-0` for an empty or missing stream)."""
        ...

    def last_message(self, topic: str) -> Message | None:
        """The message that the stream ends with; None where there is none that can be read."""
        ...
