"""From an error's code to an HTTP answer: the one table, and the one shape. Source: contract, section 5."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from metawsm.domain.errors import MetawsmError

STATUS: dict[str, int] = {
    "malformed": 400,
    "unauthenticated": 401,
    "not_allowed": 403,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "already_exists": 409,
    "illegal_transition": 409,
    "close_blocked": 409,
    "stale_sequence": 409,
    "thread_closed": 409,
    "too_large": 413,
    "unsupported_media_type": 415,
    "idempotency_key_reused": 422,
    "invalid_fields": 422,
    "unavailable": 503,
    "overloaded": 503,
    "forum_disabled": 503,
    "outcome_unknown": 500,
    "internal": 500,
}
RETRY_AFTER = "1"  # seconds, with every 503 that passes by itself


class Forbidden(MetawsmError):
    """The request comes from a place that must not send it (host, origin, another site)."""

    code = "forbidden"


class MethodNotAllowed(MetawsmError):
    """The path exists, the method does not."""

    code = "method_not_allowed"


class ForumDisabled(MetawsmError):
    """The policy switches the forum off; trying again does not help."""

    code = "forum_disabled"


class UnsupportedMediaType(MetawsmError):
    """The body is not declared to be JSON."""

    code = "unsupported_media_type"


def status_of(code: str) -> int:
    """The HTTP status of an error code; 500 for one that no table knows."""
    return STATUS.get(code, 500)


def body_of(
    code: str,
    message: str,
    correlation_id: str,
    fields: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON object of an error. The current view of a thread that moved on stands beside it as `thread`."""
    error: dict[str, Any] = {"code": code, "message": message, "correlation_id": correlation_id}
    rest = dict(details or {})
    thread = rest.pop("thread", None)
    if fields:
        error["fields"] = fields
    if rest:
        error["details"] = rest
    return {"error": error} | ({"thread": thread} if thread else {})


def encoded(body: Mapping[str, Any]) -> bytes:
    """An error body as bytes; escapes everything beyond ASCII, so that any text survives."""
    return json.dumps(body, separators=(",", ":")).encode("ascii")
