"""WebSocket frames as a client sees them (RFC 6455), without a socket: bytes in, messages out."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from metawsm.client.errors import BadAnswer

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
CONTINUATION = 0x0
MESSAGE_LIMIT = 32 * 1024 * 1024


class Message(NamedTuple):
    """A whole message or a control frame."""

    opcode: int
    data: bytes


def encode_frame(opcode: int, data: bytes) -> bytes:
    """One final frame, masked as a client must."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    mask = os.urandom(4)
    return head + mask + _masked(data, mask)


def _masked(data: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask, as one large number."""
    size = len(data)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def close_reason(data: bytes) -> tuple[int, str]:
    """Code and reason of a close frame; 1005 when it has none."""
    if len(data) < 2:
        return 1005, ""
    return int(struct.unpack("!H", data[:2])[0]), data[2:].decode("utf-8", "replace")


class FrameReader:
    """Puts frames together. Raises BadAnswer when the server breaks the protocol."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._parts = bytearray()
        self._opcode: int | None = None

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take what has arrived and give every message that is now whole."""
        self._buffer += data
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            whole = final and self._opcode is None and opcode != CONTINUATION
            if whole or opcode >= CLOSE:
                yield Message(opcode, payload)
            else:
                yield from self._fragment(final, opcode, payload)

    def _fragment(self, final: bool, opcode: int, payload: bytes) -> Iterator[Message]:
        """A part of a message in several frames; gives the message with its last part."""
        if (opcode == CONTINUATION) == (self._opcode is None):
            raise BadAnswer("the feed sent a fragment out of order")
        if self._opcode is None:
            self._opcode = opcode
        self._parts += payload
        if len(self._parts) > MESSAGE_LIMIT:
            raise BadAnswer("the feed sent a message that is too large")
        if final:
            message = Message(self._opcode, bytes(self._parts))
            self._opcode = None
            self._parts.clear()
            yield message

    def _frame(self) -> tuple[bool, int, bytes] | None:
        """The next whole frame as (final, opcode, payload), or None while parts are missing."""
        if len(self._buffer) < 2:
            return None
        first, second = self._buffer[0], self._buffer[1]
        final, opcode, size = bool(first & 0x80), first & 0x0F, second & 0x7F
        _check(first, second, final, opcode, size)
        start = {126: 4, 127: 10}.get(size, 2)
        if len(self._buffer) < start:
            return None
        if size >= 126:
            size = int.from_bytes(self._buffer[2:start], "big")
        if size > MESSAGE_LIMIT:
            raise BadAnswer("the feed sent a message that is too large")
        if len(self._buffer) < start + size:
            return None
        payload = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        return final, opcode, payload


def _check(first: int, second: int, final: bool, opcode: int, size: int) -> None:
    """The rules that every frame of a server keeps."""
    control = opcode >= CLOSE
    if first & 0x70 or second & 0x80 or opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
        raise BadAnswer("the feed sent a frame that is not well-formed")
    if control and (not final or size > 125):
        raise BadAnswer("the feed sent a control frame that is not well-formed")
