"""Commands that meet: one key from many clients, two wishes about one thread, one id for two threads."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.support.at_rest import check_at_rest
from tests.support.daemon import Daemon, Reply
from tests.support.ledger import database

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "human"}


def ask(daemon: Daemon, key: str | None = None, **more: Any) -> Reply:
    """Open a thread."""
    headers = {"Idempotency-Key": key} if key else {}
    return daemon.request("POST", "/forum/threads", ASK | more, headers)


def events(daemon: Daemon) -> int:
    """How many events there are, in a database that is in order."""
    check_at_rest(daemon)
    with database(daemon.database) as db:
        return int(db.execute("SELECT count(*) FROM forum_events").get)


def test_twenty_clients_with_one_key_have_one_effect(daemon: Daemon) -> None:
    """All get the same answer, whether they came first, meanwhile or late; another body under the key is 422."""
    with ThreadPoolExecutor(20) as pool:
        for key in ("k-1", "k-2", "k-3"):
            replies = list(pool.map(lambda _, key=key: ask(daemon, key), range(20)))
            assert {reply.status for reply in replies} == {201}
            assert len({reply.text for reply in [*replies, ask(daemon, key)]}) == 1
    with ThreadPoolExecutor(20) as pool:
        mixed = list(pool.map(lambda number: ask(daemon, "k-4", body=f"body {number % 2}"), range(20)))
    assert sorted({reply.status for reply in mixed}) == [201, 422]
    assert len({reply.text for reply in mixed if reply.status == 201}) == 1
    assert {reply.error["code"] for reply in mixed if reply.status == 422} == {"idempotency_key_reused"}
    assert events(daemon) == 4


ACTIONS: dict[str, dict[str, Any]] = {
    "posts": {"body": "b"},
    "answer": {"body": "b"},
    "assign": {"assignee_type": "human", "assignee_name": "kb"},
    "state": {"to_state": "triaged"},
    "priority": {"priority": "urgent"},
    "close": {"reason": "r"},
}


def test_two_different_commands_race(daemon: Daemon) -> None:
    """Of two kinds that expect the same version one wins; the losers get 409 and the thread as the winner left it."""
    with ThreadPoolExecutor(8) as pool:
        for first, second in itertools.combinations(ACTIONS, 2):
            view = ask(daemon).body["thread"]
            replies = list(pool.map(lambda kind, view=view: act(daemon, view, kind), [first, second] * 4))
            assert sorted(reply.status for reply in replies) == [200] + [409] * 7, (first, second)
            (winner,) = (reply.body["thread"] for reply in replies if reply.status == 200)
            assert winner["version_sequence"] > view["version_sequence"]
            losers = [reply for reply in replies if reply.status == 409]
            assert {reply.error["code"] for reply in losers} == {"stale_sequence"}
            assert all(reply.body["thread"] == winner for reply in losers)
    check_at_rest(daemon)


def act(daemon: Daemon, view: dict[str, Any], kind: str) -> Reply:
    """Do something to a thread that must still be as it was seen."""
    body = ACTIONS[kind] | {"actor_type": "operator", "expected_sequence": view["version_sequence"]}
    return daemon.request("POST", f"/forum/threads/{view['thread_id']}/{kind}", body)


def test_a_reused_thread_id_wedges_nothing(daemon: Daemon) -> None:
    """Of 20 questions with one id one is opened, the others are 409 for good, and all go on behind them."""
    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda n: ask(daemon, f"k-{n}", body=str(n), thread_id="fthr-1"), range(20)))
    assert sorted(reply.status for reply in replies) == [201] + [409] * 19
    assert {reply.error["code"] for reply in replies if reply.status == 409} == {"already_exists"}
    daemon.kill()
    daemon.start()
    again = [ask(daemon, f"k-{n}", body=str(n), thread_id="fthr-1") for n in range(20)]
    assert [reply.text for reply in again] == [reply.text for reply in replies]
    assert daemon.request("POST", "/forum/threads/fthr-1/posts", {"body": "b", "actor_type": "human"}).status == 200
    assert ask(daemon, thread_id="fthr-2").status == 201
    assert events(daemon) == 3
    assert daemon.request("GET", "/health").body["outbox"]["failed_count"] == 0
