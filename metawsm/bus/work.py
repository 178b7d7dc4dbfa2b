"""The unit of work of one command: what its handler may read and write, inside one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from attrs import field, frozen

from metawsm.bus.jobs import NewJob, step_job
from metawsm.bus.ports import Db
from metawsm.bus.specs import Change
from metawsm.domain.envelope import Actor, Envelope
from metawsm.domain.errors import NotFound, StaleSequence
from metawsm.domain.events import Event, Fact, with_post_id
from metawsm.domain.ids import EVENT
from metawsm.domain.run import Run, created, evolve_run
from metawsm.domain.run_events import RunCreated, RunFact, StepStateChanged
from metawsm.domain.run_plan import Settings
from metawsm.domain.thread import Thread, evolve
from metawsm.domain.values import value_class
from metawsm.domain.view import view

if TYPE_CHECKING:  # the commands, and so the command line, load this module, and that one loads cattrs
    from metawsm.messages.codec import Written


@value_class
class Queued:
    """An outbox row on its way to Redis. `sequence` is None for commands; `text` is the message's JSON payload.

    `event` is known of an event that was appended just now, `written` of a command that was read from its row.
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
    written: Written | None = None


class Store(Protocol):
    """The state tables a handler's transaction works on."""

    def find_thread(self, db: Db, thread_id: str) -> Thread | None:
        """The thread as its events made it, or None."""
        ...

    def append_event(self, db: Db, envelope: Envelope, fact: Fact) -> tuple[Event, Queued]:
        """Write the event into the log and into the outbox; return it with its place, and its outbox row."""
        ...

    def save_trace(self, db: Db, change: Change) -> None:
        """Write the rows that people read by hand: posts, transitions, assignments, receipts.

        It may remember the change for the read models, which follow.
        """
        ...

    def save_thread(self, db: Db, before: Thread | None, thread: Thread) -> None:
        """Insert or update the thread's row."""
        ...

    def unread_answers(self, db: Db, thread_id: str, agent: str, first: int, last: int, limit: int) -> list[str]:
        """Post ids of the answers in [first, last] that an agent has not read, the oldest first."""
        ...

    def is_delivered(self, db: Db, thread_id: str, post_id: str, agent: str) -> bool | None:
        """Whether an answer has come before an agent; None where the thread has no such answer."""
        ...

    def asked_before(self, db: Db, posts: Sequence[str], signal: Mapping[str, Any], time: str) -> bool:
        """Whether one of the requests in these posts was made before a time, and says the same as the signal."""
        ...

    def save_seen(self, db: Db, viewer: tuple[str, str], thread: Thread, sequence: int, now: str) -> None:
        """Remember up to where a viewer has seen the thread."""
        ...

    def find_run(self, db: Db, run_id: str) -> Run | None:
        """The run as its events made it, or None."""
        ...

    def save_run(self, db: Db, before: Run | None, run: Run) -> None:
        """Insert the run's rows, or update those that changed."""
        ...

    def other_run_in(self, db: Db, run_id: str, workspace: str) -> str | None:
        """Another run that is not over and has this workspace, or None."""
        ...

    def ticket_of_run(self, db: Db, run_id: str) -> str:
        """The first ticket of a run; empty where there is no such run."""
        ...

    def ticket_of_agent(self, db: Db, run_id: str, agent: str) -> str | None:
        """The ticket an agent of a run works on; None where there is no such run or agent."""
        ...

    def add_job(self, db: Db, job: NewJob, now: str) -> None:
        """Write the job's row, unless there is one with its key."""
        ...


@frozen
class Tools:
    """What the core takes from the outside and tests replace: the clock, the source of ids, what the policy says."""

    now: Callable[[], str]
    new_id: Callable[[str], str]
    escalation_minutes: int
    runs: Settings


