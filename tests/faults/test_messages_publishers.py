"""What other publishers put on our streams: commands, duplicates, our own messages again, another database's."""

from __future__ import annotations

from typing import Any

from metawsm.storage.outbox import Outbox
from tests.support.at_rest import check_at_rest
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_streams, database
from tests.support.watermill import OPEN, letters, nothing_pending, outcome, publish, threads

pytest_plugins = ("tests.support.disturbed",)
TOPIC = "forum.commands.open_thread"


def origin(daemon: Daemon, epoch: int = 1) -> dict[str, Any]:
    """The metadata of a message of this database."""
    with database(daemon.database) as db:
        ours = db.execute("SELECT value FROM metawsm_meta WHERE name = 'database_id'").get
    return {"origin": f"{ours}/{epoch}"}


def test_duplicates_are_applied_once(daemon: Daemon, client: Any) -> None:
    """Ten copies of each of fifty commands, mixed, around a kill: fifty threads, in order, and no letter."""
    for number in range(25):
        publish(client, "open_thread", OPEN, f"ext-{number}", thread_id=f"fthr-{number}")
    daemon.kill()
    for copy in range(9):
        for number in range(50):
            body = dict(reversed(OPEN.items())) if copy % 2 else OPEN
            publish(client, "open_thread", body, f"ext-{number}", thread_id=f"fthr-{number}")
    daemon.start()
    publish(client, "add_post", {"body": "more"}, "ext-post", thread_id="fthr-49")
    assert outcome(daemon, "ext-post")["status"] == "applied"
    eventually(lambda: nothing_pending(client), timeout=10)
    assert letters(daemon) == []
    assert sorted(thread["thread_id"] for thread in threads(daemon)) == sorted(f"fthr-{n}" for n in range(50))
    check_streams(daemon, client)
    check_at_rest(daemon)


def test_one_identity_with_two_contents_is_set_aside(daemon: Daemon, client: Any) -> None:
    """The same uuid with another payload is a dead letter; so is an identity that is an event's."""
    publish(client, "open_thread", OPEN, "same")
    assert outcome(daemon, "same")["status"] == "applied"
    publish(client, "open_thread", OPEN | {"body": "another"}, "same")
    (event,) = daemon.request("GET", "/forum/events").body["events"]
    publish(client, "open_thread", OPEN, event["envelope"]["event_id"])
    eventually(lambda: len(letters(daemon)) == 2)
    (_, first), (_, second) = letters(daemon)
    assert "another payload" in first and "that of an event" in second
    assert len(threads(daemon)) == 1


def test_our_own_messages_replayed_change_nothing(daemon: Daemon, client: Any) -> None:
    """Copies of our entries are acked, also when retention has long forgotten their rows."""
    for _ in range(20):
        assert daemon.request("POST", "/forum/threads", OPEN | {"actor_type": "human"}).status == 201
    entries = [fields for _, fields in client.xrange(TOPIC)]
    for fields in entries:
        client.xadd(TOPIC, fields)
        client.xadd(TOPIC, fields | {b"metadata": b""})
    eventually(lambda: nothing_pending(client))
    assert daemon.stop() == 0
    with database(daemon.database) as db:
        assert Outbox().prune(db, "9999", 1000) == 40
    daemon.start()
    for fields in entries:
        client.xadd(TOPIC, fields)
    eventually(lambda: nothing_pending(client))
    assert (len(threads(daemon)), letters(daemon), rows(daemon)) == (20, [], 0)


def rows(daemon: Daemon) -> int:
    """How many outbox rows there are."""
    with database(daemon.database) as db:
        return int(db.execute("SELECT count(*) FROM forum_outbox").get)


def test_messages_of_others_databases_and_lost_times_are_set_aside(daemon: Daemon, client: Any) -> None:
    """Another epoch of ours and another database's message are dead letters with their reason, never applied."""
    publish(client, "open_thread", OPEN, "past", metadata=origin(daemon, 0))
    publish(client, "open_thread", OPEN, "other", metadata={"origin": "db-other/1"})
    publish(client, "open_thread", OPEN, "future", metadata=origin(daemon, 7))
    publish(client, "open_thread", OPEN, "behind")
    assert outcome(daemon, "behind")["status"] == "applied"
    told = letters(daemon)
    assert [reason for reason, _ in told] == ["restored", "foreign", "restored"]
    for part, (_, error) in zip(("before a backup was restored", "db-other", "/7, an epoch that"), told, strict=True):
        assert part in error
    eventually(lambda: nothing_pending(client))
    assert len(threads(daemon)) == 1
