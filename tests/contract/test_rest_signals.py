"""Control signals over HTTP: one control thread per (run, agent), requests and answers (contract, section 7)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.daemon import Reply
from tests.support.rest import Rest

PATH = "/forum/control/signal"


class Agent:
    """An agent in a run of its own, whose signals go through `rest`."""

    def __init__(self, rest: Rest, name: str = "bob", run: str = "") -> None:
        self.rest = rest
        self.ticket = rest.ticket()
        self.who = {"run_id": run or f"run-{self.ticket}", "agent_name": name}

    def signal(self, control_type: str, actor_type: str = "agent", **payload: Any) -> Reply:
        """Send a signal."""
        signal = {"schema_version": 1, "control_type": control_type, **self.who} | payload
        body = {"ticket": self.ticket, "actor_type": actor_type, "payload": signal, **self.who}
        return self.rest.send("POST", PATH, body)

    def ask(self, question: str = "v1 or v2?") -> dict[str, Any]:
        """Request guidance; give the view."""
        reply = self.signal("guidance_request", question=question)
        assert reply.status == 200, reply.text
        view: dict[str, Any] = reply.body["thread"]
        return view

    def answer(self, **payload: Any) -> Reply:
        """Give guidance as an operator."""
        return self.signal("guidance_answer", "operator", answer="v2", **payload)


def test_the_first_signal_opens_the_control_thread(rest: Rest) -> None:
    """A request opens `fctrl-<run>-<agent>` and puts it in `waiting_human`."""
    agent = Agent(rest)
    view = agent.ask()
    assert view["thread_id"] == f"fctrl-{agent.who['run_id'].lower()}-bob"
    assert view["state"] == "waiting_human" and view["is_unanswered"]
    assert (view["run_id"], view["agent_name"], view["ticket"]) == (*agent.who.values(), agent.ticket)
    assert rest.types(view["thread_id"]) == ["thread.opened", "control.signal", "state.changed"]


def test_lists_show_what_is_asked(rest: Rest) -> None:
    """The beginning of the oldest open request, until it is answered."""
    agent = Agent(rest)
    thread = agent.ask(f"v1 or v2? {'x' * 500}")["thread_id"]
    agent.ask("and now?")
    path = f"/forum/threads?ticket={agent.ticket}"

    def asked() -> list[str]:
        (listed,) = rest.send("GET", path).body["threads"]
        detail = rest.send("GET", f"/forum/threads/{thread}").body["thread"]
        return [listed.get("question", ""), detail.get("question", "")]

    assert asked() == [f"v1 or v2? {'x' * 290}"] * 2
    agent.answer()
    assert asked() == ["and now?"] * 2
    agent.answer()
    assert asked() == [""] * 2


def test_there_is_one_control_thread_for_a_pair(rest: Rest) -> None:
    """Every further signal of the pair goes to the same thread; another agent has its own."""
    agent = Agent(rest)
    first = agent.ask()["thread_id"]
    assert agent.ask("and now?")["thread_id"] == first
    assert Agent(rest, "amy", agent.who["run_id"]).ask()["thread_id"] != first


def test_pairs_with_one_slug_do_not_share_a_thread(rest: Rest) -> None:
    """Two pairs whose names become the same slug get two threads, and keep them."""
    run = f"Run.{rest.ticket()}"
    one, two = Agent(rest, "a.b", run), Agent(rest, "a-b", run)
    first, second = one.ask()["thread_id"], two.ask()["thread_id"]
    assert first != second
    assert (one.ask()["thread_id"], two.ask()["thread_id"]) == (first, second)


def test_a_request_is_answered(rest: Rest) -> None:
    """`guidance_answer` sets `answered`; the answer's event names the request it settles."""
    agent = Agent(rest)
    thread = agent.ask()["thread_id"]
    reply = agent.answer()
    assert (reply.status, reply.body["thread"]["state"]) == (200, "answered")
    request, answer = (e for e in rest.events(thread) if e["envelope"]["event_type"] == "forum.control.signal")
    assert answer["payload"]["answers"] == request["payload"]["post_id"]


@pytest.mark.parametrize("route", ["answer", "posts"])
def test_any_answer_on_the_thread_counts(rest: Rest, route: str) -> None:
    """An operator's answer on the control thread by the forum's routes settles the request, too."""
    agent = Agent(rest)
    thread = agent.ask()["thread_id"]
    view = rest.done(thread, route, body="v2", **({"kind": "answer"} if route == "posts" else {}))
    assert (view["state"], view["is_unanswered"]) == ("answered", False)


