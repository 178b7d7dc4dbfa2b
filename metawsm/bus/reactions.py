"""Reactions: what events make the program do, as commands to itself, once for each event."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen

from metawsm.bus.internal import Internal
from metawsm.bus.jobs import NewJob
from metawsm.bus.ports import Db, Row
from metawsm.bus.work import Queued
from metawsm.domain.events import Event
from metawsm.domain.run import Run
from metawsm.domain.thread import Thread
from metawsm.messages.codec import EVENT_COLUMNS, event_of_row


@define
class Reaction:
    """One event being reacted to. `queued` collects the commands sent, `jobs` says that there are jobs."""

    db: Db
    internal: Internal
    event: Event
    queued: list[Queued] = field(factory=list)
    jobs: bool = False

    def send(self, name: str, body: Mapping[str, Any], about: str = "") -> None:
        """Send a command; `about` tells several of one event apart."""
        command_id = f"{name}:{self.event.envelope.event_id}{about and ':' + about}"
        queued = self.internal.insert(self.db, name, body, command_id, self.event.envelope)
        if queued is not None:
            self.queued.append(queued)

    def add_job(self, job: NewJob) -> None:
        """Have something long done."""
        self.jobs = True
        self.internal.store.add_job(self.db, job, self.internal.tools.now())

    def run(self, run_id: str) -> Run | None:
        """The run, or None."""
        return self.internal.store.find_run(self.db, run_id)

    def thread(self, thread_id: str) -> Thread | None:
        """The thread as the newest command left it, or None."""
        return self.internal.store.find_thread(self.db, thread_id)


@frozen
class SubscriberSpec:
    """One reaction: `react(reaction)` is called once for each event of a run of these types, in the order of the log.

    It begins with the events after its first start; what had happened before is not reacted to.
    """

    name: str
    types: frozenset[str]
    react: Callable[[Reaction], None]


class Cursors(Protocol):
    """How far each subscriber has come."""

    def position(self, db: Db, name: str) -> int:
        """The newest sequence it has looked at."""
        ...

    def move(self, db: Db, name: str, sequence: int, now: str) -> None:
        """It has looked at everything up to there."""
        ...


@frozen
class Reacted:
    """What a step of a subscriber did: commands to publish, whether it added jobs, whether more events wait."""

    queued: tuple[Queued, ...]
    jobs: bool
    more: bool


class ReactionFailed(Exception):
    """A subscriber could not react to an event; nothing of the step is kept."""

    def __init__(self, subscriber: str, sequence: int, event_id: str, cause: Exception) -> None:
        super().__init__(f"subscriber {subscriber} failed on event {sequence} ({event_id}): {cause!r}")
        self.subscriber = subscriber
        self.sequence = sequence
        self.event_id = event_id
        self.cause = cause


@frozen
class Reactor:
    """Lets one subscriber react. `is_outage(error)` tells a database that is full or broken from a bug."""

    spec: SubscriberSpec
    internal: Internal
    cursors: Cursors
    is_outage: Callable[[Exception], bool]

    def step(self, db: Db, limit: int) -> Reacted:
        """React to the next events and move the cursor with what follows. Raises ReactionFailed."""
        after, head = self.cursors.position(db, self.spec.name), _head(db)
        if after >= head:
            return Reacted((), jobs=False, more=False)
        rows = list(db.execute(self._sql, (after, *sorted(self.spec.types), limit)))
        done = [self._react(db, row) for row in rows]
        more = len(rows) == limit
        self.pass_over(db, rows[-1][0] if more else head)
        return Reacted(tuple(row for each in done for row in each.queued), any(each.jobs for each in done), more)

    def again(self, db: Db, sequence: int) -> Reacted:
        """React to one event once more; the cursor stays. Raises ReactionFailed."""
        sql = f"SELECT {EVENT_COLUMNS} FROM forum_events WHERE sequence = ?"  # noqa: S608 - a constant
        reaction = self._react(db, next(iter(db.execute(sql, (sequence,)))))
        return Reacted(tuple(reaction.queued), reaction.jobs, more=False)

    def pass_over(self, db: Db, sequence: int) -> None:
        """Nothing is left to be done about the events up to there."""
        self.cursors.move(db, self.spec.name, sequence, self.internal.tools.now())

    @property
    def _sql(self) -> str:
        marks = ", ".join("?" * len(self.spec.types))
        return (
            f"SELECT {EVENT_COLUMNS} FROM forum_events"  # noqa: S608 - constants, and one mark per value
            f" WHERE sequence > ? AND +run_id IS NOT NULL AND event_type IN ({marks}) ORDER BY sequence LIMIT ?"
        )

    def _react(self, db: Db, row: Row) -> Reaction:
        try:
            reaction = Reaction(db, self.internal, event_of_row(row))
            self.spec.react(reaction)
        except Exception as error:
            if self.is_outage(error):
                raise
            raise ReactionFailed(self.spec.name, row[0], row[1], error) from error
        return reaction


def _head(db: Db) -> int:
    return int(next(iter(db.execute("SELECT coalesce(max(sequence), 0) FROM forum_events")))[0])
