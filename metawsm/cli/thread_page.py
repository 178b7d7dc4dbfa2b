"""A thread as people read it: its posts, and between them, a line each, what else was done to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from metawsm.cli.output import indented
from metawsm.cli.text import one_line

Row = Mapping[str, Any]


def page(answer: Row) -> Iterator[str]:
    """The lines of posts and events, in order. Everything in them is clean of control characters."""
    events = {event["sequence"]: event for event in answer.get("events", ())}
    places = {post.get("post_id"): post.get("sequence") for post in answer.get("posts", ())}
    posts = {post.get("sequence"): post for post in answer.get("posts", ())}
    for sequence in sorted({*posts, *events}):
        event = events.get(sequence, {})
        if sequence in posts:
            yield from _post(posts[sequence], event.get("payload", {}), places)
        elif line := _deed(event):
            yield f"\n{one_line(line)}"


def _post(post: Row, payload: Row, places: Mapping[Any, Any]) -> Iterable[str]:
    signal = post.get("signal") or {}
    kind = str(signal.get("control_type") or post.get("kind", "")).removeprefix("post")
    to = f"to #{places.get(payload['answers'], payload['answers'])}" if payload.get("answers") else ""
    head = (f"#{post.get('sequence', '')}", _who(post), _when(post.get("created_at")), kind, to)
    yield f"\n{one_line(' '.join(filter(None, head)))}"
    yield indented(post.get("body", ""))
    if signal.get("context"):
        yield indented(f"context: {signal['context']}")
    if signal.get("control_type") == "guidance_request":
        yield indented(f"answer with --answers {post.get('post_id')}")
    for option in payload.get("options", ()):
        yield indented(f"- {one_line(option)}")
    for receipt in post.get("receipts", ()):
        yield indented(_receipt(receipt))


def _receipt(receipt: Row) -> str:
    """Whether an agent got an answer, and whether it has read it."""
    name, read_at, delivered_at = (receipt.get(each) for each in ("reader_name", "read_at", "delivered_at"))
    done = f"read by {name}" if read_at else f"delivered to {name}"
    return one_line(f"-> {done}  {_when(read_at or delivered_at)}")


def _deed(event: Row) -> str:
    """What an event that brought no post did; empty for one that people need not see."""
    head, payload = event.get("envelope", {}), event.get("payload", {})
    told = DEEDS.get(str(head.get("event_type")))
    if told is None:
        return ""
    why = payload.get("reason") or payload.get("note")
    done = told(payload) + (f": {why}" if why else "")
    return f"#{event.get('sequence', '')} {_who(head)}  {_when(head.get('occurred_at'))}  {done}"


def _assigned(payload: Row) -> str:
    name = payload.get("to_assignee_name")
    return f"assigned to {payload.get('to_assignee_type')} {name}" if name else "assigned to nobody"


DEEDS: dict[str, Callable[[Row], str]] = {
    "forum.state.changed": lambda payload: f"{payload.get('from_state')} -> {payload.get('to_state')}",
    "forum.thread.closed": lambda payload: f"{payload.get('from_state')} -> closed",
    "forum.priority.changed": lambda payload: (
        f"priority {payload.get('from_priority')} -> {payload.get('to_priority')}"
    ),
    "forum.assigned": _assigned,
}


def _who(told: Row) -> str:
    return " ".join(str(told[name]) for name in ("actor_type", "actor_name") if told.get(name))


def _when(moment: object) -> str:
    return f"{str(moment)[:19]}Z" if moment else ""
