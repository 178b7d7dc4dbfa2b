"""Dead letters from the handler's bug to the replay: applied once, at a new position, followed by its old identity."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_lanes import POST, break_thread, open_threads
from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.ledger import check_database, database
from tests.support.redis_servers import ServerHandle
from tests.support.watermill import OPEN, publish, threads

LETTERS = "/forum/dead-letters"
BY = {"actor_type": "operator"}
TOPIC = "forum.commands.open_thread"


@pytest.fixture
def faulty(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> Daemon:
    """A daemon with the command `break_thread`, whose handler fails until a file exists, and a thread fthr-1."""
    command = [sys.executable, "-m", "tests.support.faulty_daemon", "none", "1"]
    daemon = start_daemon("--redis", server.url, command=command)
    open_threads(daemon, "fthr-1")
    return daemon


@pytest.fixture
def redis_client(server: ServerHandle) -> Iterator[Any]:
    """A client that plays another program."""
    with server.client() as client:
        yield client


def found(daemon: Daemon, query: str = "") -> list[dict[str, Any]]:
    """The letters of a list."""
    letters: list[dict[str, Any]] = daemon.request("GET", f"{LETTERS}?{query}").body["dead_letters"]
    return letters


def only(daemon: Daemon, count: int = 1) -> dict[str, Any]:
    """The newest of so many letters, once they are there."""
    eventually(lambda: len(found(daemon)) == count)
    return found(daemon)[0]


def act(daemon: Daemon, letter: int, verb: str, wait: str = "") -> Reply:
    """Replay or discard a letter as an operator."""
    return daemon.request("POST", f"{LETTERS}/{letter}/{verb}{wait}", BY | {"actor_name": "kb"})


def bodies(daemon: Daemon) -> list[str]:
    """The bodies of the posts of fthr-1, in order."""
    return [post["body"] for post in daemon.request("GET", "/forum/threads/fthr-1").body["posts"]]


def broken(daemon: Daemon, mended: Path, key: str = "k-1") -> Reply:
    """Send a command that fails until `mended` exists."""
    body = {"until": str(mended), "actor_type": "agent"}
    return daemon.request("POST", "/forum/threads/fthr-1/break?wait=10", body, {"Idempotency-Key": key})


def test_replay_after_the_mend_applies_once(faulty: Daemon, tmp_path: Path) -> None:
    """The replayed command is applied at a new position; its id and its key lead to the new outcome."""
    mended = tmp_path / "mended"
    failed = broken(faulty, mended)
    assert failed.status == 500
    assert faulty.request("POST", "/forum/threads/fthr-1/posts", POST).status == 200
    letter = only(faulty)
    command = failed.error["correlation_id"]
    assert (letter["reason"], letter["command_id"], letter["thread_id"]) == ("handler_failed", command, "fthr-1")
    mended.touch()
    began = time.monotonic()
    reply = act(faulty, letter["id"], "replay")
    assert (reply.status, reply.body["done"], reply.body["command"]["status"]) == (200, True, "applied")
    assert time.monotonic() - began < 2.0  # published at once, not when the clock finds it
    ended = reply.body["dead_letter"]
    assert (ended["status"], ended["ended_by_type"], ended["ended_by_name"]) == ("replayed", "operator", "kb")
    assert bodies(faulty) == ["b", "b", "?"]
    assert faulty.request("GET", f"/forum/commands/{command}").body["command"]["status"] == "applied"
    again = broken(faulty, mended)
    assert (again.status, again.body["thread"]["posts_count"]) == (200, 3)
    assert faulty.request("GET", "/health").body["status"] == "ok"
    with database(faulty.database) as db:
        eventually(lambda: not check_database(db))  # type: ignore[func-returns-value] # it raises


def test_what_failed_is_told_again_at_once(faulty: Daemon) -> None:
    """Who sends it again under the same key is not left waiting for an outcome that does not come."""
    nowhere = Path("/nonexistent/mended")
    first = broken(faulty, nowhere)
    began = time.monotonic()
    again = broken(faulty, nowhere)
    assert time.monotonic() - began < 5.0  # it says that it would wait for 10
    assert (again.status, again.error["code"]) == (first.status, first.error["code"]) == (500, "internal")
    assert again.error["correlation_id"] == first.error["correlation_id"]
    only(faulty)


def test_a_letter_without_room_is_stored_later(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """The command is tried again and buried when there is room; its thread goes on, nothing ends the daemon."""
    command = [sys.executable, "-m", "tests.support.faulty_daemon", "full", "2"]
    daemon = start_daemon("--redis", server.url, command=command)
    open_threads(daemon, "fthr-1")
    assert broken(daemon, Path("/nonexistent/mended")).status == 500
    assert only(daemon)["attempts"] == 3
    assert daemon.request("POST", "/forum/threads/fthr-1/posts", POST).status == 200
    assert daemon.log.read_text().count("attempt 5 of break_thread") == 1  # two more, since there was no room twice


def test_a_command_tells_its_letter(faulty: Daemon, redis_client: Any) -> None:
    """Who asks for a command that is in the dead letters learns where to look: failed in its handler, or never one."""
    failed = broken(faulty, Path("/nonexistent/mended")).error["correlation_id"]
    letter = only(faulty)["id"]
    told = faulty.request("GET", f"/forum/commands/{failed}").body["command"]["error"]["message"]
    assert told.endswith(f"; it is dead letter {letter}, handler_failed")
    publish(redis_client, "open_thread", {"ticket": "MET-1", "odd": 1}, "wrong")
    letter = only(faulty, 2)
    assert letter["error"].startswith("invalid values: ") and not set(letter["error"]) & set("{}[]'")
    assert "title is required" in letter["error"]
    answer = faulty.request("GET", "/forum/commands/wrong")
    named = f"there is no command wrong; it is dead letter {letter['id']}, invalid_fields"
    assert (answer.status, answer.error["message"]) == (404, named)


def test_each_letter_is_told_in_the_log(faulty: Daemon, redis_client: Any) -> None:
    """One safe line, and one line a second at most, which says how many."""
    assert broken(faulty, Path("/nonexistent/mended")).status == 500
    eventually(lambda: " 1 new dead letters, forum.commands.break_thread/" in faulty.log.read_text())
    assert "the last, handler_failed: " in faulty.log.read_text()
    for number in range(20):
        publish(redis_client, "open_thread", OPEN, f"far-{number}", {"origin": "db-\x1b[31mfar\nout/1"})
    told = r"WARNING metawsm.commands: (\d+) new dead letters, \S+ the last, foreign: .*far out"

    def lines() -> list[str]:
        return re.findall(told, faulty.log.read_text())

    eventually(lambda: sum(map(int, lines())) == 20)
    assert len(lines()) <= 3 and "\x1b" not in faulty.log.read_text()


def test_a_second_replay_does_nothing(faulty: Daemon, tmp_path: Path) -> None:
    """Of many replays at once one acts; later ones, too, find the letter ended, and a discard is refused."""
    mended = tmp_path / "mended"
    assert broken(faulty, mended).status == 500
    letter = only(faulty)["id"]
    mended.touch()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: act(faulty, letter, "replay"), range(8)))
    assert [reply.status for reply in replies] == [200] * 8
    assert sum(reply.body["done"] for reply in replies) == 1
    assert bodies(faulty) == ["b", "?"]
    refused = act(faulty, letter, "discard")
    assert (refused.status, refused.error["code"]) == (409, "illegal_transition")
    assert "is replayed" in refused.error["message"]


def test_what_fails_again_opens_the_same_letter(faulty: Daemon, tmp_path: Path) -> None:
    """A replay before the mend ends in the same letter, with more attempts; the next one still works."""
    mended = tmp_path / "mended"
    assert broken(faulty, mended).status == 500
    letter = only(faulty)
    reply = act(faulty, letter["id"], "replay", "?wait=10")
    assert reply.body["command"]["status"] == "failed"
    opened = only(faulty)
    assert (opened["id"], opened["status"], opened["attempts"]) == (letter["id"], "open", 6)
    assert opened["last_failed_at"] > letter["last_failed_at"] and "ended_at" not in opened
    assert opened["first_failed_at"] == letter["first_failed_at"]
    mended.touch()
    assert act(faulty, letter["id"], "replay").body["command"]["status"] == "applied"
    assert bodies(faulty) == ["b", "?"]


def test_a_replay_survives_a_kill_before_it_is_handled(faulty: Daemon, server: ServerHandle, tmp_path: Path) -> None:
    """Replayed with Redis away and killed: after the start it is applied once."""
    mended = tmp_path / "mended"
    assert broken(faulty, mended).status == 500
    letter = only(faulty)["id"]
    mended.touch()
    server.stop()
    reply = act(faulty, letter, "replay", "?wait=1")
    assert (reply.body["done"], reply.body["command"]["status"]) == (True, "queued")
    faulty.kill()
    server.start()
    faulty.start()
    eventually(lambda: bodies(faulty) == ["b", "?"])
    assert only(faulty)["status"] == "replayed"


def test_a_pruned_command_is_stored_anew(faulty: Daemon, tmp_path: Path) -> None:
    """When the failed row has gone after its days, the letter's own copy is replayed, under the same identity."""
    mended = tmp_path / "mended"
    command = broken(faulty, mended).error["correlation_id"]
    letter = only(faulty)["id"]
    with database(faulty.database) as db:
        db.execute("DELETE FROM forum_outbox WHERE message_id = ?", (command,))
    mended.touch()
    assert act(faulty, letter, "replay").body["command"]["status"] == "applied"
    assert bodies(faulty) == ["b", "?"]


