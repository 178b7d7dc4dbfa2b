"""The rules of states, answers, no-ops and expectations, over HTTP (contract, sections 2, 5 and 8)."""

from __future__ import annotations

import pytest

from tests.support.rest import Rest

STATES = ("new", "triaged", "waiting_operator", "waiting_human", "answered", "closed")
# Written out from the contract, not taken from the program.
LEGAL = {
    "new": {"triaged", "waiting_operator", "waiting_human", "answered", "closed"},
    "triaged": {"waiting_operator", "waiting_human", "answered", "closed"},
    "waiting_operator": {"waiting_human", "triaged", "answered", "closed"},
    "waiting_human": {"waiting_operator", "triaged", "answered", "closed"},
    "answered": {"waiting_operator", "waiting_human", "closed"},
    "closed": {"triaged"},
}
PAIRS = [(a, b) for a in STATES for b in STATES]


@pytest.mark.parametrize(("start", "end"), [(a, b) for a, b in PAIRS if b in LEGAL[a]])
def test_legal_moves(rest: Rest, start: str, end: str) -> None:
    """Every move of the table succeeds with exactly one event, and the view has the new state."""
    thread = rest.in_state(start)
    before = rest.types(thread["thread_id"])
    view = rest.done(thread["thread_id"], "state", to_state=end, reason="because")
    assert view["state"] == end == rest.view(thread["thread_id"])["state"]
    assert rest.types(thread["thread_id"]) == [*before, "thread.closed" if end == "closed" else "state.changed"]
    assert rest.events(thread["thread_id"])[-1]["payload"]["reason"] == "because"


@pytest.mark.parametrize(("start", "end"), [(a, b) for a, b in PAIRS if b not in LEGAL[a] and a != b])
def test_illegal_moves(rest: Rest, start: str, end: str) -> None:
    """Every other move is 409 illegal_transition, which names the states that are possible, and changes nothing."""
    thread = rest.in_state(start)["thread_id"]
    with rest.nothing_happens():
        refused = rest.act(thread, "state", to_state=end)
    assert (refused.status, refused.error["code"]) == (409, "illegal_transition")
    assert all(state in refused.error["message"] for state in LEGAL[start])
    assert refused.error["details"] == {"from_state": start, "to_state": end}


@pytest.mark.parametrize("state", STATES)
def test_the_same_state_is_no_change(rest: Rest, state: str) -> None:
    """A move to the state the thread is in succeeds without an event."""
    thread = rest.in_state(state)
    with rest.nothing_happens():
        assert rest.done(thread["thread_id"], "state", to_state=state) == thread


def test_other_no_ops(rest: Rest) -> None:
    """The same priority, the same assignee, a second close, seeing nothing new: success without an event."""
    thread = rest.open(priority="high")["thread_id"]
    view = rest.done(thread, "assign", assignee_type="human", assignee_name="kb")
    with rest.nothing_happens():
        assert rest.done(thread, "priority", priority="high") == view
        assert rest.done(thread, "assign", assignee_type="human", assignee_name="kb") == view
    closed = rest.done(thread, "close")
    with rest.nothing_happens():
        assert rest.done(thread, "close", reason="again") == closed


def test_assigning_nobody_to_nobody_is_no_change(rest: Rest) -> None:
    """Taking the assignee away where there is none succeeds without an event."""
    thread = rest.open()
    with rest.nothing_happens():
        assert rest.done(thread["thread_id"], "assign", assignee_type="operator", assignee_name=" ") == thread


CLOSED_ACTIONS = {
    "posts": {"body": "late"},
    "answer": {"body": "late"},
    "assign": {"assignee_type": "human", "assignee_name": "kb"},
    "priority": {"priority": "urgent"},
}


@pytest.mark.parametrize("action", CLOSED_ACTIONS)
def test_a_closed_thread_takes_nothing(rest: Rest, action: str) -> None:
    """Posts, answers, assignments and priorities on a closed thread are 409 thread_closed, and change nothing."""
    thread = rest.in_state("closed")["thread_id"]
    with rest.nothing_happens():
        refused = rest.act(thread, action, **CLOSED_ACTIONS[action])
    assert (refused.status, refused.error["code"]) == (409, "thread_closed")
    assert thread in refused.error["message"]


def test_only_humans_and_operators_reopen(rest: Rest) -> None:
    """An agent's move from closed is 403; an operator's makes the thread `triaged`, and it takes posts again."""
    thread = rest.in_state("closed")["thread_id"]
    with rest.nothing_happens():
        refused = rest.act(thread, "state", actor_type="agent", to_state="triaged")
    assert (refused.status, refused.error["code"]) == (403, "not_allowed")
    view = rest.done(thread, "state", to_state="triaged")
    assert view["state"] == "triaged" and "closed_at" not in view
    assert rest.done(thread, "posts", body="more")["posts_count"] == 2


