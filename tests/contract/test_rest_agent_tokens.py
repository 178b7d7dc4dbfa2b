"""An agent's token: it acts as its own agent in its own run, and as nobody else (contract, section 5, Access)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from metawsm.domain.agent_token import agent_token
from tests.support.daemon import Daemon, Reply
from tests.support.rest import Rest

OPEN = {"ticket": "T-1", "title": "Which schema?", "body": "v1 or v2?"}
BOB = {"run_id": "run-1", "agent_name": "bob"}


def bearer(rest: Rest, run_id: str = "run-1", name: str = "bob") -> dict[str, str]:
    """The header of an agent."""
    return {"Authorization": f"Bearer {agent_token(rest.daemon.token, run_id, name)}"}


def post(rest: Rest, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Send as bob of run-1."""
    return rest.send("POST", path, body, bearer(rest) | dict(headers or {}))


def refused(rest: Rest, path: str, body: Any) -> str:
    """What bob's token may not send: 403, nothing is stored; the message."""
    with rest.nothing_is_stored():
        reply = post(rest, path, body)
    assert (reply.status, reply.error["code"]) == (403, "not_allowed"), reply.text
    return str(reply.error["message"])


@pytest.mark.parametrize(
    "actor", [{}, {"actor_type": "agent"}, {"actor_name": "bob"}, {"actor_type": "agent", "actor_name": ""}]
)
def test_it_acts_as_its_agent(rest: Rest, actor: dict[str, str]) -> None:
    """Whatever is left out: actor_type and actor_name are the token's, and the event says how that was known."""
    reply = post(rest, "/forum/threads", OPEN | actor)
    assert reply.status == 201
    head = rest.events(reply.body["thread"]["thread_id"])[0]["envelope"]
    assert (head["actor_type"], head["actor_name"], head["actor_known_by"]) == ("agent", "bob", "agent_token")


@pytest.mark.parametrize("actor_type", ["human", "operator", "system"])
def test_it_acts_as_nobody_else(rest: Rest, actor_type: str) -> None:
    """An agent cannot sign as a person, whatever it calls itself."""
    assert "agent bob of run-1" in refused(rest, "/forum/threads", OPEN | {"actor_type": actor_type})
    assert "ann" in refused(rest, "/forum/threads", OPEN | {"actor_name": "ann"})
    thread = rest.open()["thread_id"]
    refused(rest, f"/forum/threads/{thread}/answer", {"body": "yes", "actor_type": actor_type})
    refused(rest, f"/forum/threads/{thread}/seen", {"viewer_type": "human", "viewer_id": "kb"})


def test_it_answers_nothing(rest: Rest) -> None:
    """As an agent it may not answer, like every agent."""
    thread = rest.open()["thread_id"]
    with rest.nothing_happens():
        assert post(rest, f"/forum/threads/{thread}/answer", {"body": "yes"}).status == 403


@pytest.mark.parametrize("name", ["run_id", "agent_name"])
def test_another_run_or_agent_in_the_body(rest: Rest, name: str) -> None:
    """It asks and signals for its own agent in its own run; the message names what it must be."""
    assert f"{name} must be {BOB[name]}" in refused(rest, "/forum/threads", OPEN | BOB | {name: "other"})
    signal = {"ticket": "T-1", "payload": {"control_type": "completion"}} | BOB | {name: "other"}
    assert f"{name} must be {BOB[name]}" in refused(rest, "/forum/control/signal", signal)


def test_its_own_run_and_agent_in_the_body(rest: Rest) -> None:
    """With its own names it asks and signals; where a route has no such field it acts on any thread."""
    assert post(rest, "/forum/threads", OPEN | BOB).status == 201
    signal = {"ticket": "T-1", "payload": {"control_type": "completion"}} | BOB
    assert post(rest, "/forum/control/signal", signal).status == 200
    other = rest.open(run_id="run-2", agent_name="ann")["thread_id"]
    assert post(rest, f"/forum/threads/{other}/posts", {"body": "I know this"}).status == 200


def test_what_it_reads_is_read_by_its_agent(rest: Rest) -> None:
    """The reader of an answer is the agent of the token."""
    thread = post(rest, "/forum/threads", OPEN | BOB).body["thread"]["thread_id"]
    rest.done(thread, "answer", body="v2")
    assert post(rest, f"/forum/threads/{thread}/read", {}).body["read"]["reader_name"] == "bob"
    refused(rest, f"/forum/threads/{thread}/read", {"actor_name": "ann"})


@pytest.mark.parametrize(
    ("member", "value"), [("actor_type", "robot"), ("actor_type", 5), ("actor_name", 5), ("run_id", 5)]
)
def test_a_faulty_field_stays_a_faulty_field(rest: Rest, member: str, value: Any) -> None:
    """What is no actor, name or run at all is 422, as with every credential."""
    with rest.nothing_is_stored():
        reply = post(rest, "/forum/threads", OPEN | {member: value})
    assert (reply.status, set(reply.error["fields"])) == (422, {member})


@pytest.mark.parametrize("path", ["/forum/rebuild", "/backups", "/forum/dead-letters/1/discard"])
def test_it_is_no_owner(rest: Rest, path: str) -> None:
    """What concerns the daemon itself is refused."""
    assert "not for agents" in refused(rest, path, {})


def test_it_reads_from_anywhere(rest: Rest) -> None:
    """Like the daemon's token it works through a proxy and under another host name."""
    sent = bearer(rest) | {"X-Forwarded-For": "10.0.0.1", "Host": "metawsm.example"}
    assert rest.send("GET", "/forum/threads", headers=sent).status == 200


def test_its_idempotency_keys_are_its_own(rest: Rest) -> None:
    """One key of three senders stands for three wishes; of one sender, for one."""
    key = {"Idempotency-Key": f"shared-{rest.ticket()}"}
    mine = bearer(rest)
    threads = [
        rest.send("POST", "/forum/threads", OPEN | {"actor_type": "agent"}, headers | key).body["thread"]["thread_id"]
        for headers in ({}, mine, bearer(rest, name="ann"), bearer(rest, "run-2"), mine)
    ]
    assert len(set(threads)) == 4 and threads[1] == threads[4]


def test_a_wrong_token_is_nobodys(rest: Rest) -> None:
    """A name or a code that was changed is 401, for reads and writes."""
    good = bearer(rest)["Authorization"]
    for wrong in (good.replace("bob", "ann"), good[:-1], good + "0", good.replace("~", ".")):
        with rest.nothing_is_stored():
            for method in ("GET", "POST"):
                body = OPEN if method == "POST" else None
                reply = rest.send(method, "/forum/threads", body, {"Authorization": wrong})
                assert (reply.status, reply.error["code"]) == (401, "unauthenticated")


def test_where_everybody_needs_a_token(start_daemon: Callable[..., Daemon]) -> None:
    """With auth.loopback `token` agents go on working, with theirs."""
    rest = Rest(start_daemon(METAWSM_AUTH_LOOPBACK="token"))
    assert rest.send("POST", "/forum/threads", OPEN, anonymous=True).status == 401
    assert post(rest, "/forum/threads", OPEN | BOB).status == 201
    assert rest.send("GET", "/forum/inbox?agent_name=bob", headers=bearer(rest)).status == 200
