"""A thread on the terminal: posts and deeds in order, nothing of them hidden, nothing in them dangerous."""

from __future__ import annotations

from typing import Any

import pytest

from metawsm.cli.event_line import line
from metawsm.cli.thread_page import page

AT = "2026-11-01T08:00:00.000000Z"


def post(sequence: int, body: str, **more: Any) -> dict[str, Any]:
    """A post as the daemon shows it."""
    told = {"post_id": f"fevt-{sequence}.post", "sequence": sequence, "kind": "post", "body": body}
    return told | {"actor_type": "agent", "created_at": AT} | more


def event(sequence: int, kind: str, **payload: Any) -> dict[str, Any]:
    """An event as the daemon shows it."""
    head = {"event_type": kind, "actor_type": "human", "actor_name": "kb", "occurred_at": AT}
    return {"sequence": sequence, "envelope": head, "payload": payload}


def test_deeds_stand_between_the_posts() -> None:
    """State, priority, assignment and closing are a line each, in their place, with the reason given."""
    events = [
        event(1, "forum.thread.opened", options=["v1", "v2"]),
        event(2, "forum.priority.changed", from_priority="normal", to_priority="high"),
        event(3, "forum.assigned", to_assignee_type="human", to_assignee_name="ann", note="please look"),
        event(5, "forum.thread.closed", from_state="answered", reason="decided"),
    ]
    told = "\n".join(page({"posts": [post(1, "which?"), post(4, "v2", kind="answer")], "events": events}))
    assert told.split("\n") == [
        "", "#1 agent 2026-11-01T08:00:00Z", "    which?", "    - v1", "    - v2",
        "", "#2 human kb 2026-11-01T08:00:00Z priority normal -> high",
        "", "#3 human kb 2026-11-01T08:00:00Z assigned to human ann: please look",
        "", "#4 agent 2026-11-01T08:00:00Z answer", "    v2",
        "", "#5 human kb 2026-11-01T08:00:00Z answered -> closed: decided",
    ]  # fmt: skip


def test_signals_say_what_they_are_and_what_they_answer() -> None:
    """A request shows its context and how to answer it; an answer names the request by its number."""
    asked = {"control_type": "guidance_request", "question": "v1?", "context": "schema"}
    answered = {"control_type": "guidance_answer", "answer": "v2"}
    posts = [post(6, "v1?", kind="signal", signal=asked), post(8, "v2", kind="signal", signal=answered)]
    events = [event(8, "forum.control.signal", answers="fevt-6.post")]
    lines = list(page({"posts": posts, "events": events}))
    assert "    context: schema" in lines
    assert "    answer with --answers fevt-6.post" in lines
    assert "\n#8 agent 2026-11-01T08:00:00Z guidance_answer to #6" in lines


def test_answers_say_who_got_and_who_read_them() -> None:
    """Under an answer stands each agent with the newest that is known of it; the events behind it need no line."""
    receipts = [
        {"reader_type": "agent", "reader_name": "bob", "delivered_how": "line", "delivered_at": AT},
        {"reader_type": "agent", "reader_name": "ann", "delivered_at": AT, "read_at": "2026-11-01T09:00:00.000000Z"},
    ]
    events = [event(5, "forum.post.delivered", post_id="fevt-4.post", reader_name="bob", how="line"),
              event(6, "forum.post.read", post_id="fevt-4.post", reader_name="ann")]  # fmt: skip
    told = "\n".join(page({"posts": [post(4, "v2", kind="answer", receipts=receipts)], "events": events}))
    assert told.split("\n")[2:] == [
        "    v2", "    -> delivered to bob 2026-11-01T08:00:00Z", "    -> read by ann 2026-11-01T09:00:00Z",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("payload", "words"), [({"how": "paste"}, "delivered to bob (paste)"), ({}, "read by bob")]
)  # fmt: skip
def test_watching_tells_receipts_in_words(payload: dict[str, str], words: str) -> None:
    """A line of the feed says to whom an answer came, and how, or who has read it."""
    told = event(7, "forum.post.read", post_id="fevt-4.post", reader_type="agent", reader_name="bob", **payload)
    assert line(told).endswith(words)


def test_nothing_dangerous_reaches_the_terminal() -> None:
    """Reasons, options and contexts are agents' texts: no control sequence survives, no line pretends to be ours."""
    evil = "\x1b[31mred\x07\n#9 human kb"
    signal = {"control_type": "guidance_request", "context": evil}
    receipts = [{"reader_name": evil, "read_at": evil}]
    events = [event(1, "forum.thread.opened", options=[evil]), event(2, "forum.thread.closed", reason=evil)]
    told = "\n".join(
        page({"posts": [post(1, evil, kind="signal", signal=signal, receipts=receipts)], "events": events})
    )
    assert "\x1b" not in told and "\x07" not in told
    assert not any(line.startswith("#9") for line in told.split("\n"))
