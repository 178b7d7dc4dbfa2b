"""The page about error codes."""

from __future__ import annotations

from collections.abc import Iterator

from metawsm.api import errors as api_errors
from metawsm.cli.exit_codes import BY_CODE, BY_STATUS, ExitCode
from metawsm.domain.errors import MetawsmError
from scripts.reference_pages.markdown import table

HEAD = """\
# Errors

Every error over HTTP, whatever part answers it, is

```json
{"error": {"code": "invalid_fields", "message": "faulty field(s): title", "fields": {"title": ["is required"]},
           "correlation_id": "..."}}
```

`code` is stable; `message` is for people and may change. `fields` names each faulty field of a body or query (members
of a control signal as `payload.<member>`). `details` has further facts. `correlation_id` is the id of the command, if
there is one; with the code `internal` the daemon's log has more under it. A 409 `stale_sequence` carries the current
view as `thread` beside `error`. An answer of 400 or more without such an object is not the daemon's.

What is refused with 4xx before it was accepted, or with 503, has stored nothing, and its idempotency key is free.
What was rejected afterwards (403, 404, 409 or 422 with the command's id) is kept as the command's outcome: the same
key gets the same answer again.

This page is generated: run `scripts/reference` after a change.
"""
# Codes without a class of their own: the HTTP server's, and faults of the program.
SERVER = {
    "internal": (500, "A fault of the program; the daemon's log has more under the correlation_id."),
    "too_large": (413, "The body is larger than 1 MiB."),
    "request_timeout": (408, "The request did not arrive in time."),
    "uri_too_long": (414, "The request line is too long."),
    "expectation_failed": (417, "The only Expect understood is 100-continue."),
    "upgrade_required": (426, "The path speaks WebSocket only."),
    "headers_too_large": (431, "The head of the request is too large."),
    "not_implemented": (501, "The only Transfer-Encoding understood is chunked."),
    "version_not_supported": (505, "HTTP/1.0 and HTTP/1.1 are understood."),
}
# Where the class speaks to programmers.
MEANINGS = {
    "stale_sequence": "The thread's `version_sequence` is not `expected_sequence`: somebody was faster.",
    "outcome_unknown": "Whether it was stored is not known; `correlation_id` is the command's id, to look it up.",
    "overloaded": "Too much is undone already; nothing was stored.",
    "unavailable": "A part that is needed does not work now; nothing was stored.",
    "already_exists": "The chosen thread_id is taken.",
}
AGAIN = {"unavailable", "overloaded", "outcome_unknown"}


def errors() -> str:
    """The page as Markdown."""
    rows = sorted((status, code, about, _exit(code, status)) for code, (status, about) in codes().items())
    shown = [(status, f"`{code}`", about, "yes" if code in AGAIN else "", exits) for status, code, about, exits in rows]
    return "\n".join(
        [
            HEAD,
            table(("status", "code", "meaning", "try again", "exit code"), shown),
            "",
            "With 503 `Retry-After` says after how many seconds to try again, where that can help.",
            "After `outcome_unknown` repeat with the same idempotency key: it is done once.",
            "",
            "Exit codes of the command line: [cli.md](cli.md#exit-codes).",
            "",
        ]
    )


def codes() -> dict[str, tuple[int, str]]:
    """Status and meaning of every code that HTTP answers with."""
    about = {cls.code: " ".join((cls.__doc__ or "").split()) for cls in _classes(MetawsmError)} | MEANINGS
    about |= {code: text for code, (_, text) in SERVER.items()}
    told = {code: (status, about[code]) for code, status in api_errors.STATUS.items()}
    return SERVER | told


def _classes(cls: type[MetawsmError]) -> Iterator[type[MetawsmError]]:
    for child in cls.__subclasses__():
        yield child
        yield from _classes(child)


def _exit(code: str, status: int) -> int:
    return int(BY_CODE.get(code) or BY_STATUS.get(status) or ExitCode.FAILED)
