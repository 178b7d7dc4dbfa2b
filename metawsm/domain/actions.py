"""What may be done to a thread, and the facts that follow. Pure decisions; an empty list is a no-op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from metawsm.domain import errors
from metawsm.domain.envelope import Actor
from metawsm.domain.events import (
    Assigned,
    ControlSignal,
    Fact,
    PostAdded,
    PostRead,
    PriorityChanged,
    StateChanged,
    ThreadClosed,
    ThreadOpened,
)
from metawsm.domain.states import RESPONDERS, check_transition
from metawsm.domain.thread import Thread


def post(thread: Thread, actor: Actor, body: str) -> list[Fact]:
    """A plain post. An agent's post on an answered thread asks the operator again."""
    _check_open(thread, "post on")
    facts: list[Fact] = [PostAdded(body=body, kind="post")]
    if thread.state == "answered" and actor.type == "agent":
        facts.append(StateChanged("answered", "waiting_operator", "the agent wrote again"))
    return facts


def answer(thread: Thread, actor: Actor, body: str, answers: str | None = None) -> list[Fact]:
    """An answer by a human or operator: the post and the state in one go.

    On a control thread it settles the request named by `answers`, else the oldest open one; the thread is `answered`
    only when no request is left open.
    """
    _check_responder(actor)
    _check_open(thread, "answer")
    request = _request(thread, answers)
    return [PostAdded(body=body, kind="answer", answers=request), *_answered(thread, request)]


def assign(thread: Thread, assignee_type: str, assignee_name: str, note: str | None) -> list[Fact]:
    """Give the thread to somebody; an empty name gives it to nobody."""
    _check_open(thread, "assign")
    new = (assignee_type, assignee_name) if assignee_name else ("", "")
    old = (thread.assignee_type or "", thread.assignee_name or "")
    return [] if new == old else [Assigned(*old, *new, note=note)]


def change_state(thread: Thread, actor: Actor, to_state: str, reason: str | None) -> list[Fact]:
    """Move to another state by the table of legal transitions."""
    if to_state == thread.state:
        return []
    if to_state == "closed":
        check_may_close(thread, actor)
        return close(thread, reason)
    check_transition(thread.state, to_state, actor.type)
    if to_state == "answered" and thread.open_requests:
        raise errors.IllegalTransition(
            f"{len(thread.open_requests)} guidance request(s) are open on {thread.thread_id}; answer them instead",
            details={"open_requests": list(thread.open_requests)},
        )
    return [StateChanged(thread.state, to_state, reason)]


def set_priority(thread: Thread, priority: str) -> list[Fact]:
    """Make the thread more or less pressing."""
    _check_open(thread, "change the priority of")
    return [] if priority == thread.priority else [PriorityChanged(thread.priority, priority)]


def check_may_close(thread: Thread, actor: Actor) -> None:
    """Raise NotAllowed for an agent while a guidance request is open: its run would go on without an answer."""
    if thread.open_requests and actor.type == "agent":
        raise errors.NotAllowed(
            f"{len(thread.open_requests)} guidance request(s) are open on {thread.thread_id}:"
            " only a human or an operator closes it"
        )


def close(thread: Thread, reason: str | None) -> list[Fact]:
    """Close the thread; closing twice is a no-op."""
    return [] if thread.state == "closed" else [ThreadClosed(thread.state, reason)]


def reader(actor: Actor) -> str:
    """The name of the agent that reads answers. Raises NotAllowed for others, InvalidFields for one without a name."""
    if actor.type != "agent":
        raise errors.NotAllowed(f"only an agent reads answers to it, not actor_type {actor.type}")
    if not actor.name:
        raise errors.InvalidFields(
            "faulty field(s): actor_name", fields={"actor_name": ["is required: which agent has read them"]}
        )
    return actor.name


def read(post_ids: Sequence[str], agent: str) -> list[Fact]:
    """An agent has read these answers; on a closed thread, too."""
    return [PostRead(post_id, "agent", agent) for post_id in post_ids]


def open_control_thread(run_id: str, agent_name: str) -> ThreadOpened:
    """The opening of a control thread, the same for every first signal."""
    return ThreadOpened(
        title=f"Control thread of {agent_name} in {run_id}",
        body=f"Control signals of agent {agent_name} in run {run_id}.",
        priority="normal",
    )


def check_first_signal(actor: Actor, payload: Mapping[str, Any]) -> None:
    """Raise unless a control thread may begin with this signal: an answer needs a request before it."""
    if payload["control_type"] == "guidance_answer":
        _check_responder(actor)
        raise errors.IllegalTransition("no guidance request was ever made by this agent in this run")


def signal(thread: Thread, actor: Actor, payload: Mapping[str, Any]) -> list[Fact]:
    """A control signal on an open control thread (contract, section 7); `payload` is checked already."""
    _check_open(thread, "signal on")
    kind = payload["control_type"]
    if kind == "guidance_answer":
        return _guidance_answer(thread, actor, payload)
    facts: list[Fact] = [ControlSignal(dict(payload))]
    if kind == "guidance_request" and thread.state != "waiting_human":
        facts.append(StateChanged(thread.state, "waiting_human", "guidance requested"))
    elif kind != "guidance_request" and thread.state == "new":
        facts.append(StateChanged("new", "answered", "no guidance request is open"))
    return facts


def _guidance_answer(thread: Thread, actor: Actor, payload: Mapping[str, Any]) -> list[Fact]:
    _check_responder(actor)
    if not thread.open_requests:
        raise errors.IllegalTransition(f"no guidance request is open on {thread.thread_id}; there is nothing to answer")
    request = _request(thread, payload.get("answers"))
    return [ControlSignal(dict(payload), answers=request), *_answered(thread, request)]


def _request(thread: Thread, named: str | None) -> str | None:
    requests = thread.open_requests or ()
    if named is None:
        return requests[0] if requests else None
    if named not in requests:
        raise errors.InvalidFields(
            f"{named} is not an open guidance request of {thread.thread_id}",
            fields={"answers": ["must be the post id of an open guidance request of this thread"]},
        )
    return named


def _answered(thread: Thread, request: str | None) -> list[Fact]:
    remaining = [r for r in thread.open_requests or () if r != request]
    if remaining or thread.state == "answered":
        return []
    return [StateChanged(thread.state, "answered", None)]


def _check_open(thread: Thread, deed: str) -> None:
    if thread.state == "closed":
        raise errors.ThreadClosed(
            f"thread {thread.thread_id} is closed: you cannot {deed} it; a human or operator can reopen it"
            " with state triaged"
        )


def _check_responder(actor: Actor) -> None:
    if actor.type not in RESPONDERS:
        raise errors.NotAllowed(f"only a human or an operator answers, not actor_type {actor.type}")