def test_discarded_is_over(faulty: Daemon, tmp_path: Path) -> None:
    """A discarded letter is no attention any more, and cannot be replayed; discarding twice is no fault."""
    assert broken(faulty, tmp_path / "never").status == 500
    letter = only(faulty)["id"]
    health = faulty.request("GET", "/health").body
    assert health["status"] == "attention"
    assert health["components"]["dead_letters"]["by_reason"] == {"handler_failed": 1}
    assert [act(faulty, letter, "discard").body["done"] for _ in range(2)] == [True, False]
    assert act(faulty, letter, "replay").status == 409
    assert faulty.request("GET", "/health").body["status"] == "ok"


def test_many_at_once(faulty: Daemon, tmp_path: Path) -> None:
    """Counted first, then replayed in the order of their failures; what does not match stays."""
    mended = tmp_path / "mended"
    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda n: broken(faulty, mended, f"k-{n}"), range(5)))
    assert len(found(faulty, "handler=break_thread&status=open")) == 5
    mended.touch()
    counted = faulty.request("POST", f"{LETTERS}/replay?handler=break_thread&dry_run=true", BY)
    assert counted.body["result"]["matched"] == 5 and counted.body["result"]["done"] == 0
    assert len(found(faulty, "status=open")) == 5
    first = faulty.request("POST", f"{LETTERS}/replay?handler=break_thread&limit=2", BY).body
    assert (first["result"]["matched"], first["result"]["done"]) == (5, 2)
    rest = f"{LETTERS}/replay?handler=break_thread&cursor={first['next_cursor']}"
    second = faulty.request("POST", rest, BY).body
    assert (second["result"]["matched"], second["result"]["done"]) == (3, 3) and "next_cursor" not in second
    eventually(lambda: bodies(faulty) == ["b", *"?????"])
    assert break_thread(faulty, "fthr-1").status == 500
    assert faulty.request("POST", f"{LETTERS}/discard?handler=other", BY).body["result"]["matched"] == 0
    assert faulty.request("POST", f"{LETTERS}/discard?all=true", BY).body["result"]["done"] == 1


