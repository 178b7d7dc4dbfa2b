"""The unit of work of one command: what its handler may read and write, inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs
from attrs import field, frozen

from metawsm.bus.ports import Db
from metawsm.domain.envelope import Actor, Envelope
from metawsm.domain.errors import NotFound, StaleSequence
from metawsm.domain.events import Event, Fact, with_post_id
from metawsm.domain.thread import Thread, evolve
from metawsm.domain.view import view


@frozen
class Queued:
    """An outbox row on its way to Redis. `sequence` is None for commands; `text` is the message's JSON payload.

    `event` is known of an event that was appended just now.
    """

    row_id: int
    kind: str
    message_id: str
    topic: str
    key: str
    text: str
    name: str
    correlation_id: str
    sequence: int | None = None
    event: Event | None = None


class Store(Protocol):
    """The state tables a handler's transaction works on."""

    def find_thread(self, db: Db, thread_id: str) -> Thread | None:
        """The thread as its events made it, or None."""
        ...

    def append_event(self, db: Db, envelope: Envelope, fact: Fact) -> tuple[Event, Queued]:
        """Write the event into the log and into the outbox; return it with its place, and its outbox row."""
        ...

    def save_trace(self, db: Db, event: Event) -> None:
        """Write the rows that people read by hand: posts, transitions, assignments."""
        ...

    def save_thread(self, db: Db, before: Thread | None, thread: Thread) -> None:
        """Insert or update the thread's row."""
        ...

    def save_seen(self, db: Db, viewer: tuple[str, str], thread: Thread, sequence: int, now: str) -> None:
        """Remember up to where a viewer has seen the thread."""
        ...


@frozen
class Tools:
    """What the core takes from the outside and tests replace: the clock and the source of ids."""

    now: Callable[[], str]
    new_id: Callable[[str], str]
    escalation_minutes: int


@attrs.define
class Work:
    """One command being handled. `queued` collects the outbox rows of the events it made, in order."""

    db: Db
    store: Store
    tools: Tools
    command: Envelope
    expected_sequence: int | None
    now: str
    queued: list[Queued] = field(factory=list)
    dirty: bool = False

    @property
    def actor(self) -> Actor:
        """Who sent the command."""
        return self.command.actor

    def find(self, thread_id: str) -> Thread | None:
        """The thread, or None; no expectation is checked."""
        return self.store.find_thread(self.db, thread_id)

    def thread(self, thread_id: str) -> Thread:
        """The thread. Raises NotFound, or StaleSequence when it is not as the sender expected."""
        thread = self.find(thread_id)
        if thread is None:
            raise NotFound(f"there is no thread {thread_id}")
        expected = self.expected_sequence
        if expected is not None and expected != thread.version_sequence:
            raise StaleSequence(
                f"thread {thread_id} has moved on: its version_sequence is {thread.version_sequence}, not {expected}",
                details={"thread": self.view(thread)},
            )
        return thread

    def view(self, thread: Thread) -> dict[str, Any]:
        """The thread as the answer shows it."""
        return view(thread, self.tools.escalation_minutes)

    def record(self, before: Thread | None, facts: Sequence[Fact], **head: str | None) -> Thread:
        """Make the facts durable in this transaction and return the thread after them.

        `head` overrides members of the events' envelope (thread_id, ticket, run_id, agent_name); by default those of
        the thread. Without facts nothing is written.
        """
        thread = before
        for fact in facts:
            event = self._append(thread, fact, head)
            thread = evolve(thread, event)
            self.store.save_trace(self.db, event)
        if thread is None:
            raise ValueError("nothing was recorded and there was no thread before")
        if facts:
            self.store.save_thread(self.db, before, thread)
        return thread

    def see(self, viewer: tuple[str, str], thread: Thread, sequence: int) -> None:
        """Remember up to where a viewer has seen the thread."""
        self.dirty = True
        self.store.save_seen(self.db, viewer, thread, sequence, self.now)

    def _append(self, thread: Thread | None, fact: Fact, head: dict[str, str | None]) -> Event:
        self.dirty = True
        envelope = self._envelope(thread, fact, head)
        fact = with_post_id(fact, envelope.event_id)
        event, row = self.store.append_event(self.db, envelope, fact)
        self.queued.append(row)
        return event

    def _envelope(self, thread: Thread | None, fact: Fact, head: dict[str, str | None]) -> Envelope:
        command = self.command
        about: Any = thread or command
        return Envelope(
            event_id=self.tools.new_id("fevt"),
            event_type=fact.TYPE,
            event_version=fact.VERSION,
            occurred_at=self.now,
            ticket=head.get("ticket") or about.ticket,
            actor_type=command.actor_type,
            correlation_id=command.correlation_id,
            thread_id=head.get("thread_id") or about.thread_id,
            run_id=head.get("run_id") or about.run_id,
            agent_name=head.get("agent_name") or about.agent_name,
            actor_name=command.actor_name,
            actor_known_by=command.actor_known_by,
            causation_id=command.event_id,
        )