def test_a_plain_post_settles_nothing(rest: Rest) -> None:
    """A post on the control thread leaves the request open."""
    agent = Agent(rest)
    view = rest.done(agent.ask()["thread_id"], "posts", body="reading")
    assert view["state"] == "waiting_human"


def test_an_open_request_waits_whatever_was_said(rest: Rest) -> None:
    """After a plain post, in any open state, the thread is unanswered and stands before what blocks no run.

    The post stops the clock (contract, section 8), so the thread has no `due_at` any more.
    """
    agent = Agent(rest)
    thread = agent.ask()["thread_id"]
    urgent = rest.open(ticket=agent.ticket, priority="urgent")["thread_id"]
    quiet = rest.open(ticket=agent.ticket, priority="urgent")["thread_id"]
    rest.done(quiet, "answer", body="v2")
    assert rest.done(thread, "posts", body="reading")["is_unanswered"]
    for state in ("waiting_human", "triaged"):
        assert rest.done(thread, "state", to_state=state)["is_unanswered"]
        assert _order(rest, agent, "queues?type=unanswered") == [urgent, thread]
        assert _order(rest, agent, "threads?sort=attention") == [thread, urgent, quiet]
        assert _order(rest, agent, "threads?sort=attention&limit=1") == [thread]
    assert "due_at" not in rest.view(thread)
    assert rest.done(thread, "close")["is_unanswered"] is False
    assert _order(rest, agent, "queues?type=unanswered") == [urgent]


def _order(rest: Rest, agent: Agent, question: str) -> list[str]:
    page = rest.send("GET", f"/forum/{question}&ticket={agent.ticket}").body
    return [view["thread_id"] for view in page["threads"]]


def test_several_requests_are_answered_oldest_first(rest: Rest) -> None:
    """Each answer settles the oldest open request; the thread is `answered` only when none is open."""
    agent = Agent(rest)
    thread = agent.ask("one")["thread_id"]
    agent.ask("two")
    assert agent.answer().body["thread"]["state"] == "waiting_human"
    assert agent.answer().body["thread"]["state"] == "answered"
    posts = rest.send("GET", f"/forum/threads/{thread}").body["posts"]
    requests = [post["post_id"] for post in posts if post.get("signal", {}).get("control_type") == "guidance_request"]
    settled = [event["payload"]["answers"] for event in rest.events(thread) if "answers" in event["payload"]]
    assert settled == requests


def test_an_answer_may_name_its_request(rest: Rest) -> None:
    """With `answers` the named request is settled first; one that is not open is 422 and changes nothing."""
    agent = Agent(rest)
    thread = agent.ask("one")["thread_id"]
    agent.ask("two")
    named = rest.send("GET", f"/forum/threads/{thread}").body["posts"][-1]["post_id"]
    assert agent.answer(answers=named).body["thread"]["state"] == "waiting_human"
    with rest.nothing_happens():
        refused = agent.answer(answers=named)
    assert refused.status == 422 and "answers" in refused.error["fields"]
    assert agent.answer().body["thread"]["state"] == "answered"


def test_an_answer_needs_an_open_request(rest: Rest) -> None:
    """Without an open request a guidance_answer is 409, on a thread that was answered and where there was none."""
    agent = Agent(rest)
    refused = agent.answer()
    assert (refused.status, refused.error["code"]) == (409, "illegal_transition")
    assert rest.send("GET", f"/forum/threads?ticket={agent.ticket}").body["threads"] == []
    agent.ask()
    agent.answer()
    with rest.nothing_happens():
        assert agent.answer().status == 409


def test_agents_give_no_guidance(rest: Rest) -> None:
    """A guidance_answer by an agent is 403."""
    agent = Agent(rest)
    agent.ask()
    with rest.nothing_happens():
        assert agent.signal("guidance_answer", answer="me").status == 403


def test_a_request_cannot_be_declared_answered(rest: Rest) -> None:
    """While a request is open the state `answered` is 409: it has to be answered."""
    thread = Agent(rest).ask()["thread_id"]
    with rest.nothing_happens():
        assert rest.act(thread, "state", to_state="answered").status == 409


