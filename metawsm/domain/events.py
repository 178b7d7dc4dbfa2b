"""Every fact: one frozen class per event type and version; those of runs are in `run_events`. Contract, section 2."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from metawsm.domain.envelope import Envelope
from metawsm.domain.ids import post_id
from metawsm.domain.run_events import RUN_FACTS, RunFact
from metawsm.domain.values import value_class


@value_class
class ThreadOpened:
    """A question was asked; its body is post 1. `options` are answers the asker offers."""

    TYPE: ClassVar[str] = "forum.thread.opened"
    VERSION: ClassVar[int] = 1
    title: str
    body: str
    priority: str
    options: tuple[str, ...] = ()


@value_class
class PostAdded:
    """Somebody wrote on a thread; `kind` is `post` or `answer`. `answers` names the guidance request it settles."""

    TYPE: ClassVar[str] = "forum.post.added"
    VERSION: ClassVar[int] = 1
    body: str
    kind: str
    post_id: str = ""
    answers: str | None = None


@value_class
class ControlSignal:
    """An agent's or responder's control signal (contract, section 7). `answers` names the request it settles."""

    TYPE: ClassVar[str] = "forum.control.signal"
    VERSION: ClassVar[int] = 1
    signal: dict[str, Any]
    post_id: str = ""
    answers: str | None = None


@value_class
class Assigned:
    """A thread got an assignee, another one, or none (empty names)."""

    TYPE: ClassVar[str] = "forum.assigned"
    VERSION: ClassVar[int] = 1
    from_assignee_type: str
    from_assignee_name: str
    to_assignee_type: str
    to_assignee_name: str
    note: str | None = None


@value_class
class StateChanged:
    """A thread moved to another state (closing is ThreadClosed)."""

    TYPE: ClassVar[str] = "forum.state.changed"
    VERSION: ClassVar[int] = 1
    from_state: str
    to_state: str
    reason: str | None = None


@value_class
class PriorityChanged:
    """A thread became more or less pressing."""

    TYPE: ClassVar[str] = "forum.priority.changed"
    VERSION: ClassVar[int] = 1
    from_priority: str
    to_priority: str


@value_class
class ThreadClosed:
    """A thread was closed, by whatever route."""

    TYPE: ClassVar[str] = "forum.thread.closed"
    VERSION: ClassVar[int] = 1
    from_state: str
    reason: str | None = None


@value_class
class PostDelivered:
    """An answer was put before the agent that waits for it: as text or a line in its pane, by `wait`, by `inbox`."""

    TYPE: ClassVar[str] = "forum.post.delivered"
    VERSION: ClassVar[int] = 1
    post_id: str
    reader_type: str
    reader_name: str
    how: str


@value_class
class PostRead:
    """An agent has read an answer."""

    TYPE: ClassVar[str] = "forum.post.read"
    VERSION: ClassVar[int] = 1
    post_id: str
    reader_type: str
    reader_name: str


Fact = (
    ThreadOpened
    | PostAdded
    | ControlSignal
    | Assigned
    | StateChanged
    | PriorityChanged
    | ThreadClosed
    | PostDelivered
    | PostRead
    | RunFact
)
ALL: tuple[type[Fact], ...] = (
    ThreadOpened,
    PostAdded,
    ControlSignal,
    Assigned,
    StateChanged,
    PriorityChanged,
    ThreadClosed,
    PostDelivered,
    PostRead,
    *RUN_FACTS,
)
RECEIPTS = (PostDelivered, PostRead)
DELIVERIES = ("line", "paste", "wait", "inbox")
"""How an answer comes before its reader."""


@value_class
class Event:
    """A fact with its head and its place in the global order."""

    sequence: int
    envelope: Envelope
    fact: Fact


def with_post_id(fact: Fact, event_id: str) -> Fact:
    """Give a fact that brings a post the id which follows from its event."""
    if isinstance(fact, PostAdded):  # by hand: attrs.evolve takes twice as long
        return PostAdded(body=fact.body, kind=fact.kind, answers=fact.answers, post_id=post_id(event_id))
    if isinstance(fact, ControlSignal):
        return attrs.evolve(fact, post_id=post_id(event_id))
    return fact
