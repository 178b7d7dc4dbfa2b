"""A WebSocket client that can also do everything wrong. Its frame code is its own, not the server's."""

from __future__ import annotations

import os

from tests.support.raw_http import Answer, RawHttp

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def handshake(path: str, **changes: str | None) -> bytes:
    """The bytes of an opening handshake; `changes` replace headers (`_` for `-`) or, being None, drop them."""
    wanted: dict[str, str | None] = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [f"{name}: {value}" for name, value in wanted.items() if value is not None]
    return ("\r\n".join([f"GET {path} HTTP/1.1", *lines]) + "\r\n\r\n").encode()


def frame(opcode: int, payload: bytes = b"", *, first: int | None = None, masked: bool = True) -> bytes:
    """One client frame. `first` overrides the whole first byte (flags and opcode)."""
    head = bytes([0x80 | opcode if first is None else first])
    bit = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class RawWs(RawHttp):
    """A WebSocket connection to 127.0.0.1, opened at once; `headers` replace those of the handshake (`_` for `-`)."""

    def __init__(self, port: int, path: str, timeout: float = 10.0, receive_buffer: int = 0, **headers: str) -> None:
        super().__init__(port, timeout, receive_buffer)
        self.answer: Answer = self.ask(handshake(path, **headers), head_only=True)
        assert self.answer.status == 101, self.answer

    def __enter__(self) -> RawWs:
        return self

    def send_text(self, text: str) -> None:
        """Send one text message."""
        self.send(frame(1, text.encode()))

    def receive(self) -> tuple[int, bytes]:
        """The next frame as (opcode, payload); it must be unmasked and final."""
        first, second = self._exactly(2)
        assert first & 0x80 and not first & 0x70 and not second & 0x80, (first, second)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        return first & 0x0F, self._exactly(size)

    def receive_text(self) -> str:
        """The next frame, which must be text."""
        opcode, payload = self.receive()
        assert opcode == 1, (opcode, payload)
        return payload.decode()

    def receive_close(self) -> tuple[int, str]:
        """Skip frames until the close frame; its code and reason."""
        while True:
            opcode, payload = self.receive()
            if opcode == 8:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()
