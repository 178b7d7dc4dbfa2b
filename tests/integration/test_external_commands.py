"""Commands that other programs publish, in Watermill's form: identity and trust."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_database, check_streams, database
from tests.support.redis_servers import ServerHandle
from tests.support.shell import shell
from tests.support.watermill import OPEN, letters, outcome, publish, threads


@pytest.fixture
def redis_client(server: ServerHandle) -> Iterator[Any]:
    """A client that plays the other program."""
    with server.client() as client:
        yield client


def test_every_command_from_outside(daemon: Daemon, redis_client: Any) -> None:
    """Each command that an agent may send works without any word to the REST interface."""
    publish(redis_client, "open_thread", OPEN, "ext-open", thread_id="fthr-ext", actor_name="bob")
    assert outcome(daemon, "ext-open")["status"] == "applied"
    about: dict[str, Any] = {"thread_id": "fthr-ext", "actor_name": "bob"}
    sent: dict[str, dict[str, Any]] = {
        "add_post": {"body": "more"},
        "assign_thread": {"assignee_type": "human", "assignee_name": "kb"},
        "set_priority": {"priority": "high"},
        "change_state": {"to_state": "waiting_human"},
        "mark_seen": {"viewer_type": "agent", "viewer_id": "bob"},
        "read_answers": {"up_to_sequence": 1},
        "close_thread": {"reason": "done"},
    }
    for name, payload in sent.items():
        publish(redis_client, name, payload, f"ext-{name}", **about)
        found = outcome(daemon, f"ext-{name}")
        assert found["status"] == "applied", found
    signal = {"run_id": "run-1", "ticket": "MET-1", "agent_name": "bob",
              "payload": {"control_type": "guidance_request", "question": "?"}}  # fmt: skip
    publish(redis_client, "signal", signal, "ext-signal")
    assert outcome(daemon, "ext-signal")["status"] == "applied"
    view = {thread["thread_id"]: thread for thread in threads(daemon)}["fthr-ext"]
    assert (view["state"], view["priority"], view["assignee_name"], view["posts_count"]) == ("closed", "high", "kb", 2)
    assert view["opened_by_name"] == "bob"
    assert letters(daemon) == []
    check_streams(daemon, redis_client)
    with database(daemon.database) as db:
        check_database(db)
        assert set(db.execute("SELECT DISTINCT actor_known_by FROM forum_events")) == {("redis",)}


def test_identity_is_event_id_then_uuid_then_place(daemon: Daemon, redis_client: Any) -> None:
    """The envelope's event_id names a command, else the uuid, else topic and entry."""
    publish(redis_client, "open_thread", OPEN, "uuid-1", event_id="event-1")
    publish(redis_client, "open_thread", OPEN, "uuid-2")
    publish(redis_client, "open_thread", OPEN, "")
    eventually(lambda: len(threads(daemon)) == 3)
    with database(daemon.database) as db:
        ids = [str(i) for (i,) in db.execute("SELECT message_id FROM forum_outbox WHERE kind = 'command' ORDER BY id")]
    (_, _, (entry, _)) = redis_client.xrange("forum.commands.open_thread")
    assert ids == ["event-1", "uuid-2", f"forum.commands.open_thread/{entry.decode()}"]


def test_an_identity_of_somebody_else_can_be_looked_up(daemon: Daemon, redis_client: Any) -> None:
    """Whatever the other program chose as identity, REST and the command line find its command."""
    given = ["a/b", "two words", "/", "50%", "über/ü", "a\nb?#&", "x" * 256]
    for identity in given:
        publish(redis_client, "open_thread", OPEN, identity)
    publish(redis_client, "open_thread", OPEN, "")
    eventually(lambda: len(threads(daemon)) == len(given) + 1)
    (*_, (entry, _)) = redis_client.xrange("forum.commands.open_thread")
    for identity in (*given, f"forum.commands.open_thread/{entry.decode()}"):
        found = daemon.request("GET", f"/forum/commands/{quote(identity, safe='')}").body["command"]
        assert (found["id"], found["status"]) == (identity, "applied")
        asked = ["forum", "command", "--command-id", identity, "--json"]
        done = shell(asked, METAWSM_SERVER=daemon.url)
        assert json.loads(done.stdout)["command"]["id"] == identity, done.stderr


def test_humans_are_not_believed_unless_the_policy_says_so(
    daemon: Daemon, redis_client: Any, start_daemon: Callable[..., Daemon], server: ServerHandle
) -> None:
    """A command that says it is a human's is rejected; with trusted_publishers it is applied; system never is."""
    publish(redis_client, "open_thread", OPEN, "human-1", actor_type="human")
    assert outcome(daemon, "human-1") == outcome(daemon, "human-1") | {"status": "rejected"}
    publish(redis_client, "open_thread", OPEN, "system-1", actor_type="system")
    eventually(lambda: len(letters(daemon)) == 1)
    assert daemon.stop() == 0
    redis_client.flushall()
    trusting = start_daemon(
        "--redis", server.url, policy={"version": 2, "forum": {"redis": {"trusted_publishers": True}}}
    )
    publish(redis_client, "open_thread", OPEN, "human-2", actor_type="human")
    assert outcome(trusting, "human-2")["status"] == "applied"


def test_a_command_about_no_thread_or_two_is_a_dead_letter(daemon: Daemon, redis_client: Any) -> None:
    """A command on an existing thread names it in its envelope or payload; where both do, they agree."""
    nowhere: list[dict[str, Any]] = [{}, {"thread_id": None}, {"thread_id": ""}]
    for number, thread in enumerate(nowhere):
        publish(redis_client, "add_post", {"body": "x"} | thread, f"none-{number}", **thread)
    publish(redis_client, "add_post", {"body": "x", "thread_id": "fthr-1"}, "two", thread_id="fthr-2")
    eventually(lambda: len(letters(daemon)) == 4)
    *none, two = letters(daemon)
    assert none == [("invalid_fields", "invalid values: thread_id is required")] * 3
    assert two == ("invalid_fields", "invalid values: thread_id is given by the envelope, and differs")
    with database(daemon.database) as db:
        assert list(db.execute("SELECT message_id, message_key FROM forum_outbox")) == []
