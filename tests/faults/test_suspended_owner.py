"""A daemon that stands still for longer than its lease, while another database takes its place in Redis."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_streams, database
from tests.support.redis_servers import ServerHandle

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
OPEN = "forum.commands.open_thread"


def external(uuid: str) -> dict[str, str]:
    """The fields of an OpenThread as another program publishes it."""
    head = {"event_id": uuid, "event_type": OPEN, "actor_type": "agent"}
    payload = {"envelope": head, "payload": {"ticket": "MET-1", "title": uuid, "body": "b"}}
    return {"_watermill_message_uuid": uuid, "metadata": "", "payload": json.dumps(payload)}


def titles(daemon: Daemon) -> list[str]:
    """The titles of its threads, as the database has them."""
    with database(daemon.database) as db:
        return [title for (title,) in db.execute("SELECT title FROM forum_threads ORDER BY title")]


@pytest.mark.parametrize("start_broker", ["redis"], indirect=True)
def test_the_one_who_comes_too_late_touches_nothing(
    broker: ServerHandle, start_artifact: Callable[..., Daemon]
) -> None:
    """Its streams were given to another database meanwhile: it leaves them and their commands alone, and says so.

    One command is read by its listener while it stands still: that one, too, is the other's.
    """
    late = start_artifact("--redis", broker.url)
    for _ in range(3):
        assert late.request("POST", "/forum/threads", ASK).status == 201
    with broker.client() as client:
        late.process.send_signal(signal.SIGSTOP)
        client.xadd(OPEN, external("ext-1"))
        eventually(lambda: not client.exists("metawsm:owner"), timeout=17)
        client.delete("metawsm:database")  # as the operator gives a namespace to another database
        other = start_artifact("--redis", broker.url)
        for _ in range(5):
            assert other.request("POST", "/forum/threads", ASK).status == 201
        client.xadd(OPEN, external("ext-2"))
        eventually(lambda: titles(other) == ["ext-1", "ext-2", *"ttttt"])
        late.process.send_signal(signal.SIGCONT)
        eventually(lambda: str(other.database) in late.request("GET", "/health").body["forum_bus"]["error"])
        client.xadd(OPEN, external("ext-3"))
        eventually(lambda: titles(other) == ["ext-1", "ext-2", "ext-3", *"ttttt"])
        time.sleep(1.0)  # what the late one would still do
        check_streams(other, client)
    assert titles(late) == ["t", "t", "t"]
    assert "filled anew" not in late.log.read_text()
    assert late.request("POST", "/forum/threads?wait=0.1", ASK).status == 202
