"""Frames and request heads for any bytes: what was encoded is decoded, however it is cut; anything else is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metawsm.api.http_head import ChunkedBody, Refusal, body_length, read_head, wants_close, wants_continue
from metawsm.api.ws_frames import (
    CLOSE,
    PING,
    TEXT,
    Decoder,
    ProtocolFault,
    decode_close,
    encode_close,
    encode_text,
    unmask,
)
from tests.support.raw_ws import frame


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, cut at `places` (taken modulo its length)."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(marks)]


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_unmasking_is_the_bytewise_xor(payload: bytes, mask: bytes) -> None:
    """The integer trick equals the definition of RFC 6455 5.3."""
    assert unmask(payload, mask) == bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


@given(st.lists(st.text(max_size=200), max_size=8), st.lists(st.integers(0, 10_000), max_size=20))
def test_messages_survive_any_cut_of_the_stream(texts: list[str], places: list[int]) -> None:
    """Messages with pings between them come out whole and in order however the bytes arrive."""
    wire = b"".join(frame(TEXT, text.encode()) + frame(PING, b"p") for text in texts)
    decoder = Decoder(1000)
    received = [item for piece in cut(wire, places) for item in decoder.feed(piece)]
    assert [item.payload.decode() for item in received if item.opcode == TEXT] == texts
    assert sum(item.opcode == PING for item in received) == len(texts)


@given(st.binary(min_size=1, max_size=500), st.lists(st.integers(0, 10_000), max_size=10))
def test_fragments_join_to_the_message(payload: bytes, places: list[int]) -> None:
    """A message in any number of fragments equals the message in one."""
    pieces = cut(payload, places)
    wire = b"".join(
        frame(TEXT, piece, first=(TEXT if index == 0 else 0) | (0x80 if index == len(pieces) - 1 else 0))
        for index, piece in enumerate(pieces)
    )
    assert [item.payload for item in Decoder(1000).feed(wire)] == [payload]


@given(st.binary(max_size=400))
def test_any_bytes_give_messages_or_a_protocol_fault(data: bytes) -> None:
    """No input makes the decoder fail in another way, or hold back more than it may."""
    try:
        sizes, code = [len(received.payload) for received in Decoder(100).feed(data)], 1002
    except ProtocolFault as fault:
        sizes, code = [], fault.code
    assert max(sizes, default=0) <= 125 and code in (1002, 1003, 1009)


@given(st.text(max_size=70_000).map(lambda text: text * 3))
def test_encoded_text_is_read_by_a_strict_reader(text: str) -> None:
    """Header, length form and payload follow RFC 6455 5.2 with the shortest length."""
    payload = text.encode()
    encoded = encode_text(text)
    assert encoded.endswith(payload) and encoded[0] == 0x81
    head = encoded[: len(encoded) - len(payload)]
    expected = len(payload) if len(payload) < 126 else 126 if len(payload) < 65536 else 127
    assert head[1] == expected and int.from_bytes(head[2:] or head[1:], "big") == len(payload)


@given(st.sampled_from([1000, 1001, 1013, 3000, 4999]), st.text(max_size=200))
def test_close_frames_fit_and_keep_their_code(code: int, reason: str) -> None:
    """A close frame never exceeds a control frame and its reason stays valid UTF-8."""
    encoded = encode_close(code, reason)
    assert encoded[0] == 0x80 | CLOSE and encoded[1] == len(encoded) - 2 <= 125
    assert decode_close(encoded[2:])[0] == code and reason.startswith(decode_close(encoded[2:])[1])


@given(st.lists(st.binary(min_size=1, max_size=80), max_size=10), st.binary(max_size=20), st.lists(st.integers(0, 999)))
def test_chunked_bodies_survive_any_cut(chunks: list[bytes], following: bytes, places: list[int]) -> None:
    """The decoded body is the joined chunks, and what follows stays untouched."""
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n" + following
    body, pieces = ChunkedBody(10_000), cut(wire, places)
    done, left = False, b""
    for piece in pieces:
        left, done = (left + piece, done) if done else (left, body.feed(piece))
    assert done and bytes(body.content) == b"".join(chunks) and body.rest() + left == following


@given(st.binary(max_size=300))
def test_any_chunked_bytes_are_read_or_refused(data: bytes) -> None:
    """Arbitrary bytes in place of chunks never fail in another way and never exceed the limit."""
    body, status = ChunkedBody(50), 400
    try:
        body.feed(data)
    except Refusal as refusal:
        status = refusal.status
    assert status in (400, 413, 431) and len(body.content) <= 50


HEAD = st.one_of(
    st.binary(max_size=200),
    st.binary(max_size=60).map(lambda noise: b"GET / HTTP/1.1\r\nHost: x\r\n" + noise),
    st.binary(max_size=30).map(lambda noise: b"GET /" + noise + b" HTTP/1.1\r\nHost: x"),
    st.binary(max_size=30).map(lambda noise: b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + noise),
)


@given(HEAD)
def test_any_head_is_read_or_refused(head: bytes) -> None:
    """Arbitrary bytes as a request head are understood or refused with a 4xx/5xx, never a traceback."""
    environ: dict[str, object] = {}
    length, status = 0, 400
    try:
        read_head(head, environ)
        length = body_length(environ, 1000)
        wants_close(environ), wants_continue(environ)
    except Refusal as refusal:
        status = refusal.status
    else:
        headers = "".join(str(value) for key, value in environ.items() if key != "PATH_INFO")
        assert not any(control in headers for control in "\r\n\0")
    assert 400 <= status <= 505 and -1 <= length <= 1000


def test_encode_text_takes_ready_bytes() -> None:
    """Bytes that are UTF-8 already give the same frame as the text."""
    assert encode_text("ü".encode()) == encode_text("ü")


def test_a_message_of_endless_empty_fragments_keeps_no_list() -> None:
    """Empty fragments are legal but must not grow anything."""
    decoder = Decoder(100)
    assert decoder.feed(frame(TEXT, b"", first=TEXT)) == []
    for _ in range(5000):
        decoder.feed(frame(0, b"", first=0))
    assert len(decoder._parts) <= 1025
    with pytest.raises(ProtocolFault):
        decoder.feed(frame(TEXT, b"x"))
