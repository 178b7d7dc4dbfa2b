"""The answer reaches the agent: what it has not read, and that it has read it (contract, section 2)."""

from __future__ import annotations

from typing import Any

import pytest

from metawsm.commands.read_answers import MOST
from tests.contract.test_rest_signals import Agent
from tests.support.rest import Rest

BOB = {"actor_type": "agent", "actor_name": "bob"}
KB = {"actor_type": "human", "actor_name": "kb"}


def asked(rest: Rest, agent: str = "bob", **more: Any) -> str:
    """A question of an agent, in a run of its own."""
    about = {"agent_name": agent, "run_id": f"run-{rest.ticket()}", "actor_name": agent} | more
    return str(rest.open(**about)["thread_id"])


def answered(rest: Rest, thread: str, *bodies: str) -> list[str]:
    """The thread gets these answers; their posts."""
    for body in bodies:
        rest.done(thread, "answer", body=body, **KB)
    found = rest.send("GET", f"/forum/threads/{thread}").body["posts"]
    return [post["post_id"] for post in found if post["kind"] == "answer"]


def read(rest: Rest, thread: str, **fields: Any) -> dict[str, Any]:
    """Bob reads the answers; what the daemon says."""
    reply = rest.act(thread, "read", **BOB | fields)
    assert reply.status == 200, reply.text
    told: dict[str, Any] = reply.body["read"]
    return told


def inbox(rest: Rest, agent: str, **query: Any) -> dict[str, Any]:
    """The agent's unread answers."""
    more = "".join(f"&{name}={value}" for name, value in query.items())
    found: dict[str, Any] = rest.send("GET", f"/forum/inbox?agent_name={agent}{more}").body
    return found


def bodies(page: dict[str, Any]) -> list[str]:
    """The texts of a page of answers."""
    return [answer["body"] for answer in page["answers"]]


def test_reading_is_an_event_for_each_answer(rest: Rest) -> None:
    """One `post.read` for each answer, said by the system, that names the reader; a plain post is no answer."""
    thread = asked(rest)
    rest.done(thread, "posts", body="which table?", **KB)
    posts = answered(rest, thread, "v1", "v2")
    assert read(rest, thread) == {
        "thread_id": thread, "reader_type": "agent", "reader_name": "bob", "post_ids": posts
    }  # fmt: skip
    events = [e for e in rest.events(thread) if e["envelope"]["event_type"] == "forum.post.read"]
    assert [e["payload"] for e in events] == [
        {"post_id": post, "reader_type": "agent", "reader_name": "bob"} for post in posts
    ]
    assert {(e["envelope"]["actor_type"], e["envelope"].get("actor_name")) for e in events} == {("system", None)}


def test_reading_twice_is_no_event(rest: Rest) -> None:
    """What was read stays read; another agent's reading is its own."""
    thread = asked(rest)
    posts = answered(rest, thread, "v1")
    read(rest, thread)
    with rest.nothing_happens():
        assert read(rest, thread)["post_ids"] == []
    assert read(rest, thread, actor_name="ann")["post_ids"] == posts


def test_a_guidance_answer_is_an_answer(rest: Rest) -> None:
    """On a control thread the signal is read, and nothing else of it."""
    agent = Agent(rest)
    thread = agent.ask()["thread_id"]
    assert read(rest, thread)["post_ids"] == []
    agent.answer()
    assert len(read(rest, thread)["post_ids"]) == 1


def test_reading_has_bounds(rest: Rest) -> None:
    """From one sequence up to another, both of which count."""
    thread = asked(rest)
    posts = answered(rest, thread, "v1", "v2", "v3")
    places = {post["post_id"]: post["sequence"] for post in rest.send("GET", f"/forum/threads/{thread}").body["posts"]}
    first, second, third = posts
    assert read(rest, thread, up_to_sequence=places[first])["post_ids"] == [first]
    assert read(rest, thread, from_sequence=places[third])["post_ids"] == [third]
    assert read(rest, thread, up_to_sequence=places[second] - 1)["post_ids"] == []
    assert read(rest, thread)["post_ids"] == [second]


def test_one_command_reads_so_many(rest: Rest) -> None:
    """A command is short: with more answers than that it says so, and the next one goes on."""
    thread = asked(rest)
    posts = answered(rest, thread, *(f"v{n}" for n in range(MOST + 1)))
    first = read(rest, thread)
    assert (first["post_ids"], first["more"]) == (posts[:MOST], True)
    second = read(rest, thread)
    assert (second["post_ids"], "more" in second) == (posts[MOST:], False)


