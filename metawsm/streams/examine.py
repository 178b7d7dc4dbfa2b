"""One look at a server: whether it can carry our messages. Nothing in it is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import redis
from attrs import frozen

from metawsm.streams import inspection
from metawsm.streams.connection import Endpoint, endpoint, error_text, translated
from metawsm.streams.inspection import GroupInfo, ServerFacts, server_facts
from metawsm.streams.lease import Claim, Owner, claim_at, holder_at

_PINGS = 3


@frozen
class Examined:
    """What was found. `snapshots` is the server's setting `save`, None where it does not tell.

    `ahead_seconds` is the server's clock minus ours; `latency_ms` the best of three pings.
    """

    shown: str
    facts: ServerFacts
    latency_ms: float
    snapshots: str | None
    ahead_seconds: float
    owner: Owner | None
    claim: Claim | None = None


def examine(url: str, seconds: float = 1.0) -> Examined:
    """Look at the server at `url`; each answer may take `seconds`. Raises Unavailable, and PolicyError for the url."""
    server = endpoint(url, connect_seconds=seconds, answer_seconds=seconds)
    try:
        with translated(server.shown):
            latency_ms = min(_ping_ms(server) for _ in range(_PINGS))
            facts = server_facts(server.client)
            told = _snapshots(server.client), _ahead(server), holder_at(server), claim_at(server)
            return Examined(server.shown, facts, latency_ms, *told)
    finally:
        server.close()


def examine_groups(url: str, topics: Sequence[str], seconds: float = 1.0) -> tuple[list[GroupInfo], dict[str, str]]:
    """Return all groups on these streams, and why a stream could not be looked at, by topic. Raises Unavailable."""
    server = endpoint(url, connect_seconds=seconds, answer_seconds=seconds)
    found: list[GroupInfo] = []
    sick: dict[str, str] = {}
    try:
        with translated(server.shown):
            for topic in topics:
                try:
                    found += inspection.groups(server.client, topic)
                except redis.ResponseError as error:
                    sick[topic] = error_text(error)
    finally:
        server.close()
    return found, sick


def _ping_ms(server: Endpoint) -> float:
    started = time.perf_counter()
    server.client.ping()
    return (time.perf_counter() - started) * 1000


def _snapshots(client: redis.Redis) -> str | None:
    """The setting `save`: hosted servers may not answer CONFIG."""
    try:
        settings: Mapping[Any, Any] = client.config_get("save")
    except redis.ResponseError:
        return None
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in settings.values()]
    return texts[0] if texts else None


def _ahead(server: Endpoint) -> float:
    before = time.time()
    whole, micros = server.client.time()
    return whole + micros / 1e6 - (before + time.time()) / 2
