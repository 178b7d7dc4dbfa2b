"""The WebSocket opening handshake (RFC 6455, section 4): is this request one, and what is the answer to it. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from metawsm.api.http_head import Refusal, malformed

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""The constant of RFC 6455, section 1.3."""

_UPGRADE = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))


def answer_upgrade(environ: Mapping[str, Any], origin_allowed: Callable[[Mapping[str, Any]], bool]) -> bytes:
    """The encoded 101 answer. Raises Refusal: 403 for the origin, 426 or 400 for what is no handshake of version 13."""
    if not origin_allowed(environ):
        raise Refusal(403, "not_allowed", "WebSocket connections from this origin are not allowed.")
    _check_upgrade(environ)
    key = str(environ.get("HTTP_SEC_WEBSOCKET_KEY", ""))
    if not _is_key(key):
        raise malformed("Sec-WebSocket-Key must be 16 bytes in base64.")
    proof = base64.b64encode(hashlib.sha1((key + _GUID).encode("latin-1"), usedforsecurity=False).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {proof}\r\n\r\n"
    ).encode("latin-1")


def _check_upgrade(environ: Mapping[str, Any]) -> None:
    if "websocket" not in _tokens(environ, "HTTP_UPGRADE") or "upgrade" not in _tokens(environ, "HTTP_CONNECTION"):
        raise Refusal(426, "upgrade_required", "This address speaks WebSocket only.", _UPGRADE)
    if environ["REQUEST_METHOD"] != "GET" or environ["SERVER_PROTOCOL"] != "HTTP/1.1":
        raise malformed("A WebSocket begins with a GET in HTTP/1.1.")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") != "13":
        raise Refusal(426, "upgrade_required", "The only WebSocket version understood is 13.", _UPGRADE)


def _tokens(environ: Mapping[str, Any], key: str) -> set[str]:
    return {token.strip().lower() for token in str(environ.get(key, "")).split(",")}


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except (binascii.Error, ValueError):
        return False
