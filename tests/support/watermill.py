"""Another program that publishes commands as Watermill's Redis adapter does, and what became of them."""

from __future__ import annotations

import json
from typing import Any

import msgpack

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import database

UUID = b"_watermill_message_uuid"
OPEN = {"ticket": "MET-1", "title": "from outside", "body": "b"}


def entry(
    name: str, payload: Any, uuid: str = "ext-1", metadata: dict[str, Any] | None = None, **head: Any
) -> dict[bytes, bytes]:
    """The three fields of a command: metadata as MessagePack, envelope and payload as JSON."""
    envelope = {"event_type": f"forum.commands.{name}", "actor_type": "agent", **head}
    packed: bytes = msgpack.packb(metadata if metadata is not None else {"name": f"forum.commands.{name}"})
    text = json.dumps({"envelope": envelope, "payload": payload})
    return {UUID: uuid.encode(), b"metadata": packed, b"payload": text.encode()}


def publish(
    client: Any, name: str, payload: Any, uuid: str = "ext-1", metadata: dict[str, Any] | None = None, **head: Any
) -> None:
    """Add a command to its stream; `head` replaces members of its envelope."""
    client.xadd(f"forum.commands.{name}", entry(name, payload, uuid, metadata, **head))


def letters(daemon: Daemon) -> list[tuple[str, str]]:
    """(reason, error) of the dead letters, in order."""
    with database(daemon.database) as db:
        return [(str(r), str(e)) for r, e in db.execute("SELECT reason, error FROM dead_letters ORDER BY id")]


def threads(daemon: Daemon) -> list[dict[str, Any]]:
    """The threads, 500 at most, once the read models hold every event: an outcome may be told a little earlier."""
    eventually(lambda: _is_caught_up(daemon))
    found: list[dict[str, Any]] = daemon.request("GET", "/forum/threads?limit=500").body["threads"]
    return found


def _is_caught_up(daemon: Daemon) -> bool:
    head, applied = (
        "(SELECT coalesce(max(sequence), 0) FROM forum_events)",
        "(SELECT min(sequence) FROM projection_cursors)",
    )
    with database(daemon.database) as db:
        return bool(next(iter(db.execute(f"SELECT {head} = {applied}")))[0])


def outcome(daemon: Daemon, command: str) -> dict[str, Any]:
    """What became of a command, once it is no longer queued."""
    return eventually(lambda: _settled(daemon.request("GET", f"/forum/commands/{command}").body["command"]))


def _settled(command: dict[str, Any]) -> dict[str, Any]:
    assert command["status"] != "queued"
    return command


def nothing_pending(client: Any, topic: str = "forum.commands.open_thread") -> bool:
    """Whether every entry of a command stream that was read has been acked, and none waits to be read."""
    (group,) = (each for each in client.xinfo_groups(topic) if each["name"] == b"metawsm-forum")
    newest = client.xinfo_stream(topic)["last-generated-id"]
    return bool(group["pending"] == 0 and group["last-delivered-id"] == newest)
