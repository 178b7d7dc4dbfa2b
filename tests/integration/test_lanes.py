"""A handler that fails: bounded attempts, a dead letter, and nobody else held up (design, invariants 3 to 5)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.ledger import database
from tests.support.redis_servers import ServerHandle

NEVER = "/nonexistent/mended"
POST = {"body": "b", "actor_type": "agent"}


@pytest.fixture
def start_faulty(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> Callable[..., Daemon]:
    """A daemon with the command `break_thread` and, if named, a further fault."""

    def start(fault: str = "none", count: int = 1) -> Daemon:
        command = [sys.executable, "-m", "tests.support.faulty_daemon", fault, str(count)]
        return start_daemon("--redis", server.url, command=command)

    return start


def open_threads(daemon: Daemon, *names: str) -> None:
    """Open threads with these ids."""
    for name in names:
        body = {"ticket": "MET-1", "title": "t", "body": "b", "thread_id": name, "actor_type": "agent"}
        assert daemon.request("POST", "/forum/threads", body).status == 201


def break_thread(daemon: Daemon, thread: str, until: str = NEVER, wait: float = 10) -> Reply:
    """Send the command whose handler fails until the file exists."""
    body = {"until": until, "actor_type": "agent"}
    return daemon.request("POST", f"/forum/threads/{thread}/break?wait={wait:g}", body)


def letters(daemon: Daemon) -> list[tuple[Any, ...]]:
    """Reason, attempts, message id, topic and entry of the dead letters."""
    with database(daemon.database) as db:
        return list(db.execute("SELECT reason, attempts, message_id, topic, entry_id FROM dead_letters ORDER BY id"))


def test_each_failing_command_has_its_own_letter(start_faulty: Callable[..., Daemon]) -> None:
    """Several failing commands of one thread, sent together, leave one letter each, in order."""
    daemon = start_faulty()
    open_threads(daemon, "fthr-1")
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda _: break_thread(daemon, "fthr-1"), range(3)))
    found = letters(daemon)
    assert [reason for reason, *_ in found] == ["handler_failed"] * 3
    assert {letter[2] for letter in found} == {reply.error["correlation_id"] for reply in replies}
    assert all(letter[1] == 3 for letter in found)


def test_mended_in_time_it_is_applied_once(start_faulty: Callable[..., Daemon], tmp_path: Path) -> None:
    """A command that fails twice and then works leaves one post and no letter."""
    daemon = start_faulty()
    open_threads(daemon, "fthr-1")
    mended = tmp_path / "mended"
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(break_thread, daemon, "fthr-1", str(mended))
        time.sleep(0.3)
        mended.touch()
        assert reply.result().status == 200
    with database(daemon.database) as db:
        assert list(db.execute("SELECT count(*) FROM forum_posts WHERE body = '?'")) == [(1,)]
    assert letters(daemon) == []


def test_a_sent_command_that_redis_lost_is_sent_again(
    start_faulty: Callable[..., Daemon], server: ServerHandle, tmp_path: Path
) -> None:
    """Sent, not done, the daemon killed and Redis emptied: after the start the command is done."""
    daemon = start_faulty()
    open_threads(daemon, "fthr-1")
    mended = tmp_path / "mended"
    assert break_thread(daemon, "fthr-1", str(mended), wait=0).status == 202
    with database(daemon.database) as db:
        daemon.kill()
        status = "SELECT status FROM forum_outbox WHERE topic LIKE '%break_thread'"
        db.execute("UPDATE forum_outbox SET status = 'sent' WHERE status = 'pending' AND kind = 'command'")
        assert list(db.execute(status)) == [("sent",)]
        with server.client() as client:
            client.flushall()
        mended.touch()
        daemon.start()
        eventually(lambda: list(db.execute(status)) == [("done",)])
        assert list(db.execute("SELECT count(*) FROM forum_posts WHERE body = '?'")) == [(1,)]


def test_a_sent_command_that_redis_lost_is_missed_while_running(
    start_faulty: Callable[..., Daemon], server: ServerHandle
) -> None:
    """A command whose entry vanished unread is published again once nothing is left in the groups."""
    daemon = start_faulty()
    open_threads(daemon, "fthr-1")
    with database(daemon.database) as db:
        text = "SELECT replace(payload_json, 'fcmd-', 'fcmd-lost') FROM forum_outbox WHERE kind = 'command' LIMIT 1"
        ((payload,),) = db.execute(text)
        db.execute(
            "INSERT INTO forum_outbox"
            " (message_id, kind, topic, message_key, payload_json, status, created_at, updated_at)"
            " VALUES ('fcmd-lost', 'command', 'forum.commands.open_thread', 'fthr-lost', ?1, 'sent', ?2, ?2)",
            (payload, "2026-01-01T00:00:00.000000Z"),
        )
        done = "SELECT status FROM forum_outbox WHERE message_id = 'fcmd-lost'"
        eventually(lambda: list(db.execute(done)) == [("done",)], timeout=8)


def test_a_lost_command_is_missed_beside_busy_groups(start_faulty: Callable[..., Daemon], server: ServerHandle) -> None:
    """One whose entry vanished is published again although the group of another topic always has something pending."""
    daemon = start_faulty()
    open_threads(daemon, "fthr-1")
    busy, group = "forum.commands.open_thread", "metawsm-forum"
    with database(daemon.database) as db, server.client() as client:
        ((entry, _),) = client.xrange(busy)

        def is_done() -> bool:
            client.xclaim(busy, group, "another", 0, [entry], force=True)
            return list(db.execute("SELECT status FROM forum_outbox WHERE message_id = 'fcmd-lost'")) == [("done",)]

        db.execute(
            "INSERT INTO forum_outbox"
            " (message_id, kind, topic, message_key, payload_json, status, created_at, updated_at)"
            " SELECT 'fcmd-lost', kind, 'forum.commands.add_post', 'fthr-lost',"
            " replace(payload_json, 'fcmd-', 'fcmd-lost'), 'sent', ?1, ?1"
            " FROM forum_outbox WHERE kind = 'command' LIMIT 1",
            ("2026-01-01T00:00:00.000000Z",),
        )
        eventually(is_done, timeout=8)
