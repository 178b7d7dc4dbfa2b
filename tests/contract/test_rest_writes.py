"""Writes as promises: waiting, 202, idempotency keys (contract, section 5, Writes)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.redis_tcp import RedisTcp
from tests.support.rest import Rest


def question(rest: Rest, **fields: Any) -> dict[str, Any]:
    """The body of a question on a ticket of its own."""
    return {"ticket": rest.ticket(), "title": "Which schema?", "body": "v1 or v2?", "actor_type": "agent"} | fields


def key(value: str) -> dict[str, str | None]:
    """The header of an idempotency key."""
    return {"Idempotency-Key": value}


def count(rest: Rest, ticket: str) -> int:
    """How many threads a ticket has."""
    return len(rest.send("GET", f"/forum/threads?ticket={ticket}").body["threads"])


def test_an_answered_write_can_be_read(rest: Rest) -> None:
    """After 201 and 200 every reader sees the change at once."""
    for _ in range(20):
        thread = rest.open()
        assert count(rest, thread["ticket"]) == 1
        view = rest.done(thread["thread_id"], "answer", body="v2")
        assert rest.view(thread["thread_id"]) == view


def test_without_waiting(rest: Rest) -> None:
    """With wait=0 the answer is 202 with the command and where to look; it is applied soon after."""
    body = question(rest)
    reply = rest.send("POST", "/forum/threads?wait=0", body)
    assert (reply.status, reply.body["command"]["status"]) == (202, "queued")
    where = reply.headers["location"]
    assert where == f"/api/v1/forum/commands/{reply.body['command']['id']}"
    done = eventually(lambda: _if_done(rest.send("GET", where)))
    assert done["status"] == "applied" and done["thread"]["ticket"] == body["ticket"]
    assert done["id"] == reply.body["command"]["id"]


def _if_done(reply: Reply) -> Any:
    command = reply.body["command"]
    return command if command["status"] != "queued" else None


def test_a_rejection_that_nobody_waits_for(rest: Rest) -> None:
    """A command that is rejected after its 202 tells so where Location points."""
    reply = rest.send("POST", "/forum/threads/fthr-nowhere/close?wait=0", {"actor_type": "human"})
    assert reply.status == 202
    done = eventually(lambda: _if_done(rest.send("GET", reply.headers["location"])))
    assert (done["status"], done["error"]["code"]) == ("rejected", "not_found")


@pytest.mark.parametrize("how", ["header", "command_id"])
def test_a_repeated_write(rest: Rest, how: str) -> None:
    """The same key with the same body gets the same status and body, and is done once."""
    body = question(rest)
    name = f"key-{body['ticket']}"
    headers = key(name) if how == "header" else {}
    body |= {"command_id": name} if how == "command_id" else {}
    first = rest.send("POST", "/forum/threads", body, headers)
    rest.done(first.body["thread"]["thread_id"], "posts", body="meanwhile")
    with rest.nothing_is_stored():
        again = rest.send("POST", "/forum/threads", dict(reversed(body.items())), headers)
    assert (again.status, again.text) == (first.status, first.text) and first.status == 201
    assert count(rest, body["ticket"]) == 1


def test_a_repeated_rejection(rest: Rest) -> None:
    """A rejected command gets the same status and body, even where it would succeed now."""
    thread = rest.in_state("closed")["thread_id"]
    path, body = f"/forum/threads/{thread}/posts", {"body": "x", "actor_type": "human"}
    first = rest.send("POST", path, body, key("late"))
    assert first.status == 409
    rest.done(thread, "state", to_state="triaged")
    with rest.nothing_is_stored():
        again = rest.send("POST", path, body, key("late"))
    assert (again.status, again.text) == (first.status, first.text)


def test_a_stale_rejection_keeps_its_view(rest: Rest) -> None:
    """The view in a repeated 409 is the one of the first answer."""
    thread = rest.open()
    rest.done(thread["thread_id"], "posts", body="faster")
    path = f"/forum/threads/{thread['thread_id']}/close"
    body = {"actor_type": "human", "expected_sequence": thread["version_sequence"]}
    first = rest.send("POST", path, body, key("stale"))
    rest.done(thread["thread_id"], "posts", body="again")
    assert rest.send("POST", path, body, key("stale")).text == first.text and first.status == 409


def test_a_key_with_another_body(rest: Rest) -> None:
    """The same key with another body is 422, and nothing is stored."""
    body = question(rest)
    rest.send("POST", "/forum/threads", body, key(f"key-{body['ticket']}"))
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", body | {"title": "Another"}, key(f"key-{body['ticket']}"))
    assert (reply.status, reply.error["code"]) == (422, "idempotency_key_reused")


def test_a_key_is_not_empty(rest: Rest) -> None:
    """An empty key would make every later write on the route a repetition of the first: 422, and 400 as header."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", question(rest) | {"command_id": ""})
        assert (reply.status, set(reply.error["fields"])) == (422, {"command_id"})
        assert rest.send("POST", "/forum/threads", question(rest), key("")).status == 400


