"""Reading raw replies (RESP2) from a connection: hiredis, with what we ask of a reply that is an error.

redis-py would use hiredis behind a layer of its own that costs more than the parsing
(docs/decisions/0003-transport.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import hiredis
import redis
from redis._parsers import BaseParser

parse_error: Callable[[str], redis.RedisError] = BaseParser.parse_error

CHUNK = 65_536
_INCOMPLETE: Final = object()


class Replies:
    """The parser of one connection. redis-py uses it for the greeting, Link for everything after.

    Fails with OSError (a timeout among them) or redis.ConnectionError; the connection is of no use after that.
    """

    def __init__(self) -> None:
        self._sock: Any = None
        self._reader = _reader()

    def on_connect(self, connection: Any) -> None:
        """Start on a new socket (called by redis-py)."""
        self._sock = connection._sock  # noqa: SLF001 - how redis-py's own parsers get at it
        self._reader = _reader()

    def on_disconnect(self) -> None:
        """Called by redis-py. The socket stays known: a reader from under which it was closed gets its OSError."""

    def read_response(self, disable_decoding: bool = False, timeout: object = None) -> Any:
        """Return one reply (called by redis-py while it connects)."""
        return self._reply()

    def read(self, count: int, timeout: float) -> list[Any]:
        """Return `count` replies; each wait for bytes may take `timeout` seconds.

        Errors are returned, for they stand in the place of a reply. Those that mean that the connection is of no use
        (loading, authentication) are raised.
        """
        self._sock.settimeout(timeout)
        return [self._reply() for _ in range(count)]

    def _reply(self) -> Any:
        while (reply := self._next()) is _INCOMPLETE:
            chunk = self._sock.recv(CHUNK)
            if not chunk:
                raise redis.ConnectionError("Connection closed by server.")
            self._reader.feed(chunk)
        return reply

    def _next(self) -> Any:
        try:
            return self._reader.gets()
        except (TypeError, ValueError, MemoryError) as error:  # what no Redis server writes, such as a list as a key
            raise redis.ConnectionError(f"Protocol error: {error!r}") from error


def _reader() -> hiredis.Reader:
    return hiredis.Reader(
        protocolError=redis.ConnectionError, replyError=_error, errors="replace", notEnoughData=_INCOMPLETE
    )


def _error(text: str) -> redis.RedisError:
    error = parse_error(text)
    if isinstance(error, redis.ConnectionError):
        raise error
    return error
