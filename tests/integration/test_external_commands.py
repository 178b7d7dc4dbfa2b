"""Commands that other programs publish, in Watermill's form: identity, trust, and what is not a command at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_database, check_streams, database
from tests.support.redis_servers import ServerHandle

UUID = b"_watermill_message_uuid"
OPEN = {"ticket": "MET-1", "title": "from outside", "body": "b"}


@pytest.fixture
def redis_client(server: ServerHandle) -> Iterator[Any]:
    """A client that plays the other program."""
    with server.client() as client:
        yield client


def publish(
    client: Any,
    name: str,
    payload: dict[str, Any],
    uuid: str = "ext-1",
    metadata: dict[str, Any] | None = None,
    topic: str | None = None,
    **head: Any,
) -> None:
    """Add a command as Watermill's marshaller does: three fields, metadata as MessagePack."""
    envelope = {"event_type": f"forum.commands.{name}", "actor_type": "agent", **head}
    text = json.dumps({"envelope": envelope, "payload": payload})
    packed = msgpack.packb(metadata if metadata is not None else {"name": f"forum.commands.{name}"})
    client.xadd(topic or f"forum.commands.{name}", {UUID: uuid, b"metadata": packed, b"payload": text})


def letters(daemon: Daemon) -> list[tuple[str, str]]:
    """(reason, error) of the dead letters, in order."""
    with database(daemon.database) as db:
        return [(str(r), str(e)) for r, e in db.execute("SELECT reason, error FROM dead_letters ORDER BY id")]


def threads(daemon: Daemon) -> list[dict[str, Any]]:
    """All threads."""
    found: list[dict[str, Any]] = daemon.request("GET", "/forum/threads").body["threads"]
    return found


def outcome(daemon: Daemon, command: str) -> dict[str, Any]:
    """What became of a command, once it is no longer queued."""
    return eventually(lambda: _settled(daemon.request("GET", f"/forum/commands/{command}").body["command"]))


def _settled(command: dict[str, Any]) -> dict[str, Any]:
    assert command["status"] != "queued"
    return command