@pytest.mark.parametrize("how", ["answer", "posts"])
def test_agents_do_not_answer(rest: Rest, how: str) -> None:
    """An answer by an agent is 403 by either route, and changes nothing."""
    thread = rest.open()["thread_id"]
    more = {"kind": "answer"} if how == "posts" else {}
    with rest.nothing_happens():
        refused = rest.act(thread, how, actor_type="agent", body="me", **more)
    assert (refused.status, refused.error["code"]) == (403, "not_allowed")


def test_an_agent_who_writes_again_asks_again(rest: Rest) -> None:
    """An agent's post on an answered thread moves it to `waiting_operator`; an operator's does not."""
    thread = rest.open()["thread_id"]
    rest.done(thread, "answer", body="v2")
    assert rest.done(thread, "posts", body="see above")["state"] == "answered"
    view = rest.done(thread, "posts", actor_type="agent", body="but v2 fails")
    assert (view["state"], view["is_unanswered"]) == ("waiting_operator", True)
    assert rest.types(thread)[-2:] == ["post.added", "state.changed"]


def test_a_plain_post_is_no_answer(rest: Rest) -> None:
    """An operator's post leaves the state as it is."""
    assert rest.done(rest.open()["thread_id"], "posts", body="hm")["state"] == "new"


def test_a_second_answer_is_a_post(rest: Rest) -> None:
    """An answer on an answered thread adds the post; the state does not change again."""
    thread = rest.open()["thread_id"]
    rest.done(thread, "answer", body="v2")
    assert rest.done(thread, "answer", body="v2, really")["posts_count"] == 3
    assert rest.types(thread) == ["thread.opened", "post.added", "state.changed", "post.added"]


def test_a_used_thread_id_is_refused(rest: Rest) -> None:
    """Opening with the id of another thread is 409 already_exists, and the first thread stays as it is."""
    thread = rest.open(thread_id=f"fthr-mine-{rest.ticket().lower()}")
    body = {"ticket": "T", "title": "x", "body": "y", "actor_type": "agent", "thread_id": thread["thread_id"]}
    with rest.nothing_happens():
        refused = rest.send("POST", "/forum/threads", body)
    assert (refused.status, refused.error["code"]) == (409, "already_exists")
    assert rest.view(thread["thread_id"]) == thread


def test_an_expectation_that_holds(rest: Rest) -> None:
    """With the thread's version_sequence the action goes through."""
    thread = rest.open()
    rest.done(thread["thread_id"], "posts", body="x", expected_sequence=thread["version_sequence"])


EXPECTING = CLOSED_ACTIONS | {
    "state": {"to_state": "triaged"},
    "close": {},
    "seen": {"viewer_type": "human", "viewer_id": "kb"},
    "read": {"actor_type": "agent", "actor_name": "bob"},
}


@pytest.mark.parametrize("action", EXPECTING)
def test_an_expectation_that_fails(rest: Rest, action: str) -> None:
    """On a thread that has moved on every action is 409 stale_sequence with the current view, and changes nothing."""
    thread = rest.open()
    rest.done(thread["thread_id"], "posts", body="faster")
    with rest.nothing_happens():
        refused = rest.act(
            thread["thread_id"], action, expected_sequence=thread["version_sequence"], **EXPECTING[action]
        )
    assert (refused.status, refused.error["code"]) == (409, "stale_sequence")
    assert refused.body["thread"] == rest.view(thread["thread_id"])


ACTIONS = EXPECTING


@pytest.mark.parametrize("action", ACTIONS)
def test_an_unknown_thread(rest: Rest, action: str) -> None:
    """Every action on a thread that is not there is 404, and changes nothing."""
    with rest.nothing_happens():
        refused = rest.act("fthr-nowhere", action, **ACTIONS[action])
    assert (refused.status, refused.error["code"]) == (404, "not_found")
    assert "fthr-nowhere" in refused.error["message"]


def test_the_clock_of_an_answer(rest: Rest) -> None:
    """A new thread waits, with a due time after the policy's minutes; an answer stops it, `waiting_human` starts it."""
    from datetime import datetime

    thread = rest.open()
    since, due = (datetime.fromisoformat(thread[name]) for name in ("waiting_since", "due_at"))
    assert (due - since).total_seconds() == 30 * 60
    answered = rest.done(thread["thread_id"], "answer", body="v2")
    assert "waiting_since" not in answered
    assert rest.done(thread["thread_id"], "state", to_state="waiting_human")["is_unanswered"] is True