@pytest.mark.parametrize("actor_type", ["human", "operator"])
def test_only_agents_read(rest: Rest, actor_type: str) -> None:
    """A person marks what it has seen otherwise: 403, and nothing happens."""
    thread = asked(rest)
    answered(rest, thread, "v1")
    with rest.nothing_happens():
        reply = rest.act(thread, "read", actor_type=actor_type, actor_name="kb")
    assert (reply.status, reply.error["code"]) == (403, "not_allowed")


def test_a_reader_has_a_name(rest: Rest) -> None:
    """Whose answers they were must be said: 422 names the field."""
    thread = asked(rest)
    answered(rest, thread, "v1")
    with rest.nothing_happens():
        reply = rest.act(thread, "read", actor_type="agent")
    assert (reply.status, set(reply.error["fields"])) == (422, {"actor_name"})


def test_a_receipt_is_nobodys_news(rest: Rest) -> None:
    """It makes the thread unseen to nobody, breaks no expectation, and can be given on a closed thread."""
    thread = asked(rest)
    answered(rest, thread, "v1")
    rest.done(thread, "close", **KB)
    view = rest.view(thread)
    rest.act(thread, "seen", viewer_type="human", viewer_id="kb")
    read(rest, thread)
    after = rest.view(thread)
    assert after["last_event_sequence"] > view["last_event_sequence"]
    changed = {name for name in after if after[name] != view.get(name)}
    assert changed == {"last_event_sequence", "updated_at"}
    looked = rest.send("GET", f"/forum/threads?ticket={view['ticket']}&viewer_type=human&viewer_id=kb").body["threads"]
    assert looked[0]["is_unseen"] is False
    rest.done(thread, "state", to_state="triaged", expected_sequence=view["version_sequence"], **KB)


def test_a_thread_shows_who_has_read_its_answers(rest: Rest) -> None:
    """Each answer carries its receipts; other posts carry none."""
    thread = asked(rest)
    answered(rest, thread, "v1")
    read(rest, thread)
    question, answer = rest.send("GET", f"/forum/threads/{thread}").body["posts"]
    event = rest.events(thread)[-1]["envelope"]
    assert "receipts" not in question
    assert answer["receipts"] == [{"reader_type": "agent", "reader_name": "bob", "read_at": event["occurred_at"]}]


def test_the_inbox_holds_what_was_not_read(rest: Rest) -> None:
    """Each answer to the agent until it has read it, the oldest first, with the title, who gave it, and when."""
    agent = f"bob-{rest.ticket()}"
    first, second = asked(rest, agent), asked(rest, agent, title="And the port?")
    answered(rest, second, "8080")
    answered(rest, first, "v1")
    answered(rest, asked(rest), "not for this agent")
    page = inbox(rest, agent)
    assert (bodies(page), page["unread_count"], "next_cursor" in page) == (["8080", "v1"], 2, False)
    view, post = rest.view(second), rest.send("GET", f"/forum/threads/{second}").body["posts"][-1]
    assert page["answers"][0] == {
        "thread_id": second, "ticket": view["ticket"], "run_id": view["run_id"], "title": "And the port?",
        "post_id": post["post_id"], "sequence": post["sequence"], "body": "8080", "by_type": "human", "by_name": "kb",
        "at": post["created_at"],
    }  # fmt: skip
    read(rest, second, actor_name="somebody-else")
    assert bodies(inbox(rest, agent, run_id=view["run_id"])) == ["8080"]
    read(rest, second, actor_name=agent)
    assert bodies(inbox(rest, agent)) == ["v1"]
    assert inbox(rest, agent, run_id=view["run_id"]) == {"answers": [], "unread_count": 0}


def test_the_inbox_tells_the_question_of_guidance(rest: Rest) -> None:
    """An answer on a control thread stands beside the request that it settles."""
    agent = Agent(rest, f"bob-{rest.ticket()}")
    agent.ask("v1 or v2?")
    agent.ask("and the port?")
    agent.answer()
    (answer,) = inbox(rest, agent.who["agent_name"])["answers"]
    assert (answer["question"], answer["body"]) == ("v1 or v2?", "v2")


def test_the_inbox_is_paged(rest: Rest) -> None:
    """Page by page each answer once; a cursor of another question is refused."""
    agent = f"bob-{rest.ticket()}"
    answered(rest, asked(rest, agent), *(f"v{n}" for n in range(5)))
    page, found = inbox(rest, agent, limit=2), []
    while True:
        found += bodies(page)
        if "next_cursor" not in page:
            break
        page = inbox(rest, agent, limit=2, cursor=page["next_cursor"])
    assert found == [f"v{n}" for n in range(5)]
    cursor = inbox(rest, agent, limit=1)["next_cursor"]
    assert rest.send("GET", f"/forum/inbox?agent_name=other&cursor={cursor}").status == 400
    nobody = rest.send("GET", "/forum/inbox")
    assert (nobody.status, set(nobody.error["fields"])) == (400, {"agent_name"})
