"""What a command, a projection and a schedule say about themselves: plain data from which the edges follow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from metawsm.bus import fields
from metawsm.domain.states import OUTSIDE_ACTORS
from metawsm.domain.values import value_class

if TYPE_CHECKING:
    from metawsm.bus.ports import Db
    from metawsm.bus.work import Work
    from metawsm.domain.events import Event
    from metawsm.domain.thread import Thread


THREAD, RUN = "thread_id", "run_id"
"""What a command may be about: the member of its envelope that holds its key."""


@value_class
class Attribution:
    """Who sends a command and what it belongs to: fields that every command has."""

    actor_type: str | None = fields.choice("who acts; anonymous requests act as agent", OUTSIDE_ACTORS)
    actor_name: str | None = fields.text("the actor's name", max_chars=128)
    correlation_id: str | None = fields.text("id of the conversation; default: the command's own id", max_chars=128)
    causation_id: str | None = fields.text("id of the message that led to this one", max_chars=128)
    command_id: str | None = fields.text("idempotency key, as the header Idempotency-Key", blank=False, max_chars=128)


@value_class
class Expectation:
    """What the sender believes about the thread: a field of every action on an existing thread."""

    expected_sequence: int | None = fields.integer("the version_sequence this was written against; 409 if it moved on")


@frozen
class Flag:
    """One option of a CLI verb. `target` is a body field, or `payload.<member>`, which `about` describes."""

    name: str
    target: str
    required: bool = False
    stdin: bool = False  # `-` reads standard input
    default: str | None = None
    about: str = ""


@frozen
class Verb:
    """A verb of `metawsm.pyz forum`. `actor` is the default actor_type."""

    name: str
    help: str
    flags: tuple[Flag, ...]
    actor: str
    example: str = ""


@frozen(eq=False)  # a spec is the same only as itself: tables by spec are asked for with each command
class CommandSpec:
    """One command: its message, its route, its verb, and how it is handled.

    `subject` says what the command is about, a thread or a run, by the envelope's member that names it;
    `key(intake, message)` gives that id, inside the accepting transaction. Commands of one key run in their order.
    `handle(work, message)` makes the facts, inside the handling transaction, and returns the answer's body.
    `check(message)` raises InvalidFields for faults that no field rule sees, before anything is stored.
    `actor_fields` name the fields whose values stand for a missing actor_type and actor_name.
    `answer` names the one member of that body. `loads`: the thread must exist, and the body may carry an expectation.
    A command without `path` has no route and is `internal`: only the program itself sends it.
    """

    name: str
    message: type
    summary: str
    key: Callable[[Any, Any], str]
    handle: Callable[[Work, Any], Mapping[str, Any]]
    path: str = ""
    verb: Verb | None = None
    subject: str = THREAD
    version: int = 1
    status: int = 200
    answer: str = "thread"
    loads: bool = True
    check: Callable[[Any], object] | None = None
    actor_fields: tuple[str, str] | None = None

    @property
    def event_type(self) -> str:
        """The command's type on the wire, whatever the topic prefix."""
        return f"forum.commands.{self.name}"

    @property
    def internal(self) -> bool:
        """Whether nobody outside may send it."""
        return not self.path

    @property
    def parts(self) -> tuple[type, ...]:
        """The classes whose fields make up the body."""
        return (self.message, Attribution, Expectation) if self.loads else (self.message, Attribution)


@value_class
class Change:
    """What one event did, as a projection sees it. Threads are None for events that belong to none."""

    event: Event
    before: Thread | None
    after: Thread | None


class Gathering(ABC):
    """What applies the changes of a batch with few statements. Nothing may read its tables before `finish`.

    `about` is the event that what `finish` is writing began with, which is blamed when that fails.
    """

    about: Event | None

    @abstractmethod
    def begin(self) -> None:
        """Forget what was gathered: it is written, or the attempt came to nothing."""

    @abstractmethod
    def __call__(self, db: Db, change: Change) -> None:
        """Gather one change."""

    @abstractmethod
    def finish(self, db: Db) -> None:
        """Write down what was gathered, in the transaction of the batch."""


@frozen
class ProjectionSpec:
    """One read model. All are computed together from `forum_events`, in sequence order.

    `tables` are the names of its tables; `schema(prefix)` the DDL with every table and index name behind `prefix`
    (empty for the live ones, another while they are made anew); `build(prefix)` gives what applies one change, or
    gathers many (`Gathering`).
    """

    name: str
    version: int
    tables: tuple[str, ...]
    schema: Callable[[str], str]
    build: Callable[[str], Callable[[Db, Change], None]]


@frozen
class ScheduleSpec:
    """One clock-driven producer: `run(tools)` is called every `seconds`, never twice at once."""

    name: str
    seconds: float
    run: Callable[[Any], None]
