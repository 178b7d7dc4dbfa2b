"""Looking at streams, groups and the server, for health, debug and the re-publish rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis
from attrs import frozen

from metawsm.bus.ports import Subscription
from metawsm.streams.connection import error_code, error_text
from metawsm.streams.entries import id_key

LAST_ID = f"{2**64 - 1}-{2**64 - 1}"
"""After this one a stream takes no further entry."""


@frozen
class TopicInfo:
    """One stream seen through one group. Missing streams and groups show zeros and `problem` says what is wrong.

    `consumer_group_lag` is None when entries wait and the server does not know how many. `oldest_pending_idle_seconds`
    is the time since the oldest unacknowledged entry was last delivered.
    """

    topic: str
    group: str
    stream_length: int = 0
    consumer_group_pending: int = 0
    consumer_group_lag: int | None = 0
    consumers: int = 0
    last_delivered_id: str = "0-0"
    last_generated_id: str = "0-0"
    oldest_pending_id: str = ""
    oldest_pending_idle_seconds: float = 0.0
    problem: str = ""

    @property
    def is_beyond(self) -> bool:
        """Whether the group was set beyond the end of the stream, so that nothing would ever be delivered to it."""
        return not self.problem and id_key(self.last_delivered_id) > id_key(self.last_generated_id)

    @property
    def is_used_up(self) -> bool:
        """Whether nothing can be added any more, and the group has all that is there."""
        settled = self.consumer_group_lag == 0 and self.consumer_group_pending == 0
        return settled and self.last_generated_id == LAST_ID


@frozen
class GroupInfo:
    """One group of a stream; `idle_seconds` is the time since any of its consumers last asked (None without one).

    `lag` is None when the server does not know it; `overtaken`: every entry that it has read is gone from the stream.
    """

    topic: str
    name: str
    consumers: int
    pending: int
    lag: int | None
    last_delivered_id: str
    idle_seconds: float | None
    overtaken: bool

    def belongs_to(self, own_prefix: str) -> bool:
        """Whether this is one of our groups: the prefix itself or `<prefix>.<subscriber>`."""
        return self.name == own_prefix or self.name.startswith(own_prefix + ".")


@frozen
class ServerFacts:
    """What health tells of the server. Sizes are bytes; `max_memory` 0 means no limit."""

    version: str
    role: str
    eviction_policy: str
    append_only: bool
    snapshot_ok: bool
    append_only_ok: bool
    used_memory: int
    max_memory: int
    cluster: bool
    process_id: int


Stream = Mapping[str, Any]


def _version(info: Stream) -> str:
    """`valkey <version>` or `redis <version>`."""
    return f"valkey {info['valkey_version']}" if "valkey_version" in info else f"redis {info['redis_version']}"


def server_facts(client: redis.Redis) -> ServerFacts:
    """Read the server's INFO."""
    info: Stream = client.info()
    return ServerFacts(
        version=_version(info),
        role=str(info["role"]),
        eviction_policy=str(info.get("maxmemory_policy", "")),
        append_only=bool(info.get("aof_enabled")),
        snapshot_ok=info.get("rdb_last_bgsave_status", "ok") == "ok",
        append_only_ok=info.get("aof_last_write_status", "ok") == "ok",
        used_memory=int(info["used_memory"]),
        max_memory=int(info.get("maxmemory", 0)),
        cluster=bool(info.get("cluster_enabled")),
        process_id=int(info["process_id"]),
    )


def last_generated_id(client: redis.Redis, topic: str) -> str:
    """Return the highest id ever used in the stream, `0-0` when there is no stream."""
    stream = _stream(client, topic)
    return _text(stream["last-generated-id"]) if stream else "0-0"


def topic_info(client: redis.Redis, subscription: Subscription) -> TopicInfo:
    """Look at one stream through one group; a key of another type is a problem to show, not an error."""
    topic, name = subscription.topic, subscription.group
    try:  # the groups first: none of them is beyond the end that is seen later
        found = {_text(group["name"]): group for group in _groups(client, topic)}
        stream = _stream(client, topic)
    except redis.ResponseError as error:
        return TopicInfo(topic, name, problem=error_text(error))
    if not stream:
        return TopicInfo(topic, name, problem="the stream does not exist")
    length, last = int(stream["length"]), _text(stream["last-generated-id"])
    if name not in found:
        return TopicInfo(topic, name, stream_length=length, last_generated_id=last, problem="the group does not exist")
    group = found[name]
    oldest, idle = _oldest_pending(client, topic, name) if group["pending"] else ("", 0.0)
    return TopicInfo(
        topic=topic,
        group=name,
        stream_length=length,
        consumer_group_pending=int(group["pending"]),
        consumer_group_lag=_lag(group, stream),
        consumers=int(group["consumers"]),
        last_delivered_id=_text(group["last-delivered-id"]),
        last_generated_id=last,
        oldest_pending_id=oldest,
        oldest_pending_idle_seconds=idle,
    )


def groups(client: redis.Redis, topic: str) -> list[GroupInfo]:
    """Return the stream's groups; none when there is no stream."""
    stream = _stream(client, topic)
    return [_group_info(client, topic, group, stream) for group in _groups(client, topic)] if stream else []


def oldest_pending_id(client: redis.Redis, topic: str, group: str) -> str:
    """Return the smallest unacknowledged id of the group, or an empty text."""
    return _oldest_pending(client, topic, group)[0]


def _group_info(client: redis.Redis, topic: str, group: Stream, stream: Stream) -> GroupInfo:
    name = _text(group["name"])
    idle = [float(consumer["idle"]) / 1000 for consumer in client.xinfo_consumers(topic, name)]
    return GroupInfo(
        topic=topic,
        name=name,
        consumers=int(group["consumers"]),
        pending=int(group["pending"]),
        lag=_lag(group, stream),
        last_delivered_id=_text(group["last-delivered-id"]),
        idle_seconds=min(idle, default=None),
        overtaken=_overtaken(group, stream),
    )


def _overtaken(group: Stream, stream: Stream) -> bool:
    first = stream["first-entry"]
    return bool(first) and id_key(_text(group["last-delivered-id"])) < id_key(_text(first[0]))


def _lag(group: Stream, stream: Stream) -> int | None:
    """Return how many entries the group has still to be delivered.

    The server's own number is nil after deletions and trims; then the last entry still there decides between 0 and
    an unknown number.
    """
    last = stream["last-entry"]
    delivered = id_key(_text(group["last-delivered-id"]))
    if not last or delivered >= id_key(_text(last[0])):
        return 0
    lag = group.get("lag")
    return None if lag is None else int(lag)


def _oldest_pending(client: redis.Redis, topic: str, group: str) -> tuple[str, float]:
    """Return the oldest pending entry's id and its idle time in seconds."""
    found: Sequence[Stream] = client.xpending_range(topic, group, min="-", max="+", count=1)
    if not found:
        return "", 0.0
    return _text(found[0]["message_id"]), found[0]["time_since_delivered"] / 1000


def _stream(client: redis.Redis, topic: str) -> Stream | None:
    """Return XINFO STREAM, or None when there is no such key."""
    try:
        return dict(client.xinfo_stream(topic))
    except redis.ResponseError as error:
        if "no such key" in str(error):
            return None
        raise


def _groups(client: redis.Redis, topic: str) -> list[Stream]:
    """Return XINFO GROUPS; a stream deleted since the last look has none."""
    try:
        return list(client.xinfo_groups(topic))
    except redis.ResponseError as error:
        if error_code(error) == "ERR" and "no such key" in str(error):
            return []
        raise


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