def test_completion_and_validation(rest: Rest) -> None:
    """Both are posts of the control thread that ask nobody for anything."""
    agent = Agent(rest)
    done = agent.signal("completion", summary="all green").body["thread"]
    assert (done["state"], done["is_unanswered"]) == ("answered", False)
    assert agent.signal("completion").status == 200
    passed = agent.signal("validation", status="passed", done_criteria="tests pass")
    assert passed.body["thread"]["posts_count"] == 4
    posts = rest.send("GET", f"/forum/threads/{done['thread_id']}").body["posts"]
    assert posts[-1]["signal"]["status"] == "passed"


def test_a_closed_control_thread_takes_no_signal(rest: Rest) -> None:
    """A signal on a closed control thread is 409 thread_closed."""
    agent = Agent(rest)
    thread = agent.ask()["thread_id"]
    rest.done(thread, "close")
    with rest.nothing_happens():
        assert agent.signal("completion").error["code"] == "thread_closed"


def test_the_ticket_of_a_pair_does_not_change(rest: Rest) -> None:
    """A signal of the same pair with another ticket is 422 and names the field."""
    agent = Agent(rest)
    agent.ask()
    agent.ticket = rest.ticket()
    with rest.nothing_happens():
        refused = agent.signal("completion")
    assert refused.status == 422 and set(refused.error["fields"]) == {"ticket"}


def test_a_rejected_first_signal_binds_no_ticket(rest: Rest) -> None:
    """The mapping names the ticket that the control thread was opened with, not that of a signal refused before."""
    agent = Agent(rest)
    assert agent.answer().status == 409
    agent.ticket = rest.ticket()
    thread = agent.ask()["thread_id"]
    pairs = rest.send("GET", f"/forum/debug?ticket={agent.ticket}").body["debug"]["control_threads"]
    assert [(pair["thread_id"], pair["ticket"]) for pair in pairs] == [(thread, agent.ticket)]


def test_an_expectation_on_a_thread_that_is_not_there(rest: Rest) -> None:
    """A first signal that expects events of the control thread is stale: 409."""
    agent = Agent(rest)
    body = {"ticket": agent.ticket, "actor_type": "agent", "expected_sequence": 7, **agent.who}
    signal = {"schema_version": 1, "control_type": "completion"}
    reply = rest.send("POST", PATH, body | {"payload": signal})
    assert (reply.status, reply.error["code"]) == (409, "stale_sequence")
    assert rest.send("POST", PATH, body | {"payload": signal, "expected_sequence": 0}).status == 200


FAULTY: list[tuple[str, dict[str, Any], set[str]]] = [
    ("guidance_request", {}, {"question"}),
    ("guidance_request", {"question": " "}, {"question"}),
    ("guidance_request", {"question": 5}, {"question"}),
    ("guidance_answer", {}, {"answer"}),
    ("validation", {}, {"status", "done_criteria"}),
    ("validation", {"status": "maybe", "done_criteria": "x"}, {"status"}),
    ("completion", {"summary": ["x"]}, {"summary"}),
    ("completion", {"summary": "x" * 65537}, {"summary"}),
    ("completion", {"schema_version": 2}, {"schema_version"}),
    ("completion", {"schema_version": True}, {"schema_version"}),
    ("completion", {"schema_version": 1.0}, {"schema_version"}),
    ("completion", {"schema_version": "1"}, {"schema_version"}),
    ("completion", {"run_id": "other"}, {"run_id"}),
    ("completion", {"agent_name": "other"}, {"agent_name"}),
    ("completion", {"mood": "good", "size": 1}, {"mood", "size"}),
    ("approval", {}, {"control_type"}),
    ("", {"question": "a\x00b"}, {"control_type", "question"}),
]


@pytest.mark.parametrize(("control_type", "payload", "named"), FAULTY)
def test_faulty_signals(rest: Rest, control_type: str, payload: dict[str, Any], named: set[str]) -> None:
    """Each fault of a payload is 422 and named as `payload.<member>`; nothing is stored, not even the mapping."""
    agent = Agent(rest)
    with rest.nothing_is_stored():
        refused = agent.signal(control_type, "operator", **payload)
    assert (refused.status, refused.error["code"]) == (422, "invalid_fields")
    assert set(refused.error["fields"]) == {f"payload.{name}" for name in named}