@attrs.define
class Work:
    """One command being handled. `queued` collects the outbox rows of its events, `jobs` says that it added jobs."""

    db: Db
    store: Store
    tools: Tools
    command: Envelope
    expected_sequence: int | None
    now: str
    queued: list[Queued] = field(factory=list)
    dirty: bool = False
    jobs: bool = False

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

    def record(
        self, before: Thread | None, facts: Sequence[Fact], by: Actor | None = None, **head: str | None
    ) -> Thread:
        """Make the facts durable in this transaction and return the thread after them.

        `by` is who the events say has acted; default: who sent the command. `head` overrides members of the events'
        envelope (thread_id, ticket, run_id, agent_name); by default those of the thread. Without facts nothing is
        written.
        """
        thread = before
        for fact in facts:
            event = self._append(thread, fact, by or self.actor, head)
            change = Change(event, thread, evolve(thread, event))
            self.store.save_trace(self.db, change)
            thread = change.after
        if thread is None:
            raise ValueError("nothing was recorded and there was no thread before")
        if facts:
            self.store.save_thread(self.db, before, thread)
        return thread

    def find_run(self, run_id: str) -> Run | None:
        """The run, or None."""
        return self.store.find_run(self.db, run_id)

    def run(self, run_id: str) -> Run:
        """The run. Raises NotFound."""
        run = self.find_run(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        return run

    def other_run_in(self, run_id: str, workspace: str) -> str | None:
        """Another run that is not over and has this workspace, or None."""
        return self.store.other_run_in(self.db, run_id, workspace)

    def record_run(self, before: Run | None, facts: Sequence[RunFact]) -> Run:
        """Make facts about a run durable in this transaction, each step that begins with its job."""
        run = before
        for fact in facts:
            about = {"run_id": self.command.run_id, "agent_name": getattr(fact, "agent", None)}
            ticket = fact.tickets[0] if isinstance(fact, RunCreated) else run.ticket if run else ""
            event = self._event(fact, self.actor, about | {"ticket": ticket})
            run = self._run_after(run, event)
            if isinstance(fact, StepStateChanged) and fact.to_state == "running":
                self.add_job(step_job(run, run.steps[fact.step - 1]))
        if run is None:
            raise ValueError("nothing was recorded and there was no run before")
        if facts:
            self.store.save_run(self.db, before, run)
        return run

    def add_job(self, job: NewJob) -> None:
        """Have something long done after this transaction."""
        self.dirty = self.jobs = True
        self.store.add_job(self.db, job, self.now)

    def _run_after(self, run: Run | None, event: Event) -> Run:
        fact: Any = event.fact
        if isinstance(fact, RunCreated):
            by = (self.command.actor_type, self.command.actor_name)
            return created(str(self.command.run_id), fact, self.now, by, event.sequence)
        if run is None:
            raise ValueError(f"{fact.TYPE} is about a run that was never created")
        return evolve_run(run, fact, self.now, event.sequence)

    def unread_answers(self, thread: Thread, agent: str, first: int, last: int, limit: int) -> list[str]:
        """Post ids of the thread's answers in [first, last] that an agent has not read, the oldest first."""
        return self.store.unread_answers(self.db, thread.thread_id, agent, first, last, limit)

    def ticket_of_agent(self, run_id: str, agent: str) -> str | None:
        """The ticket an agent of a run works on; None where there is no such run or agent."""
        return self.store.ticket_of_agent(self.db, run_id, agent)

    def asked_before(self, thread: Thread, signal: Mapping[str, Any], time: str) -> bool:
        """Whether an open request of the thread was made before a time, and says the same as the signal."""
        return self.store.asked_before(self.db, thread.open_requests or (), signal, time)

    def see(self, viewer: tuple[str, str], thread: Thread, sequence: int) -> None:
        """Remember up to where a viewer has seen the thread."""
        self.dirty = True
        self.store.save_seen(self.db, viewer, thread, sequence, self.now)

    def _append(self, thread: Thread | None, fact: Fact, by: Actor, head: dict[str, str | None]) -> Event:
        about: Any = thread or self.command
        named = {
            "thread_id": about.thread_id,
            "run_id": about.run_id,
            "ticket": about.ticket,
            "agent_name": about.agent_name,
        }
        return self._event(fact, by, named | {name: value for name, value in head.items() if value})

    def _event(self, fact: Fact, by: Actor, about: dict[str, Any]) -> Event:
        self.dirty = True
        envelope = self._envelope(fact, by, about)
        fact = with_post_id(fact, envelope.event_id)
        event, row = self.store.append_event(self.db, envelope, fact)
        self.queued.append(row)
        return event

    def _envelope(self, fact: Fact, by: Actor, about: dict[str, Any]) -> Envelope:
        command = self.command
        return Envelope(
            event_id=self.tools.new_id(EVENT),
            event_type=fact.TYPE,
            event_version=fact.VERSION,
            occurred_at=self.now,
            actor_type=by.type,
            correlation_id=command.correlation_id,
            actor_name=by.name,
            actor_known_by=by.known_by,
            causation_id=command.event_id,
            **about,
        )