def test_every_command_from_outside(daemon: Daemon, redis_client: Any) -> None:
    """Each command that an agent may send works without any word to the REST interface."""
    publish(redis_client, "open_thread", OPEN, "ext-open", thread_id="fthr-ext", actor_name="bob")
    assert outcome(daemon, "ext-open")["status"] == "applied"
    about: dict[str, Any] = {"thread_id": "fthr-ext"}
    sent: dict[str, dict[str, Any]] = {
        "add_post": {"body": "more"},
        "assign_thread": {"assignee_type": "human", "assignee_name": "kb"},
        "set_priority": {"priority": "high"},
        "change_state": {"to_state": "waiting_human"},
        "mark_seen": {"viewer_type": "agent", "viewer_id": "bob"},
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


def test_a_duplicate_is_applied_once_and_another_payload_is_set_aside(daemon: Daemon, redis_client: Any) -> None:
    """The same identity with an equal payload is the same command, in whatever order its members stand."""
    publish(redis_client, "open_thread", OPEN, "same")
    publish(redis_client, "open_thread", dict(reversed(OPEN.items())), "same")
    publish(redis_client, "open_thread", OPEN | {"body": "another"}, "same")
    eventually(lambda: len(letters(daemon)) == 1)
    assert "used before with another payload" in letters(daemon)[0][1]
    assert len(threads(daemon)) == 1


def test_origin_decides_whose_a_message_is(daemon: Daemon, redis_client: Any) -> None:
    """Ours without a row is acked; an older epoch and another database go to the dead letters."""
    with database(daemon.database) as db:
        ((ours,),) = db.execute("SELECT value FROM metawsm_meta WHERE name = 'database_id'")
    for uuid, origin in (("old", f"{ours}/1"), ("past", f"{ours}/0"), ("other", "db-other/1")):
        publish(redis_client, "open_thread", OPEN, uuid, {"origin": origin, "message_id": uuid})
    eventually(lambda: [reason for reason, _ in letters(daemon)] == ["restored", "foreign"])
    eventually(lambda: redis_client.xpending("forum.commands.open_thread", "metawsm-forum")["pending"] == 0)
    assert threads(daemon) == []


def test_a_copy_of_our_own_message_is_no_second_command(daemon: Daemon, redis_client: Any) -> None:
    """Our entry added again, with or without its metadata, is acked and changes nothing."""
    assert daemon.request("POST", "/forum/threads", OPEN | {"actor_type": "human"}).status == 201
    ((_, fields),) = redis_client.xrange("forum.commands.open_thread")
    redis_client.xadd("forum.commands.open_thread", fields)
    redis_client.xadd("forum.commands.open_thread", fields | {b"metadata": b""})
    publish(redis_client, "open_thread", OPEN, "behind")
    eventually(lambda: len(threads(daemon)) == 2)
    assert letters(daemon) == []


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


BAD_ENTRIES: dict[str, dict[bytes, bytes]] = {
    "no uuid": {b"payload": b"{}"},
    "bad metadata": {UUID: b"u", b"metadata": b"\xc1", b"payload": b"{}"},
    "integer in metadata": {UUID: b"u", b"metadata": msgpack.packb({"a": 1}), b"payload": b"{}"},
    "broken JSON": {UUID: b"u", b"payload": b"{"},
    "deep JSON": {UUID: b"u", b"payload": b"[" * 100_000},
    "no object": {UUID: b"u", b"payload": b"[]"},
    "not UTF-8": {UUID: b"u", b"payload": b'{"envelope": {"event_id": "\xff"}, "payload": {}}'},
    "uuid not UTF-8": {UUID: b"\xff", b"payload": b"{}"},
}
BAD_COMMANDS: dict[str, dict[str, Any]] = {
    "unknown type": {"event_type": "forum.commands.dance"},
    "type of another topic": {"event_type": "forum.commands.add_post", "thread_id": "fthr-1"},
    "type is no string": {"event_type": 5},
    "unknown version": {"event_version": 99},
    "version is a list": {"event_version": [1]},
    "version is a truth": {"event_version": True},
    "surrogate in a name": {"actor_name": "\ud800"},
    "surrogate in the identity": {"event_id": "\ud800"},
    "long identity": {"event_id": "x" * 1000},
    "long correlation": {"correlation_id": "x" * 1000},
    "bad thread id": {"thread_id": "../../etc"},
    "no actor": {"actor_type": None},
}
BAD_PAYLOADS: dict[str, Any] = {
    "missing field": {"ticket": "MET-1"},
    "unknown field": OPEN | {"colour": "red"},
    "bad ticket": OPEN | {"ticket": "../x"},
    "large body": OPEN | {"body": "x" * 10_000_000},
    "NUL": OPEN | {"body": "a\x00b"},
    "surrogate": OPEN | {"body": "\ud800"},
    "thread id is a list": OPEN | {"thread_id": []},
}


def test_an_identity_that_is_an_events(daemon: Daemon, redis_client: Any) -> None:
    """A command that calls itself by an event's id is set aside at once, with that reason."""
    publish(redis_client, "open_thread", OPEN, "first")
    assert outcome(daemon, "first")["status"] == "applied"
    event = daemon.request("GET", "/forum/events").body["events"][0]["envelope"]["event_id"]
    publish(redis_client, "open_thread", OPEN, event)
    ((reason, told),) = eventually(lambda: letters(daemon))
    assert reason == "undecodable" and "that of an event" in told


def test_what_is_no_command_is_set_aside_and_the_loop_goes_on(daemon: Daemon, redis_client: Any) -> None:
    """Each faulty entry leaves one dead letter with its reason, and the good one behind it is applied."""
    topic = "forum.commands.open_thread"
    for entry in BAD_ENTRIES.values():
        redis_client.xadd(topic, entry)
    for number, head in enumerate(BAD_COMMANDS.values()):
        publish(redis_client, "open_thread", OPEN, f"bad-{number}", topic=topic, **head)
    for number, payload in enumerate(BAD_PAYLOADS.values()):
        publish(redis_client, "open_thread", payload, f"payload-{number}")
    publish(redis_client, "open_thread", OPEN, "good")
    assert outcome(daemon, "good")["status"] == "applied"
    expected = len(BAD_ENTRIES) + len(BAD_COMMANDS) + len(BAD_PAYLOADS)
    eventually(lambda: len(letters(daemon)) == expected)
    assert {reason for reason, _ in letters(daemon)} == {"malformed", "undecodable", "invalid_fields"}
    assert [t["title"] for t in threads(daemon)] == ["from outside"]
    eventually(lambda: redis_client.xpending(topic, "metawsm-forum")["pending"] == 0)
    assert daemon.request("GET", "/health").body["status"] == "attention"