def test_a_foreign_command_counts_when_a_person_says_so(daemon: Daemon, redis_client: Any) -> None:
    """Replayed, another database's command is applied as its actor's, vouched for by the token; not in bulk."""
    origin = {"origin": "db-other/1", "message_id": "far"}
    publish(redis_client, "open_thread", OPEN, "far", origin, actor_type="human", actor_name="ann")
    letter = only(daemon)
    assert letter["reason"] == "foreign"
    assert daemon.request("POST", f"{LETTERS}/replay?all=true", BY).body["result"]["matched"] == 0
    reply = act(daemon, letter["id"], "replay")
    assert reply.body["command"] == reply.body["command"] | {"id": "far", "status": "applied"}
    head = daemon.request("GET", "/forum/events").body["events"][0]["envelope"]
    assert (head["actor_type"], head["actor_name"], head["actor_known_by"]) == ("human", "ann", "token")
    publish(redis_client, "open_thread", OPEN, "far", origin, actor_type="human", actor_name="ann")
    second = only(daemon, 2)
    assert act(daemon, second["id"], "replay").body["command"]["status"] == "applied"
    assert len(threads(daemon)) == 1


def test_an_entry_delivered_again_does_not_open_its_letter(daemon: Daemon, redis_client: Any) -> None:
    """After a discard the stream's group is made anew and reads all from the beginning: the letter stays ended."""
    redis_client.xadd(TOPIC, {b"payload": b"{}"})
    letter = only(daemon)
    assert act(daemon, letter["id"], "discard").body["done"]
    redis_client.xgroup_destroy(TOPIC, "metawsm-forum")
    publish(redis_client, "open_thread", OPEN, "behind")
    eventually(lambda: len(threads(daemon)) == 1)
    eventually(lambda: only(daemon)["attempts"] == 2)
    assert only(daemon)["status"] == "discarded"


