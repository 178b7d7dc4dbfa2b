"""What the relay makes of a faulty Redis, case by case; under load, with the ledger, see `tests/faults`."""

from __future__ import annotations

import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_streams, database
from tests.support.redis_servers import ServerHandle, start_redis

FEED = "metawsm-forum"
ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}


def ask(daemon: Daemon, wait: float = 10, **more: Any) -> int:
    """Ask one question; the status."""
    return daemon.request("POST", f"/forum/threads?wait={wait:g}", ASK | more).status


def test_a_stolen_command_is_fetched_back(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A command that another consumer of our group has read and left lying is done all the same, within seconds."""
    daemon = start_daemon("--redis", server.url)
    with held_lanes(daemon):
        with server.client() as client:
            uuid = client.xadd("forum.commands.open_thread", external("ext-1"))
            eventually(lambda: client.xpending("forum.commands.open_thread", FEED)["pending"] == 1)
            client.xclaim("forum.commands.open_thread", FEED, "thief", 0, [uuid])
        daemon.kill()
    daemon.start()
    with database(daemon.database) as db:
        eventually(lambda: list(db.execute("SELECT count(*) FROM forum_threads")) == [(1,)], timeout=8)


def test_what_was_removed_from_redis_unread_is_counted(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """An entry of another program that is deleted before it was handled is acked, and health says attention."""
    daemon = start_daemon("--redis", server.url)
    with server.client() as client:
        with held_lanes(daemon):
            entry = client.xadd("forum.commands.open_thread", external("ext-1"))
            eventually(lambda: client.xpending("forum.commands.open_thread", FEED)["pending"] == 1)
            daemon.kill()
        client.xdel("forum.commands.open_thread", entry)
        daemon.start()
        health = eventually(
            lambda: (found := daemon.request("GET", "/health").body)["components"]["commands"]["trimmed"] and found
        )
        assert (health["status"], health["components"]["commands"]["trimmed"]) == ("attention", 1)
        eventually(lambda: client.xpending("forum.commands.open_thread", FEED)["pending"] == 0)


@contextmanager
def held_lanes(daemon: Daemon) -> Iterator[None]:
    """Inside the block nothing can be written to the daemon's database."""
    with database(daemon.database) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


def external(uuid: str, **more: Any) -> dict[Any, Any]:
    """The fields of an OpenThread as another program publishes it."""
    head = {"event_id": uuid, "event_type": "forum.commands.open_thread", "actor_type": "agent"}
    text = json.dumps({"envelope": head, "payload": {"ticket": "MET-1", "title": uuid, "body": "b", **more}})
    return {"_watermill_message_uuid": uuid, "metadata": "", "payload": text}


def test_a_feed_that_got_newer_entries_is_emptied_and_filled(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """When entries came into emptied streams before the loss was seen, the streams are whole afterwards."""
    daemon = start_daemon("--redis", server.url)
    for _ in range(20):
        assert ask(daemon) == 201
    topic = "forum.events.thread.opened"
    with server.client() as client:
        (last_id, fields) = client.xrange(FEED)[-1]
        with client.pipeline(transaction=True) as atomic:
            atomic.flushall()
            atomic.xadd(FEED, fields, id=last_id)
            atomic.xadd(topic, fields, id=last_id)
            atomic.execute()
        assert ask(daemon) == 201
        check_streams(daemon, client)


def test_an_emptied_redis_is_told_as_it_is(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Everything is published again, and nothing else is said."""
    daemon = start_daemon("--redis", server.url)
    for _ in range(3):
        assert ask(daemon) == 201
    assert daemon.stop() == 0
    with server.client() as client:
        client.flushall()
        daemon.start()
        check_streams(daemon, client)
    log = daemon.log.read_text()
    assert "Redis has lost events; the feed gets again what it lacks of those up to sequence 3" in log
    assert "from sequence" not in log


def test_a_feed_that_ends_too_early_is_continued(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A server that comes back with an older state (its last second was not on disk) gets what it lacks."""
    daemon = start_daemon("--redis", server.url)
    for _ in range(20):
        assert ask(daemon) == 201
    topic = "forum.events.thread.opened"
    assert daemon.stop() == 0
    with server.client() as client:
        for stream in (FEED, topic):
            entries = client.xrange(stream)[:12]
            client.delete(stream)
            for entry_id, fields in entries:
                client.xadd(stream, fields, id=entry_id)
            client.xgroup_create(stream, f"{FEED}.projections", "0")
        daemon.start()
        check_streams(daemon, client)


def test_streams_and_groups_exist_from_the_start(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Before the first message, each command topic has its group, and feed and event topics are there."""
    start_daemon("--redis", server.url)
    with server.client() as client:
        assert [group["name"] for group in client.xinfo_groups("forum.commands.open_thread")] == [FEED.encode()]
        assert client.exists(FEED, "forum.events.thread.opened", "forum.events.post.added") == 3


def test_somebody_elses_entry_on_the_feed_does_not_block_it(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """An entry with a higher id bars all of ours: answers go on at once, and the feed is mended."""
    daemon = start_daemon("--redis", server.url)
    assert ask(daemon) == 201
    with server.client() as client:
        client.xadd(FEED, {"a": "b"})
        assert ask(daemon) == 201
        check_streams(daemon, client)
        eventually(lambda: daemon.request("GET", "/health").body["status"] == "ok")


def test_somebody_elses_entry_on_an_event_topic_costs_nobody_a_group(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """The topic is mended, and the groups of other programs on it go on where they were."""
    daemon = start_daemon("--redis", server.url)
    topic = "forum.events.thread.opened"
    assert ask(daemon) == 201
    with server.client() as client:
        client.xgroup_create(topic, "reports", "0")
        eventually(lambda: client.xlen(topic) == 1)
        assert len(client.xreadgroup("reports", "me", {topic: ">"}, noack=True)[0][1]) == 1
        stray = client.xadd(topic, {"a": "b"})
        assert ask(daemon) == 201
        eventually(lambda: client.xrange(topic)[-1][0] != stray)
        check_streams(daemon, client)
        ((_, entries),) = client.xreadgroup("reports", "me", {topic: ">"}, noack=True)
        assert [entry_id for entry_id, _ in entries] == [client.xrange(topic)[-1][0]]


def test_a_key_of_another_type_parks_only_its_own_topic(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """While one event topic and one command topic are no streams, others go on; afterwards nothing is missing."""
    with server.client() as client:
        client.set("forum.events.post.added", "x")
        client.set("forum.commands.set_priority", "x")
        daemon = start_daemon("--redis", server.url)
        assert ask(daemon, thread_id="fthr-1") == 201
        post = {"body": "b", "actor_type": "agent"}
        for _ in range(5):
            assert daemon.request("POST", "/forum/threads/fthr-1/posts", post).status == 200
        priority = {"priority": "high", "actor_type": "agent"}
        late = daemon.request("POST", "/forum/threads/fthr-1/priority?wait=0.2", priority)
        assert late.status == 202
        assert daemon.request("GET", "/health").status == 503
        client.delete("forum.events.post.added", "forum.commands.set_priority")
        assert daemon.request("POST", "/forum/threads/fthr-1/posts", post).status == 200
        where = f"/forum/commands/{late.body['command']['id']}"
        eventually(lambda: daemon.request("GET", where).body["command"]["status"] == "applied")
        eventually(lambda: daemon.request("GET", "/health").status == 200)
        assert "filled anew" not in daemon.log.read_text()  # nothing overtook, so nothing had to be mended
        check_streams(daemon, client)


def test_out_of_memory_leaves_no_hole(tmp_path: Path, start_daemon: Callable[..., Daemon]) -> None:
    """While Redis refuses for lack of memory commands wait; afterwards all are done and the feed is whole, in order."""
    server = start_redis(tmp_path / "broker")
    try:
        daemon = start_daemon("--redis", server.url)
        assert ask(daemon) == 201
        with server.client() as client:
            client.config_set("maxmemory", "1mb")
            client.config_set("maxmemory-policy", "noeviction")
            waiting = [ask(daemon, wait=0.1) for _ in range(10)]
            assert set(waiting) == {202}
            assert daemon.request("GET", "/health").status == 503
            client.config_set("maxmemory", "0")
            eventually(lambda: daemon.request("GET", "/health").status == 200)
            assert ask(daemon) == 201
            eventually(lambda: len(daemon.request("GET", "/forum/threads").body["threads"]) == 12)
            assert "filled anew" not in daemon.log.read_text()  # nothing overtook, so nothing had to be mended
            check_streams(daemon, client)
    finally:
        server.remove()


def test_a_stalled_redis_answers_in_bounded_time(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """With Redis standing still a write is answered 202 when its wait is over, and applied once afterwards."""
    daemon = start_daemon("--redis", server.url)
    assert ask(daemon) == 201
    server.pause()
    began = time.monotonic()
    assert ask(daemon, wait=0.5) == 202
    assert time.monotonic() - began < 1.5
    server.resume()
    eventually(lambda: len(daemon.request("GET", "/forum/threads").body["threads"]) == 2)
    eventually(lambda: daemon.request("GET", "/health").status == 200)


def test_a_listener_cut_in_mid_reply_loses_nothing(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Connections killed over and over while others publish commands: every command is done."""
    daemon = start_daemon("--redis", server.url)
    with server.client() as client:
        for number in range(40):
            client.xadd("forum.commands.open_thread", external(f"ext-{number}"))
            if number % 4 == 0:
                client.client_kill_filter(skipme=True)
        eventually(lambda: len(daemon.request("GET", "/forum/threads").body["threads"]) == 40, timeout=10)
    eventually(lambda: daemon.request("GET", "/health").status == 200)


def test_a_command_and_its_read_models_are_stored_together(daemon: Daemon) -> None:
    """Who looks into the database sees an event and what it makes of the read models in one step, nearly always."""
    behind: set[int] = set()
    over = threading.Event()

    def watch() -> None:
        with sqlite3.connect(f"file:{daemon.database}?mode=ro", uri=True) as db:
            while not over.is_set():
                head, applied = db.execute(
                    "SELECT (SELECT max(sequence) FROM forum_events), (SELECT min(sequence) FROM projection_cursors)"
                ).fetchone()
                if head and head > applied:
                    behind.add(head)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(50):
            assert daemon.request("POST", "/forum/threads", ASK).status == 201
    finally:
        over.set()
        watcher.join()
    assert len(behind) < 15, f"{len(behind)} of 50 events were seen before their read models"


def test_events_travel_with_the_next_command(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """One client that asks again and again costs less than two round trips a question; the last events go alone."""
    daemon = start_daemon("--redis", server.url)
    with server.client() as client:
        assert ask(daemon) == 201
        before = transactions(client)
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=10)
        for _ in range(100):
            connection.request("POST", "/api/v1/forum/threads", json.dumps(ASK), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201
        connection.close()
        eventually(lambda: client.xlen(FEED) == 101)
        assert transactions(client) - before < 190


def transactions(client: redis.Redis) -> int:
    """How many transactions the server has executed so far."""
    return int(client.info("commandstats")["cmdstat_exec"]["calls"])
