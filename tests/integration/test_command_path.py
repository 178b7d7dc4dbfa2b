"""A write from request to answer: accepted durably, done once, answered with what it did (invariants 1 to 4)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.ledger import check_database, database
from tests.support.redis_servers import ServerHandle

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "human"}


def ask(daemon: Daemon, key: str | None = None, wait: float = 5, **more: Any) -> Reply:
    """Open a thread."""
    headers = {"Idempotency-Key": key} if key else {}
    return daemon.request("POST", f"/forum/threads?wait={wait:g}", ASK | more, headers)


def act(daemon: Daemon, thread: str, action: str, **body: Any) -> Reply:
    """Act on a thread as a human."""
    return daemon.request("POST", f"/forum/threads/{thread}/{action}", {"actor_type": "human"} | body)


def count(daemon: Daemon) -> int:
    """How many threads there are."""
    return len(daemon.request("GET", "/forum/threads?limit=500").body["threads"])


def test_a_key_belongs_to_its_body_route_and_credential(daemon: Daemon) -> None:
    """Another body is refused; another route or credential has keys of its own."""
    thread = ask(daemon, "k").body["thread"]["thread_id"]
    assert (ask(daemon, "k", body="other").status, ask(daemon, "k").status) == (422, 201)
    post = {"body": "b", "actor_type": "agent"}
    where = f"/forum/threads/{thread}/posts"
    assert daemon.request("POST", where, post, {"Idempotency-Key": "k"}).status == 200
    assert daemon.request("POST", where, post, {"Idempotency-Key": "k"}, anonymous=True).status == 200
    assert daemon.request("GET", f"/forum/threads/{thread}").body["thread"]["posts_count"] == 3


def test_a_rejection_is_an_outcome_and_a_refusal_leaves_no_trace(daemon: Daemon) -> None:
    """A rejected command answers the same again; one refused before acceptance may be sent anew under its key."""
    first = ask(daemon, thread_id="fthr-1")
    assert first.status == 201
    taken = ask(daemon, "taken", thread_id="fthr-1")
    assert (taken.status, taken.error["code"]) == (409, "already_exists")
    assert ask(daemon, "taken", thread_id="fthr-1").text == taken.text
    assert ask(daemon, "k", priority="odd").status == 422
    assert ask(daemon, "k").status == 201
    with database(daemon.database) as db:
        check_database(db)
        assert list(db.execute("SELECT count(*) FROM forum_outbox WHERE kind = 'command'")) == [(3,)]


def test_who_does_not_wait_is_told_where_to_look(daemon: Daemon) -> None:
    """With wait=0 the answer is 202 with the command's place, where its outcome appears; a retry gets the answer."""
    reply = ask(daemon, "k", wait=0)
    assert (reply.status, reply.body["command"]["status"]) == (202, "queued")
    where = reply.headers["location"]
    command: Any = eventually(lambda: _applied(daemon.request("GET", where).body["command"]))
    assert command["thread"]["title"] == "t"
    again = ask(daemon, "k")
    assert (again.status, again.body["thread"]) == (201, command["thread"])


def _applied(command: dict[str, Any]) -> dict[str, Any] | None:
    return command if command["status"] == "applied" else None


def test_an_answered_write_can_be_read(daemon: Daemon) -> None:
    """Right after each answer list, detail, events and stats have it."""
    for number in range(1, 31):
        reply = ask(daemon)
        thread = reply.body["thread"]
        assert count(daemon) == number
        assert daemon.request("GET", f"/forum/threads/{thread['thread_id']}").status == 200
        events = daemon.request("GET", f"/forum/events?cursor={number - 1}").body["events"]
        assert [event["sequence"] for event in events] == [number]
        (line,) = daemon.request("GET", "/forum/stats").body["stats"]
        assert line["thread_count"] == number


