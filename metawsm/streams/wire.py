"""The written form of a message in a stream entry: the default marshaller of Watermill's Redis Streams adapter.

Three fields in any order: `_watermill_message_uuid` (UTF-8), `metadata` (MessagePack map of str to str, or a
zero-length string when empty) and `payload` (raw bytes; whether they are JSON is the codec's business).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgpack

from metawsm.bus.ports import Message
from metawsm.domain.errors import Undecodable

UUID = b"_watermill_message_uuid"
METADATA = b"metadata"
PAYLOAD = b"payload"
_PACK = msgpack.Packer().pack  # msgpack.packb makes a packer for each call


def encode(message: Message) -> dict[bytes, bytes]:
    """Return the stream fields of `message`."""
    metadata: bytes = _PACK(dict(message.metadata)) if message.metadata else b""
    return {UUID: message.uuid.encode(), METADATA: metadata, PAYLOAD: message.payload}


def decode(fields: Mapping[bytes, bytes]) -> Message:
    """Return the message in a stream entry's `fields`; fields that are not ours are ignored.

    Raises Undecodable, and nothing else, with the field and what is wrong with it.
    """
    uuid = fields.get(UUID)
    if uuid is None:
        raise Undecodable(f"field {UUID.decode()} is missing")
    try:
        name = uuid.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"field {UUID.decode()} is not UTF-8: {error.reason} at byte {error.start}") from None
    packed = fields.get(METADATA)
    return Message(name, _metadata(packed) if packed else {}, fields.get(PAYLOAD, b""))


def _metadata(packed: bytes) -> Mapping[str, str]:
    """Unpack the metadata map. A MessagePack nil is an empty map, as for Go's decoder."""
    unpacked = _unpack(packed)
    if unpacked is None:
        return {}
    if type(unpacked) is not dict:
        raise Undecodable(f"field metadata is not a map but {_kind(unpacked)}")
    for key, value in unpacked.items():
        if type(key) is not str:
            raise Undecodable(f"field metadata has a key that is not a string but {_kind(key)}")
        if type(value) is not str:
            raise Undecodable(f"metadata {key[:64]!r} is not a string but {_kind(value)}")
    return unpacked


def _unpack(packed: bytes) -> object:
    """Unpack one MessagePack value; sizes named inside are limited by the length of the bytes."""
    try:
        return msgpack.unpackb(packed, strict_map_key=False)
    except UnicodeDecodeError as error:
        raise Undecodable(f"field metadata holds text that is not UTF-8: {error.reason}") from None
    except msgpack.ExtraData as error:
        raise Undecodable(f"field metadata has {len(error.extra)} bytes after its end") from None
    # What the decoder raises for hostile bytes: its own errors, ValueError for short or deep data, TypeError for a
    # list as map key, OverflowError for a timestamp out of range.
    except (msgpack.UnpackException, ValueError, TypeError, OverflowError, RecursionError) as error:
        text = str(error) or type(error).__name__
        raise Undecodable(f"field metadata is not MessagePack: {text[:120]}") from None


def _kind(value: object) -> str:
    return type(value).__name__
