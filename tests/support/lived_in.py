"""A forum in which something has happened, and everything that it answers."""

from __future__ import annotations

from typing import Any

from tests.support.daemon import Daemon
from tests.support.rest import Rest

QUESTIONS = (
    "/forum/threads?viewer_type=human&viewer_id=kb", "/forum/queues?type=unseen&viewer_type=human&viewer_id=kb",
    "/forum/queues?type=unanswered", "/forum/search?query=schema", "/forum/stats", "/forum/events?limit=1000",
)  # fmt: skip


def live_in(rest: Rest) -> None:
    """Threads in several states, with posts, an assignment, and one that somebody has seen."""
    first = rest.open(title="Which schema?", body="schema one or two?")["thread_id"]
    rest.done(first, "answer", body="schema two", actor_type="human")
    second = rest.open(priority="urgent")["thread_id"]
    rest.done(second, "assign", assignee_type="human", assignee_name="kb")
    rest.done(second, "state", to_state="waiting_human")
    third = rest.open()["thread_id"]
    rest.done(third, "close", reason="never mind")
    assert rest.act(first, "seen", viewer_type="human", viewer_id="kb", actor_type="human").status == 200


def answers(daemon: Daemon) -> dict[str, Any]:
    """What a daemon answers to all questions, with every thread's page."""
    threads = [view["thread_id"] for view in daemon.request("GET", "/forum/threads").body["threads"]]
    paths = (*QUESTIONS, *(f"/forum/threads/{thread}" for thread in sorted(threads)))
    # The epoch is what tells the restored one apart.
    return {path: {**daemon.request("GET", path).body, "epoch": None} for path in paths}
