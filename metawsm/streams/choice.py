"""Which Redis is used: the one named, the bundled one, or one that is found at the default address."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import frozen

from metawsm.domain.errors import Unavailable
from metawsm.streams.connection import endpoint, hide_password, translated
from metawsm.streams.inspection import ServerFacts, server_facts

EMBEDDED = "embedded://"
DEFAULT_URL = "redis://127.0.0.1:6379/0"
NOEVICTION = "noeviction"


class Kind(Enum):
    """What was chosen."""

    EXTERNAL = "external"
    BUNDLED = "bundled"
    NONE = "none"


@frozen
class Choice:
    """The server to use. `url` is set for an external one; `reason` is a sentence for the log and health."""

    kind: Kind
    reason: str
    url: str = ""


Look = Callable[[str], ServerFacts]


def look_at(url: str) -> ServerFacts:
    """Ask the server at `url` for its facts, within a second each way. Raises Unavailable."""
    server = endpoint(url, connect_seconds=1.0, answer_seconds=1.0)
    try:
        with translated(server.shown):
            return server_facts(server.client)
    finally:
        server.close()


def choose(url: str | None, default_url: str, look: Look = look_at) -> Choice:
    """Choose by the configured url (None: not configured). A named server is used whether it answers or not."""
    if url is None:
        return _found_or_bundled(default_url, look)
    if not url.strip():
        return Choice(Kind.NONE, "forum redis url is empty")
    if url.strip() == EMBEDDED:
        return Choice(Kind.BUNDLED, "the bundled Redis server, as forum.redis.url says")
    return Choice(Kind.EXTERNAL, f"the Redis server of forum.redis.url, {hide_password(url)}", url)


def _found_or_bundled(default_url: str, look: Look) -> Choice:
    """Use a server found at the default address only if it never throws entries away to make room."""
    try:
        facts = look(default_url)
    except Unavailable as error:
        why = "connection refused" if "refused" in error.message else error.message
        found = f"none can be used at {hide_password(default_url)} ({why})"
        return Choice(Kind.BUNDLED, f"the bundled Redis server: none is configured and {found}")
    shown = f"{facts.version} at {hide_password(default_url)}"
    if facts.eviction_policy != NOEVICTION:
        policy = facts.eviction_policy or "unknown"
        return Choice(Kind.BUNDLED, f"the bundled Redis server: the {shown} has the eviction policy {policy}")
    return Choice(Kind.EXTERNAL, f"the {shown}, found at the default address", default_url)
