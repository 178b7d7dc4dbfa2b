"""The thread: what its events make of it. `evolve` serves the command side and the read side alike."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import attrs

from metawsm.domain.envelope import Actor, Envelope
from metawsm.domain.events import (
    Assigned,
    ControlSignal,
    Event,
    Fact,
    PostAdded,
    PostDelivered,
    PostRead,
    PriorityChanged,
    StateChanged,
    ThreadClosed,
    ThreadOpened,
)
from metawsm.domain.states import RESPONDERS
from metawsm.domain.values import value_class


@value_class
class Thread:
    """A thread after its event `last_event_sequence`.

    `asker_last`: the asker spoke last; only posts and signals change it.
    `waiting_since`: start of the SLA clock while somebody has to answer, else None (contract, section 8).
    `open_requests`: post ids of unanswered guidance requests, oldest first; None where it is no control thread.
    """

    thread_id: str
    ticket: str
    title: str
    state: str
    priority: str
    opened_by_type: str
    opened_at: str
    updated_at: str
    last_event_sequence: int
    version_sequence: int
    run_id: str | None = None
    agent_name: str | None = None
    opened_by_name: str | None = None
    assignee_type: str | None = None
    assignee_name: str | None = None
    posts_count: int = 1
    last_post_at: str | None = None
    last_post_by_type: str | None = None
    last_post_by_name: str | None = None
    last_actor_type: str | None = None
    asker_last: bool = True
    waiting_since: str | None = None
    escalation_level: int = 0
    closed_at: str | None = None
    open_requests: tuple[str, ...] | None = None

    @property
    def blocks_run(self) -> bool:
        """Whether a request for guidance is open: its run waits for an answer, and a plain post is none."""
        return bool(self.open_requests) and self.state not in ("answered", "closed")

    @property
    def is_unanswered(self) -> bool:
        """Whether somebody has to answer: the clock runs, or a post has stopped it while a request is open."""
        return self.waiting_since is not None or self.blocks_run

    def is_responder(self, actor: Actor) -> bool:
        """Whether `actor` answers here: a human or operator who is not the one who asked."""
        asked = (self.opened_by_type, self.opened_by_name)
        return actor.type in RESPONDERS and (actor.type, actor.name) != asked


_NAMES = tuple(each.name for each in attrs.fields(Thread))
_VALUES = attrgetter(*_NAMES)
_PLACES = {name: place for place, name in enumerate(_NAMES)}


def evolve(thread: Thread | None, event: Event) -> Thread:
    """The thread after `event`. Pure; raises ValueError for an event on a thread that was never opened."""
    if isinstance(event.fact, ThreadOpened):
        return _opened(event, event.fact)
    if thread is None:
        raise ValueError(f"event {event.envelope.event_id} is about a thread that was never opened")
    return _with(thread, _place(thread, event) | _changes(thread, event.envelope, event.fact))


def _with(thread: Thread, changes: dict[str, Any]) -> Thread:
    """What attrs.evolve gives, in a third of its time."""
    values = list(_VALUES(thread))
    for name, value in changes.items():
        values[_PLACES[name]] = value
    return Thread(*values)


def _opened(event: Event, fact: ThreadOpened) -> Thread:
    head = event.envelope
    control = head.thread_id is not None and head.thread_id.startswith("fctrl-")
    return Thread(
        thread_id=head.thread_id or "",
        ticket=head.ticket,
        title=fact.title,
        state="new",
        priority=fact.priority,
        opened_by_type=head.actor_type,
        opened_by_name=head.actor_name,
        opened_at=head.occurred_at,
        updated_at=head.occurred_at,
        run_id=head.run_id,
        agent_name=head.agent_name,
        last_event_sequence=event.sequence,
        version_sequence=event.sequence,
        last_actor_type=head.actor_type,
        last_post_at=head.occurred_at,
        last_post_by_type=head.actor_type,
        last_post_by_name=head.actor_name,
        waiting_since=head.occurred_at,
        open_requests=() if control else None,
    )


def _place(thread: Thread, event: Event) -> dict[str, Any]:
    head = event.envelope
    place: dict[str, Any] = {"last_event_sequence": event.sequence, "updated_at": head.occurred_at}
    if head.actor_type != "system":
        place |= {"version_sequence": event.sequence, "last_actor_type": head.actor_type}
    return place


def _changes(thread: Thread, head: Envelope, fact: Fact) -> dict[str, Any]:
    match fact:
        case PostAdded():
            return _posted(thread, head) | _spoken(thread, head, fact)
        case ControlSignal():
            return _posted(thread, head) | _signalled(thread, head, fact)
        case StateChanged():
            return _entered(thread, fact.to_state, head.occurred_at)
        case ThreadClosed():
            return _entered(thread, "closed", head.occurred_at)
        case PriorityChanged():
            return {"priority": fact.to_priority}
        case Assigned():
            named = bool(fact.to_assignee_name)
            return {
                "assignee_type": fact.to_assignee_type if named else None,
                "assignee_name": fact.to_assignee_name if named else None,
            }
        case PostDelivered() | PostRead():
            return {}
    raise ValueError(f"no rule for {type(fact).__name__}")


def _posted(thread: Thread, head: Envelope) -> dict[str, Any]:
    return {
        "posts_count": thread.posts_count + 1,
        "last_post_at": head.occurred_at,
        "last_post_by_type": head.actor_type,
        "last_post_by_name": head.actor_name,
    }


def _spoken(thread: Thread, head: Envelope, fact: PostAdded) -> dict[str, Any]:
    if head.actor_type == "system":
        return {}
    if fact.kind == "answer":
        return _answered(thread, fact.answers)
    if thread.is_responder(head.actor):
        return {"asker_last": False} | _clock(thread, None)
    return _asked(thread, head.occurred_at)


def _signalled(thread: Thread, head: Envelope, fact: ControlSignal) -> dict[str, Any]:
    kind = fact.signal.get("control_type")
    if kind == "guidance_request":
        requests = (*(thread.open_requests or ()), fact.post_id)
        return {"open_requests": requests} | _asked(thread, head.occurred_at)
    if kind == "guidance_answer":
        return _answered(thread, fact.answers)
    return {}


def _asked(thread: Thread, at: str) -> dict[str, Any]:
    """The asker's first words after a responder's start the clock; further ones leave it alone."""
    if thread.asker_last and thread.waiting_since:
        return {}
    return {"asker_last": True} | _clock(thread, at)


def _answered(thread: Thread, request: str | None) -> dict[str, Any]:
    """The clock stops only when no other request is open."""
    remaining = tuple(r for r in thread.open_requests or () if r != request)
    if remaining:
        return {"open_requests": remaining}
    requests = None if thread.open_requests is None else remaining
    return {"open_requests": requests, "asker_last": False} | _clock(thread, None)


def _entered(thread: Thread, state: str, at: str) -> dict[str, Any]:
    """A state says who has to act: `new` and `waiting_human` wait anyway, `answered` and `closed` for nobody."""
    waits = state in ("new", "waiting_human") or (thread.asker_last and state not in ("answered", "closed"))
    change: dict[str, Any] = {"state": state, "closed_at": at if state == "closed" else None}
    return change | _clock(thread, at if waits else None)


def _clock(thread: Thread, since: str | None) -> dict[str, Any]:
    level = thread.escalation_level if since == thread.waiting_since else 0
    return {"waiting_since": since, "escalation_level": level}
