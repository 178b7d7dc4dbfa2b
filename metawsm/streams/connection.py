"""Reaching the server: urls, timeouts, and the one translation of redis-py's exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

import redis
from attrs import frozen
from redis.backoff import NoBackoff
from redis.connection import ConnectionPool
from redis.retry import Retry
from redis.sentinel import Sentinel

from metawsm.domain.errors import PolicyError, Unavailable

CONNECT_SECONDS = 2.0
"""How long a connection may take to come up."""

ANSWER_SECONDS = 5.0
"""How long an answer may take beyond the time a command was asked to block."""

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel")

# Codes that mean "this server cannot do it now", whatever the key: nothing of the command was done.
SERVER_WIDE = frozenset({"READONLY", "LOADING", "MISCONF", "NOREPLICAS", "MASTERDOWN", "BUSY"}) | frozenset(
    {"CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "CROSSSLOT", "NOAUTH", "WRONGPASS"}
)


class KeyRefused(Unavailable):
    """One key cannot be used; the server, and so what others hold, can."""


@frozen
class Endpoint:
    """A server to talk to. `shown` is its url without the password, `answer_seconds` how long an answer may take."""

    shown: str
    answer_seconds: float
    client: redis.Redis
    pool: ConnectionPool

    def close(self) -> None:
        """Close the pooled connections."""
        self.pool.disconnect()


def endpoint(url: str, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS) -> Endpoint:
    """Return the endpoint for a redis://, rediss://, unix:// or redis+sentinel:// url; nothing is connected yet.

    A Sentinel url is `redis+sentinel://[user:password@]host:port[,host:port...]/service[/database]`; the credentials
    are those of the data server, the sentinels' own go in `?sentinel_password=`. Raises PolicyError for a url that
    cannot be understood.
    """
    settings = {
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": answer_seconds,
        # A repeated XADD duplicates and a repeated XREADGROUP loses sight of an entry: never repeat by itself.
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
        # RESP2 and RESP3 were measured equal; RESP2 spares the handshake and the push messages.
        "protocol": 2,
        "decode_responses": False,
        "client_name": "metawsm",
        "driver_info": None,
    }
    try:
        pool = _sentinel_pool(url, settings) if url.startswith("redis+sentinel:") else _plain_pool(url, settings)
    except (ValueError, TypeError, AttributeError) as error:
        text = f"forum.redis.url {hide_password(url)!r} cannot be used: {error}"
        raise PolicyError(text, fields={"forum.redis.url": [text]}) from None
    return Endpoint(hide_password(url), answer_seconds, redis.Redis(connection_pool=pool), pool)


def _plain_pool(url: str, settings: dict[str, Any]) -> ConnectionPool:
    """Build the pool; what the url's query says about timeouts, retries or protocol does not count."""
    split = urlsplit(url)
    if split.scheme not in SCHEMES:
        raise ValueError("the url must start with " + ", ".join(f"{scheme}://" for scheme in SCHEMES))
    if split.scheme != "unix" and split.path.strip("/") and not split.path.strip("/").isdigit():
        raise ValueError(f"the database {split.path.strip('/')!r} is not a number")
    pool = ConnectionPool.from_url(url, **settings)
    for name in ("retry_on_timeout", "retry_on_error"):
        pool.connection_kwargs.pop(name, None)
    pool.connection_kwargs.update(settings)
    return pool


def _sentinel_pool(url: str, settings: dict[str, Any]) -> ConnectionPool:
    """Build a pool whose connections ask the sentinels for the current primary each time they connect."""
    split = urlsplit(url)
    hosts = [_host_port(part) for part in split.netloc.rpartition("@")[2].split(",")]
    service, _, database = split.path.strip("/").partition("/")
    if not service:
        raise ValueError("a sentinel url needs the service's name as its path")
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    sentinel: Any = cast(Any, Sentinel)(
        hosts, sentinel_kwargs={**settings, "password": query.get("sentinel_password")}, **settings
    )
    user, password = (unquote(part) if part else None for part in (split.username, split.password))
    primary: redis.Redis = sentinel.master_for(
        service, db=int(database or 0), username=user, password=password, **settings
    )
    return primary.connection_pool


def _host_port(text: str) -> tuple[str, int]:
    """Split `host:port`; the port is 26379 when not named."""
    host, _, port = text.rpartition(":") if re.search(r":\d+$", text) else (text, "", "26379")
    if not host:
        raise ValueError("a sentinel url needs at least one host")
    return host.strip("[]"), int(port)


def hide_password(url: str) -> str:
    """Return `url` with every password replaced by `***`, fit for logs and answers."""
    hidden = re.sub(r"([?&][^=&]*password=)[^&]*", r"\1***", url)
    try:
        split = urlsplit(hidden)
    except ValueError:
        return re.sub(r"//[^/]*@", "//***@", hidden)
    credentials, at, host = split.netloc.rpartition("@")
    if not at:
        return hidden
    user, colon, _ = credentials.partition(":")
    return urlunsplit(split._replace(netloc=f"{user}{colon}{'***' if colon else ''}@{host}"))


def with_database(url: str, number: int) -> str:
    """Return `url` with another database number, password hidden: what to advise when two share one."""
    split = urlsplit(hide_password(url))
    if "db=" in split.query:
        return urlunsplit(split._replace(query=re.sub(r"\bdb=\d*", f"db={number}", split.query)))
    if split.scheme == "unix":
        # urlunsplit would drop the slashes of an empty host.
        return f"unix://{split.netloc}{split.path}?db={number}"
    service = split.path.strip("/").partition("/")[0] + "/" if split.scheme == "redis+sentinel" else ""
    return urlunsplit(split._replace(path=f"/{service}{number}"))


def error_code(error: Exception) -> str:
    """Return the server's code word of an error reply (`WRONGTYPE`, `OOM`, `NOGROUP`, `ERR`, ...)."""
    status = getattr(error, "status_code", None)
    return str(status) if status else str(error).partition(" ")[0]


def error_text(error: Exception) -> str:
    """Return an error reply as the server wrote it, code word first (redis-py cuts off the codes that it knows)."""
    status = getattr(error, "status_code", None)
    return f"{status} {error}" if status else str(error)


def unavailable(shown: str, error: Exception) -> Unavailable:
    """Turn any failure of the driver into our error: what happened, at which server."""
    text = "Timeout waiting for the answer" if type(error) is TimeoutError else error_text(error)
    of_a_key = isinstance(error, redis.ResponseError) and error_code(error) not in SERVER_WIDE
    return (KeyRefused if of_a_key else Unavailable)(f"redis at {shown}: {text}")


@contextmanager
def translated(shown: str) -> Iterator[None]:
    """Raise Unavailable for whatever redis-py or its sockets raise inside."""
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise unavailable(shown, error) from error
