"""The wire format under whatever bytes may come."""

from __future__ import annotations

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from metawsm.bus.ports import Message
from metawsm.domain.errors import Undecodable
from metawsm.streams.wire import METADATA, PAYLOAD, UUID, decode, encode

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
messages = st.builds(Message, text, st.dictionaries(text, text, max_size=8), st.binary(max_size=200))
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary() | text
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(scalars, inner), max_leaves=12)


def decode_or_fault(fields: dict[bytes, bytes]) -> Message | None:
    """Decode; None for the one error that is allowed."""
    try:
        return decode(fields)
    except Undecodable:
        return None


@given(messages)
def test_round_trip(message: Message) -> None:
    """Every message comes back as it was."""
    assert decode(encode(message)) == message


@given(st.dictionaries(st.sampled_from([UUID, METADATA, PAYLOAD, b"x"]), st.binary(max_size=100)))
def test_any_bytes_are_a_message_or_undecodable(fields: dict[bytes, bytes]) -> None:
    """Arbitrary bytes in the fields never raise anything but Undecodable."""
    decode_or_fault(fields)


@given(values, st.binary(max_size=3), st.integers(0, 5))
def test_any_messagepack_is_metadata_or_undecodable(value: object, tail: bytes, cut: int) -> None:
    """Valid MessagePack of any shape, cut short or prolonged, is a str-to-str map or a fault."""
    packed = msgpack.packb(value)
    message = decode_or_fault({UUID: b"u", METADATA: packed[: len(packed) - cut] + tail})
    if message is not None:
        assert all(type(key) is str and type(found) is str for key, found in message.metadata.items())


@given(st.integers(0, 255), st.binary(max_size=30))
def test_extension_types_are_undecodable(code: int, data: bytes) -> None:
    """Extension values (timestamps among them, also out of range) are faults, not crashes."""
    packed = b"\x81\xa1a" + bytes([0xC7, len(data), code]) + data
    assert decode_or_fault({UUID: b"u", METADATA: packed}) is None