def test_the_order_of_members_does_not_matter(rest: Rest) -> None:
    """Equal JSON objects are one wish at any depth, so a client may write its members in any order."""
    who = {"run_id": f"run-{rest.ticket()}", "agent_name": "bob"}
    payload = {"schema_version": 1, "control_type": "completion", "summary": "done"}
    body = {"ticket": "MET-1", "actor_type": "agent", **who}
    first = rest.send("POST", "/forum/control/signal", body | {"payload": payload}, key("nested"))
    swapped = body | {"payload": dict(reversed(payload.items()))}
    again = rest.send("POST", "/forum/control/signal", swapped, key("nested"))
    assert (again.status, again.text) == (200, first.text)


def test_keys_are_scoped_to_route_and_credential(rest: Rest) -> None:
    """The same key on another thread's route, or by another credential, is another wish."""
    first, second = rest.open()["thread_id"], rest.open()["thread_id"]
    for thread in (first, second):
        reply = rest.send("POST", f"/forum/threads/{thread}/posts", {"body": "x", "actor_type": "agent"}, key("k"))
        assert reply.body["thread"]["thread_id"] == thread
    anonymous = rest.send(
        "POST", f"/forum/threads/{first}/posts", {"body": "x", "actor_type": "agent"}, key("k"), anonymous=True
    )
    assert anonymous.body["thread"]["posts_count"] == 3


def test_a_refused_write_leaves_its_key_unused(rest: Rest) -> None:
    """After 422, 403 and 415 the key is free for the corrected body."""
    body = question(rest)
    name = key(f"key-{body['ticket']}")
    assert rest.send("POST", "/forum/threads", body | {"title": ""}, name).status == 422
    assert rest.send("POST", "/forum/threads", body | {"actor_type": "system"}, name).status == 403
    assert rest.send("POST", "/forum/threads", body, name | {"Content-Type": "text/plain"}).status == 415
    assert rest.send("POST", "/forum/threads", body, name).status == 201


def test_many_at_once_with_one_key(rest: Rest) -> None:
    """Sixteen clients with one key and one body get one answer, and the command is done once."""
    body = question(rest)
    with ThreadPoolExecutor(16) as pool:
        send = lambda _: rest.send("POST", "/forum/threads", body, key(f"key-{body['ticket']}"))  # noqa: E731
        replies = list(pool.map(send, range(16)))
    assert {(reply.status, reply.text) for reply in replies} == {(201, replies[0].text)}
    assert count(rest, body["ticket"]) == 1


def test_many_at_once_with_one_expectation(rest: Rest) -> None:
    """Of sixteen clients with one expectation exactly one succeeds; the others get 409 with the current view."""
    thread = rest.open()
    body = {"body": "me", "actor_type": "human", "expected_sequence": thread["version_sequence"]}
    with ThreadPoolExecutor(16) as pool:
        send = lambda _: rest.send("POST", f"/forum/threads/{thread['thread_id']}/posts", body)  # noqa: E731
        statuses = sorted(reply.status for reply in pool.map(send, range(16)))
    assert statuses == [200] + [409] * 15
    assert rest.view(thread["thread_id"])["posts_count"] == 2


def test_without_redis(start_daemon: Callable[..., Daemon], redis_server: Callable[..., RedisTcp]) -> None:
    """While Redis is away a write is 202, its retry finds the same command, refusals stay as they are; reads go on.

    When Redis is back the command is applied once, and the retry gets its answer.
    """
    redis = redis_server()
    rest = Rest(start_daemon("--redis", redis.url))
    body = question(rest)
    redis.kill()
    eventually(lambda: rest.send("GET", "/health").status == 503)
    first = rest.send("POST", "/forum/threads", body, key("k"))
    again = rest.send("POST", "/forum/threads", body, key("k"))
    assert first.status == again.status == 202
    assert first.body["command"]["id"] == again.body["command"]["id"]
    assert rest.send("POST", "/forum/threads", body | {"title": "x"}, key("k")).status == 422
    assert rest.send("POST", "/forum/threads", {}).status == 422
    assert rest.send("GET", "/forum/threads").body == {"threads": []}
    health = rest.send("GET", "/health").body
    assert health["forum_bus"]["healthy"] is False and health["outbox"]["pending_count"] == 1
    redis.start()
    done = eventually(lambda: _if_done(rest.send("GET", first.headers["location"])), timeout=20)
    retried = rest.send("POST", "/forum/threads", body, key("k"))
    assert retried.status == 201 and retried.body["thread"] == done["thread"]
    assert count(rest, body["ticket"]) == 1
