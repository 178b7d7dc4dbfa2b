"""Redis loses what it held, all of it or a part, or gets what it should not have: the end is the same."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import Ledger, check_streams, database
from tests.support.redis_servers import ServerHandle

COMMANDS = ("open_thread", "add_post", "answer_thread", "change_state", "set_priority")
FEED = "metawsm-forum"


def flushall(server: ServerHandle) -> None:
    """Everything in Redis is gone."""
    with server.client() as client:
        client.flushall()


def delete_streams(server: ServerHandle) -> None:
    """A command stream and the feed are deleted while readers block on them."""
    with server.client() as client:
        client.delete("forum.commands.add_post", FEED)


def destroy_groups(server: ServerHandle) -> None:
    """Our groups are destroyed."""
    with server.client() as client:
        for name in COMMANDS:
            client.xgroup_destroy(f"forum.commands.{name}", FEED)
        client.xgroup_destroy(FEED, f"{FEED}.projections")


def replace_by_an_empty_server(server: ServerHandle) -> None:
    """The server is killed and another comes in its place with nothing."""
    server.kill()
    time.sleep(0.3)
    server.start()


def double(server: ServerHandle) -> None:
    """Every command entry there is is added again."""
    with server.client() as client:
        for name in COMMANDS:
            for _, fields in client.xrange(f"forum.commands.{name}"):
                client.xadd(f"forum.commands.{name}", fields)


ALWAYS = (flushall, delete_streams, destroy_groups, replace_by_an_empty_server)
FAULTS = [*ALWAYS, pytest.param(double, marks=pytest.mark.faults)]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_ledger_comes_out_right(
    fault: Callable[[ServerHandle], None], daemon: Daemon, broker: ServerHandle
) -> None:
    """Under load Redis is emptied, cut or given everything twice: applied once, in order, and the streams are whole."""
    ledger = Ledger(daemon, clients=4)
    with ledger.load():
        ledger.await_applied()
        fault(broker)
        ledger.await_applied()
    ledger.check()
    with broker.client() as client:
        check_streams(daemon, client)


@pytest.mark.faults
def test_emptied_again_and_again(daemon: Daemon, broker: ServerHandle) -> None:
    """FLUSHALL twenty times under load, at random distances."""
    ledger = Ledger(daemon, clients=4)
    with ledger.load():
        for number in range(20):
            time.sleep(0.05 * (1 + number % 7))
            flushall(broker)
        ledger.await_applied()
    ledger.check()
    with broker.client() as client:
        check_streams(daemon, client)


def external(uuid: str) -> dict[Any, Any]:
    """The fields of an OpenThread as another program publishes it."""
    head = {"event_id": uuid, "event_type": "forum.commands.open_thread", "actor_type": "agent"}
    text = json.dumps({"envelope": head, "payload": {"ticket": "MET-1", "title": uuid, "body": "b"}})
    return {"_watermill_message_uuid": uuid, "metadata": "", "payload": text}


def blocked_readers(client: Any) -> int:
    """How many clients wait in a blocking read."""
    return sum("b" in each["flags"] and each["cmd"] == "xreadgroup" for each in client.client_list())


def has_threads(daemon: Daemon, count: int) -> bool:
    """Whether there are so many threads."""
    return len(daemon.request("GET", "/forum/threads?limit=500").body["threads"]) == count


def test_a_stream_is_deleted_while_a_reader_blocks(daemon: Daemon, broker: ServerHandle) -> None:
    """The daemon at rest waits in a read; its stream goes; what another program publishes afterwards is done."""
    with broker.client() as client:
        for number in range(1, 4):
            eventually(lambda: blocked_readers(client))
            client.delete("forum.commands.open_thread")
            client.xadd("forum.commands.open_thread", external(f"ext-{number}"))
            eventually(partial(has_threads, daemon, number))
        check_streams(daemon, client)


LAST_ID = f"{2**64 - 1}-{2**64 - 1}"
OPEN, OPENED = "forum.commands.open_thread", "forum.events.thread.opened"
ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}


def ask(daemon: Daemon, wait: float = 15) -> int:
    """Ask one question; the status."""
    return daemon.request("POST", f"/forum/threads?wait={wait:g}", ASK).status


@pytest.mark.parametrize("topic", [FEED, OPENED])
def test_the_last_possible_id_on_the_feed_or_an_event_topic(topic: str, daemon: Daemon, broker: ServerHandle) -> None:
    """Nothing could be added to it any more: it is filled anew, and the groups of others on it stay."""
    assert ask(daemon) == 201
    with broker.client() as client:
        client.xgroup_create(topic, "reports", "0")
        client.xadd(topic, {"x": "y"}, id=LAST_ID)
        for _ in range(3):
            assert ask(daemon) == 201
        check_streams(daemon, client)
        assert b"reports" in {group["name"] for group in client.xinfo_groups(topic)}
        eventually(lambda: daemon.request("GET", "/health").status == 200, timeout=10)


@pytest.mark.parametrize("last", [LAST_ID, f"{2**64 - 1}-{2**64 - 2}"])
def test_the_last_possible_id_on_a_command_topic(last: str, daemon: Daemon, broker: ServerHandle) -> None:
    """It begins anew once all in it is done, what other programs put there before included."""
    with broker.client() as client:
        with database(daemon.database) as db:  # nothing in it can be done before the end of the block
            db.execute("BEGIN IMMEDIATE")
            for number in range(300):
                client.xadd(OPEN, external(f"ext-{number}"))
            client.xadd(OPEN, {"x": "y"}, id=last)
            time.sleep(7)
            assert client.xlen(OPEN) == 301
        assert {ask(daemon, wait=0) for _ in range(3)} == {202}
        eventually(partial(has_threads, daemon, 303), timeout=20)
        assert ask(daemon) == 201
        assert client.xinfo_stream(OPEN)["last-generated-id"] != LAST_ID.encode()
        eventually(lambda: daemon.request("GET", "/health").body["components"]["redis"]["status"] == "ok", timeout=10)
        check_streams(daemon, client)


def test_a_group_that_is_set_beyond_the_end_of_its_stream(daemon: Daemon, broker: ServerHandle) -> None:
    """Nothing would ever reach it: it is set back, and all is done once, with few repeats."""
    assert ask(daemon) == 201
    with broker.client() as client:
        client.xgroup_setid(OPEN, FEED, "9999999999999-0")
        for number in range(20):
            client.xadd(OPEN, external(f"ext-{number}"))
        assert {ask(daemon, wait=0) for _ in range(20)} == {202}
        eventually(partial(has_threads, daemon, 41), timeout=15)
        assert client.xlen(OPEN) <= 100
        assert ask(daemon) == 201
        check_streams(daemon, client)


@pytest.mark.faults
def test_a_group_that_cannot_be_set_back(daemon: Daemon, broker: ServerHandle) -> None:
    """What does not come back is published again ever more seldom, and named in health; others go on meanwhile."""
    assert daemon.request("POST", "/forum/threads", ASK | {"thread_id": "fthr-1"}).status == 201
    with broker.client() as client:
        client.xgroup_setid(OPEN, FEED, "9999999999999-0")
        client.acl_setuser("default", enabled=True, nopass=True, commands=["-xgroup|setid"])
        assert {ask(daemon, wait=0) for _ in range(10)} == {202}
        error = eventually(lambda: daemon.request("GET", "/health").body["components"]["commands"]["error"], timeout=20)
        assert OPEN in error
        time.sleep(60)
        assert client.xlen(OPEN) <= 1 + 10 * 7
        post = {"body": "b", "actor_type": "agent"}
        assert daemon.request("POST", "/forum/threads/fthr-1/posts", post).status == 200
        client.acl_setuser("default", enabled=True, nopass=True, commands=["+xgroup|setid"])
        eventually(partial(has_threads, daemon, 11), timeout=15)
        eventually(lambda: daemon.request("GET", "/health").status == 200, timeout=10)


def test_switched_from_the_bundled_server_to_another_and_back(
    broker: ServerHandle, start_artifact: Callable[..., Daemon]
) -> None:
    """Killed under load on the bundled server, started on an empty one, killed, and back on the bundled one."""
    daemon = start_artifact("--redis", "embedded://")
    ledger = Ledger(daemon, clients=4)
    with ledger.load():
        for url in (broker.url, "embedded://"):
            ledger.await_applied()
            daemon.kill()
            daemon.use("--redis", url)
            daemon.start()
        ledger.await_applied()
    ledger.check()
    assert daemon.stop() == 0
    daemon.use("--redis", broker.url)
    daemon.start()
    with broker.client() as client:
        check_streams(daemon, client)
