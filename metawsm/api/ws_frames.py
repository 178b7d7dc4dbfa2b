"""WebSocket frames (RFC 6455, section 5): encoding for many receivers at once, incremental decoding. Pure."""

from __future__ import annotations

import struct

from attrs import frozen

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})


class ProtocolFault(Exception):
    """What the peer did wrong, as the close code and reason to send."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@frozen
class Received:
    """One whole message or control frame; fragments are already joined, the mask is off."""

    opcode: int
    payload: bytes


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked final frame, as a server sends it."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, length) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, length) + payload


def encode_text(text: str | bytes) -> bytes:
    """A text frame, to be encoded once and sent to any number of sockets. Bytes must be UTF-8 already."""
    return encode_frame(TEXT, text.encode() if isinstance(text, str) else text)


def encode_close(code: int, reason: str = "") -> bytes:
    """A close frame; the reason is cut to the 123 bytes that fit, at a character's boundary."""
    cut = reason.encode()[:123].decode(errors="ignore").encode()
    return encode_frame(CLOSE, struct.pack("!H", code) + cut)


def decode_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a received close frame; 1005 when it has none. Raises ProtocolFault 1002 or 1007."""
    if not payload:
        return 1005, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (code in _REGISTERED or 3000 <= code <= 4999):
        raise ProtocolFault(1002, "invalid close code")
    return code, decode_text(payload[2:])


_REGISTERED = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})
"""Codes that may appear in a frame, from IANA's WebSocket Close Code registry."""


def decode_text(payload: bytes) -> str:
    """Strict UTF-8. Raises ProtocolFault 1007."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ProtocolFault(1007, "invalid UTF-8") from None


def unmask(payload: bytes, mask: bytes) -> bytes:
    """XOR with the repeated mask as two big integers: 64 KiB take well under a millisecond, byte by byte 20."""
    size = len(payload)
    pad = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(pad, "little")).to_bytes(size, "little")


class Decoder:
    """Turns a client's bytes into messages. `max_message` bounds one message with all its fragments."""

    def __init__(self, max_message: int) -> None:
        self._max = max_message
        self._data = b""
        self._opcode = CONTINUATION
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Received]:
        """Take what has arrived and return what became complete. Raises ProtocolFault; then the stream is lost.

        Messages before a fault in the same bytes are lost with it.
        """
        self._data += data
        received: list[Received] = []
        start = 0
        while (frame := self._frame(start)) is not None:
            start, first, payload = frame
            whole = self._control(first, payload) if first & 0x08 else self._fragment(first, payload)
            if whole is not None:
                received.append(whole)
                if whole.opcode == CLOSE:
                    break
        self._data = self._data[start:]
        return received

    def _frame(self, start: int) -> tuple[int, int, bytes] | None:
        """(position behind it, its first byte, unmasked payload) of the frame at `start`, None while incomplete."""
        data = self._data
        if len(data) < start + 2:
            return None
        first, second = data[start], data[start + 1]
        self._check(first, second)
        length, start = second & 0x7F, start + 2
        if length > 125:
            width = 2 if length == 126 else 8
            length, start = int.from_bytes(data[start : start + width], "big"), start + width
            if len(data) < start:
                return None
        if not first & 0x08 and self._size + length > self._max:
            raise ProtocolFault(1009, f"a message may have {self._max} bytes")
        end = start + 4 + length
        if len(data) < end:
            return None
        return end, first, unmask(data[start + 4 : end], data[start : start + 4])

    def _check(self, first: int, second: int) -> None:
        """What the first two bytes of a frame already show to be wrong (RFC 6455, 5.1, 5.2, 5.4, 5.5)."""
        opcode = first & 0x0F
        if first & 0x70:
            raise ProtocolFault(1002, "reserved bits are set")
        if opcode not in _KNOWN:
            raise ProtocolFault(1002, "unknown opcode")
        if not second & 0x80:
            raise ProtocolFault(1002, "frames of a client must be masked")
        if opcode & 0x08 and (not first & 0x80 or second & 0x7F > 125):
            raise ProtocolFault(1002, "control frames must be whole and short")
        if opcode == BINARY:
            raise ProtocolFault(1003, "only text messages are understood")
        if not opcode & 0x08 and (opcode == CONTINUATION) != bool(self._opcode):
            raise ProtocolFault(1002, "fragments are out of order")

    def _control(self, first: int, payload: bytes) -> Received:
        return Received(first & 0x0F, payload)

    def _fragment(self, first: int, payload: bytes) -> Received | None:
        """Collect a fragment; the message when it was the last one."""
        self._opcode = self._opcode or first & 0x0F
        self._size += len(payload)
        self._parts.append(payload)
        if not first & 0x80:
            self._join_small_parts()
            return None
        whole = Received(self._opcode, b"".join(self._parts))
        self._opcode, self._size, self._parts = CONTINUATION, 0, []
        return whole

    def _join_small_parts(self) -> None:
        """Keep the list short: a message of empty fragments must not grow without bound."""
        if len(self._parts) > 1024:
            self._parts = [b"".join(self._parts)]
