"""The parser of raw replies, whatever the pieces in which the bytes arrive."""

from __future__ import annotations

import socket
from contextlib import suppress
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from metawsm.streams.replies import Replies

values = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.binary(max_size=60),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=20,
)


def written(value: Any) -> bytes:
    """A value as the server writes it."""
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes):
        return b"$%d\r\n%b\r\n" % (len(value), value)
    return b"*%d\r\n" % len(value) + b"".join(map(written, value))


class Pieces:
    """A socket that hands out given pieces, then the end."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def settimeout(self, timeout: float) -> None:
        """Nothing here takes time."""

    def recv(self, size: int) -> bytes:
        """Return the next piece, never more than `size` bytes."""
        if not self._pieces:
            return b""
        head, self._pieces[0] = self._pieces[0][:size], self._pieces[0][size:]
        if not self._pieces[0]:
            del self._pieces[0]
        return head


def replies(pieces: list[bytes]) -> Replies:
    """A parser that gets the bytes in those pieces."""
    parser = Replies()
    parser.on_connect(SimpleNamespace(_sock=Pieces([piece for piece in pieces if piece])))
    return parser


@given(st.lists(values, min_size=1, max_size=4), st.lists(st.integers(0, 400), max_size=12))
def test_replies_come_out_as_written(wanted: list[Any], cuts: list[int]) -> None:
    """However the bytes are cut, the values are the same; afterwards the stream's end is an error."""
    data = b"".join(map(written, wanted))
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parser = replies([data[start:end] for start, end in pairwise(edges)])
    assert parser.read(len(wanted), 1) == wanted
    with pytest.raises(redis.ConnectionError, match="closed by server"):
        parser.read(1, 1)


@pytest.mark.parametrize("odd", [b"%1\r\n*0\r\n:1\r\n", b"-MOVED nowhere\r\n", b"HTTP/1.1 400 Bad Request\r\n"])
def test_what_no_server_of_this_kind_writes_is_a_known_error(odd: bytes) -> None:
    """A map whose key is a list, an error without its address, another protocol: the connection is of no use."""
    with pytest.raises(redis.ConnectionError):
        replies([odd]).read(1, 1)


@given(st.binary(max_size=40))
def test_garbage_is_a_reply_or_a_known_error(data: bytes) -> None:
    """Something that is no Redis server makes nothing but the errors that a link translates."""
    with suppress(redis.RedisError, OSError, ValueError):
        replies([data]).read(1, 1)


def test_errors_stand_in_the_place_of_replies() -> None:
    """An error inside an array is a value there, with its code; one that ends the connection is raised."""
    ((first, error),) = replies([b"*2\r\n+OK\r\n-WRONGTYPE not this\r\n"]).read(1, 1)
    assert first == b"OK"
    assert isinstance(error, redis.ResponseError)
    for useless in (b"-LOADING the data\r\n", b"*2\r\n+OK\r\n-LOADING the data\r\n"):
        with pytest.raises(redis.ConnectionError):
            replies([useless]).read(1, 1)


def test_a_real_socket_times_out() -> None:
    """Waiting for the rest of a reply ends after the timeout."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        parser = Replies()
        parser.on_connect(SimpleNamespace(_sock=ours))
        theirs.sendall(b"$5\r\nhal")
        with pytest.raises(TimeoutError):
            parser.read(1, 0.05)
