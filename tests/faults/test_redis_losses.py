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
from tests.support.ledger import Ledger, check_streams
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
    return len(daemon.request("GET", "/forum/threads").body["threads"]) == count


def test_a_stream_is_deleted_while_a_reader_blocks(daemon: Daemon, broker: ServerHandle) -> None:
    """The daemon at rest waits in a read; its stream goes; what another program publishes afterwards is done."""
    with broker.client() as client:
        for number in range(1, 4):
            eventually(lambda: blocked_readers(client))
            client.delete("forum.commands.open_thread")
            client.xadd("forum.commands.open_thread", external(f"ext-{number}"))
            eventually(partial(has_threads, daemon, number))
        check_streams(daemon, client)


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
