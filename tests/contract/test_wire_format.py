"""The wire format of other people's subscribers and publishers: Watermill's default marshaller."""

from __future__ import annotations

import time

import msgpack
import pytest

from metawsm.bus.ports import Message
from metawsm.domain.errors import Undecodable
from metawsm.streams.wire import METADATA, PAYLOAD, UUID, decode, encode

VECTOR = bytes.fromhex("82a46e616d65a86576656e74732e58ae636f7272656c6174696f6e5f6964a26331")
METADATA_OF_VECTOR = {"name": "events.X", "correlation_id": "c1"}


def test_encoding_gives_the_published_bytes() -> None:
    """The three fields carry exactly the bytes of the contract's test vector."""
    fields = encode(Message("u-1", METADATA_OF_VECTOR, b'{"a":1}'))
    assert fields == {b"_watermill_message_uuid": b"u-1", b"metadata": VECTOR, b"payload": b'{"a":1}'}


def test_empty_metadata_is_a_zero_length_string() -> None:
    """No metadata is written as nothing at all, not as an empty map."""
    assert encode(Message("u-1", {}, b""))[METADATA] == b""


def test_vector_is_decoded() -> None:
    """A message of a Go publisher is read field by field."""
    message = decode({PAYLOAD: b"{}", UUID: b"u-1", METADATA: VECTOR})
    assert message == Message("u-1", METADATA_OF_VECTOR, b"{}")


def test_missing_payload_and_metadata_and_extra_fields_are_accepted() -> None:
    """Readers take what is there and leave alone what they do not know."""
    assert decode({UUID: b"u-1", b"other": b"x"}) == Message("u-1", {}, b"")


def test_nil_metadata_is_empty() -> None:
    """A MessagePack nil is an empty map, as for the Go reader."""
    assert decode({UUID: b"u-1", METADATA: b"\xc0"}).metadata == {}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({PAYLOAD: b"{}"}, "field _watermill_message_uuid is missing"),
        ({UUID: b"\xff"}, "field _watermill_message_uuid is not UTF-8"),
        ({UUID: b"u", METADATA: msgpack.packb({"a": 1})}, "metadata 'a' is not a string but int"),
        ({UUID: b"u", METADATA: msgpack.packb({"a": b"x"})}, "metadata 'a' is not a string but bytes"),
        ({UUID: b"u", METADATA: msgpack.packb({1: "x"})}, "a key that is not a string but int"),
        ({UUID: b"u", METADATA: msgpack.packb(["a"])}, "field metadata is not a map but list"),
        ({UUID: b"u", METADATA: VECTOR[:-1]}, "field metadata is not MessagePack"),
        ({UUID: b"u", METADATA: VECTOR + b"xyz"}, "field metadata has 3 bytes after its end"),
        ({UUID: b"u", METADATA: b"\x81\xa1\xff\xa1a"}, "text that is not UTF-8"),
        ({UUID: b"u", METADATA: b"\xc1"}, "field metadata is not MessagePack"),
        ({UUID: b"u", METADATA: b"\x81\x91\x01\xa1a"}, "field metadata"),
        ({UUID: b"u", METADATA: b"\xdf\xff\xff\xff\xff"}, "field metadata is not MessagePack"),
        ({UUID: b"u", METADATA: b"\x91" * 100_000}, "field metadata is not MessagePack"),
    ],
)
def test_what_cannot_be_decoded_is_named(fields: dict[bytes, bytes], reason: str) -> None:
    """Each kind of malformed entry gives an error that names the field and the fault."""
    with pytest.raises(Undecodable) as caught:
        decode(fields)
    assert reason in caught.value.message


def test_large_messages_do_not_hang() -> None:
    """Ten megabytes in any field are dealt with at once, good or bad."""
    large = 10_000_000
    started = time.perf_counter()
    message = Message("u", {"name": "x" * large}, b"p" * large)
    assert decode(encode(message)) == message
    for junk in (b"\x91" * large, b"\xdd\x00\x98\x96\x80" + b"\x00" * large, b"\x81\xa1a" + b"\x80" * large):
        with pytest.raises(Undecodable):
            decode({UUID: b"u", METADATA: junk})
    assert time.perf_counter() - started < 2.0