def test_what_is_still_no_command_stays_open(daemon: Daemon, redis_client: Any) -> None:
    """A fresh look that fails is counted on the letter, one by one and in bulk."""
    for name in ("bad-1", "bad-2"):
        publish(redis_client, "open_thread", OPEN | {"colour": "red"}, name)
    letter = only(daemon, 2)
    reply = act(daemon, letter["id"], "replay")
    assert (reply.status, reply.body["done"], reply.body["dead_letter"]["status"]) == (200, False, "open")
    cursor = ""
    for matched in (2, 1):
        bulk = daemon.request("POST", f"{LETTERS}/replay?reason=invalid_fields&limit=1{cursor}", BY).body
        result = bulk["result"]
        assert (result["matched"], result["done"], result["failed"]) == (matched, 0, 1)
        cursor = f"&cursor={bulk.get('next_cursor')}"
    assert [letter["attempts"] for letter in found(daemon)] == [3, 2]
    assert threads(daemon) == []


def test_a_malformed_entry_with_a_good_payload(daemon: Daemon, redis_client: Any) -> None:
    """Metadata that nobody can read are left behind: the payload is looked at, and is what its sender said."""
    payload = b'{"envelope": {"event_type": "forum.commands.open_thread", "actor_type": "agent"}, "payload": %b}'
    body = b'{"ticket": "MET-1", "title": "t", "body": "b"}'
    redis_client.xadd(TOPIC, {b"_watermill_message_uuid": b"u", b"metadata": b"\xc1", b"payload": payload % body})
    letter = only(daemon)
    assert letter["reason"] == "malformed"
    reply = act(daemon, letter["id"], "replay")
    assert reply.body["command"] == reply.body["command"] | {"status": "applied"}
    assert reply.body["command"]["id"] == f"{TOPIC}/{letter['entry_id']}"
    assert len(threads(daemon)) == 1


