"""The page about the WebSocket."""

from __future__ import annotations

from typing import Any

from metawsm.api import frames, operations
from metawsm.api.feed import HEARTBEAT
from metawsm.api.openapi import schema_of
from scripts.reference_pages.markdown import kind, members, table

HEAD = f"""\
# WebSocket

`ws://127.0.0.1:3001{operations.STREAM.whole}` sends every event as it happens. In machine form:
[asyncapi.json](asyncapi.json), served at `/api/v1/asyncapi.json`. Access is that of REST: from this machine without a
token, otherwise with `Authorization: Bearer <token>`; `Host`, `Origin` and `Sec-Fetch-Site` are checked before the
upgrade.
"""
RULES = f"""\
## Following without losing anything

Keep the last `next_cursor` (or the last event's `sequence`), and connect with it as `cursor` after any end of the
connection: every matching event after it comes, in order, once, without a gap between those of the past and those
that happen now. Without a cursor the stream begins now. After `reset` the cursor means nothing to this database: read
the state anew over REST, and go on with the next `next_cursor`. A heartbeat comes every {HEARTBEAT:g} seconds; when
two are missing, connect again.

## Ends

{{closes}}

Clients answer pings with pongs, mask their frames, and need not send anything; what they send is read and ignored.
"""
CLOSES = (
    (1000, "the client closed"),
    (1001, "the daemon stops: connect again with the cursor"),
    (1002, "a frame against RFC 6455 (not masked, reserved bits, a broken control frame)"),
    (1003, "a binary message: only text is understood"),
    (1007, "a text that is not UTF-8"),
    (1008, "too many messages at once"),
    (1009, "a message larger than 64 KiB"),
    (1011, "no answer to a ping"),
    (1013, "the client did not keep up, or the daemon cannot read now: connect again with the cursor"),
)


def websocket(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    rows = ((f"`{p.name}`?", kind(schema_of(p)), p.about) for p in operations.STREAM.parameters)
    parts = [HEAD, "## Query\n", table(("query", "value", "meaning"), rows), "", "## Frames\n"]
    parts.append("Text frames, each a JSON object with `type`. Ignore types you do not know.\n")
    for name, schema in frames.ALL.items():
        parts += [f"### {name}\n", f"{schema['description']}\n", members(schema), ""]
    parts += ["### Event\n", "`{sequence, envelope, payload_json, payload}`: see [topics.md](topics.md).\n"]
    parts.append(RULES.replace("{closes}", table(("close code", "meaning"), CLOSES)))
    return "\n".join(parts).rstrip() + "\n"