def test_commands_wait_for_redis_and_are_bounded(
    tmp_path: Path, server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """Without Redis writes are kept and answered 202 up to the limit, then 503; when it comes all are done in order."""
    server.stop()
    policy = {"version": 2, "forum": {"limits": {"outbox": 100}}}
    daemon = start_daemon("--redis", server.url, policy=policy, needs_redis=False)
    eventually(lambda: ask(daemon, wait=0.1).status == 202)
    kept = 1
    while (reply := ask(daemon, wait=0.1)).status == 202:
        kept += 1
        assert kept <= 100
    assert (reply.status, reply.error["code"], kept) == (503, "overloaded", 100)
    assert int(reply.headers["retry-after"]) > 0
    health = daemon.request("GET", "/health")
    assert health.status == 503
    assert health.body["forum_bus"]["error"].startswith("forum redis ping failed: ")
    assert health.body["outbox"]["pending_count"] == 100
    server.start()
    eventually(lambda: count(daemon) == 100)
    eventually(lambda: ask(daemon).status == 201, timeout=8)
    with database(daemon.database) as db:
        check_database(db)


def test_a_full_queue_still_knows_what_it_has_stored(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A retry of a stored command adds nothing to the queue: it waits for that command, or has its answer."""
    daemon = start_daemon("--redis", server.url, policy={"version": 2, "forum": {"limits": {"outbox": 100}}})
    applied = ask(daemon, "applied")
    server.stop()
    kept = {key: ask(daemon, key, wait=0).body for key in (f"m{number}" for number in range(100))}
    assert [ask(daemon, wait=0).status, ask(daemon, "new", wait=0).status] == [503, 503]
    assert ask(daemon, "m0", wait=0).body == kept["m0"]
    assert ask(daemon, "m0", body="other").status == 422
    again = ask(daemon, "applied")
    assert (again.status, again.text) == (201, applied.text)
    server.start()
    eventually(lambda: ask(daemon, "new", wait=0).status in (201, 202), timeout=8)
    eventually(lambda: count(daemon) == 102)


def test_the_limit_is_counted_anew_after_a_restart(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A daemon that finds a full outbox at its start refuses, although it has accepted nothing itself."""
    server.stop()
    policy = {"version": 2, "forum": {"limits": {"outbox": 100}}}
    daemon = start_daemon("--redis", server.url, policy=policy, needs_redis=False)
    while ask(daemon, wait=0.1).status == 202:
        pass
    daemon.kill()
    daemon.start()
    eventually(lambda: ask(daemon, wait=0.1).status == 503)


def test_a_locked_database_makes_writes_wait(daemon: Daemon) -> None:
    """While another process holds the write lock requests wait, reads go on, and nothing fails."""
    ask(daemon)
    with ThreadPoolExecutor(3) as pool, database(daemon.database) as db:
        db.execute("BEGIN IMMEDIATE")
        waiting = [pool.submit(ask, daemon) for _ in range(3)]
        assert count(daemon) == 1
        assert not any(one.done() for one in waiting)
        db.execute("ROLLBACK")
        assert [one.result().status for one in waiting] == [201] * 3


@pytest.mark.faults
def test_a_database_locked_for_long_refuses_writes(daemon: Daemon, server: ServerHandle) -> None:
    """After ten seconds a write is answered 503 and not stored; afterwards all is as before.

    Commands from Redis wait, and the log says so in a line or two, however many they are.
    """
    ask(daemon)
    with database(daemon.database) as db, server.client() as client:
        db.execute("BEGIN IMMEDIATE")
        for _ in range(100):
            client.xadd("forum.commands.add_post", {"_watermill_message_uuid": "u", "metadata": "", "payload": "{}"})
        reply = ask(daemon, wait=30)
        assert (reply.status, reply.error["code"]) == (503, "unavailable")
        eventually(lambda: "deliveries postponed" in daemon.log.read_text())
        db.execute("ROLLBACK")
    assert ask(daemon).status == 201
    assert count(daemon) == 2
    assert daemon.log.read_text().count("postponed") < 10