def test_an_entry_without_a_payload_is_kept_as_it_came(daemon: Daemon, redis_client: Any) -> None:
    """What no program of the forum has sent is shown with its fields; a replay says that there was no payload."""
    redis_client.xadd(TOPIC, {b"foo": b"bar", b"odd": b"\xff"})
    letter = daemon.request("GET", f"{LETTERS}/{only(daemon)['id']}").body["dead_letter"]
    assert letter["reason"] == "malformed"
    assert letter["metadata"].items() >= {"foo": "bar", "odd": "\\xff"}.items()
    refused = act(daemon, letter["id"], "replay")
    assert refused.status == 409 and "had no payload" in refused.error["message"]


def test_humans_from_redis_are_no_more_believed_than_before(daemon: Daemon, redis_client: Any) -> None:
    """A replay of what was not even readable vouches for nothing: its command is rejected like any from Redis."""
    payload = b'{"envelope": {"event_type": "forum.commands.open_thread", "actor_type": "human"}, "payload": %b}'
    body = b'{"ticket": "MET-1", "title": "t", "body": "b"}'
    redis_client.xadd(TOPIC, {b"payload": payload % body})
    reply = act(daemon, only(daemon)["id"], "replay")
    assert (reply.body["done"], reply.body["command"]["status"]) == (True, "rejected")
    assert threads(daemon) == []


def test_what_a_rebuild_leaves_out_is_a_letter(daemon: Daemon) -> None:
    """An event that a rebuild cannot apply stays a letter through further rebuilds, until it can be applied."""
    asked = OPEN | {"actor_type": "agent", "thread_id": "fthr-1"}
    assert daemon.request("POST", "/forum/threads", asked).status == 201
    assert daemon.request("POST", "/forum/threads/fthr-1/posts", POST).status == 200
    version = "UPDATE forum_events SET event_version = ? WHERE event_type = 'forum.post.added'"
    with database(daemon.database) as db:
        db.execute(version, (99,))
        assert daemon.request("POST", "/forum/rebuild", {}).status == 202
        assert only(daemon)["reason"] == "projection_failed"
        settled(daemon)
        assert act(daemon, only(daemon)["id"], "replay").body["rebuild"]
        eventually(lambda: only(daemon)["attempts"] == 6)
        settled(daemon)
        assert only(daemon)["status"] == "open"
        db.execute(version, (1,))
        assert act(daemon, only(daemon)["id"], "replay").body["rebuild"]
        eventually(lambda: only(daemon)["status"] == "replayed")
    assert daemon.request("GET", "/forum/threads/fthr-1").body["thread"]["posts_count"] == 2


def settled(daemon: Daemon) -> None:
    """Wait for the end of a rebuild."""
    eventually(lambda: not daemon.request("GET", "/forum/rebuild").body["rebuild"]["running"])


def test_a_read_model_that_failed_is_mended_by_a_rebuild(daemon: Daemon) -> None:
    """An event that one read model could not apply is a letter; its replay rebuilds, which applies it and ends it."""
    with database(daemon.database) as db:
        db.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON forum_agent_inbox WHEN NEW.agent_name = 'bob'"
            " BEGIN SELECT RAISE(ABORT, 'a read model with a fault'); END"
        )
    asked = OPEN | {"actor_type": "agent", "run_id": "run-1", "agent_name": "bob", "thread_id": "fthr-1"}
    daemon.request("POST", "/forum/threads?wait=5", asked)
    letter = only(daemon)
    assert (letter["reason"], letter["handler"]) == ("projection_failed", "agent_inbox")
    reply = act(daemon, letter["id"], "replay")
    assert (reply.status, reply.body["rebuild"], reply.body["done"]) == (200, True, False)
    eventually(lambda: only(daemon)["status"] == "replayed")
    ended = only(daemon)
    assert (ended["ended_by_type"], ended["ended_by_name"]) == ("system", "rebuild")
    with database(daemon.database) as db:
        assert list(db.execute("SELECT count(*) FROM forum_agent_inbox WHERE agent_name = 'bob'")) == [(1,)]
    assert daemon.request("GET", "/health").body["status"] == "ok"
