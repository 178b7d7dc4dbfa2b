"""JSON Schemas of the frames on the WebSocket. Source: contract, section 6."""

from __future__ import annotations

from metawsm.api.schemas import SEQUENCE, TEXT, TIME, Schema, array, obj, ref

_CURSOR = SEQUENCE | {"description": "the last sequence examined: the cursor to resume with"}
_HEAD = SEQUENCE | {"description": "the newest event"}
_EPOCH: Schema = {"type": "integer", "description": "counts restores of the database: a change ends all cursors"}


def _frame(name: str, members: dict[str, Schema], about: str) -> Schema:
    return obj({"type": {"const": name}, **members}, about=about)


ALL: dict[str, Schema] = {
    "hello": _frame(
        "hello",
        {"epoch": _EPOCH, "head_sequence": _HEAD, "heartbeat_seconds": {"type": "number"}},
        "The first frame.",
    ),
    "forum.events": _frame(
        "forum.events",
        {"events": array(ref("Event")), "next_cursor": _CURSOR, "sent_at": TIME},
        "Matching events in ascending order, each once.",
    ),
    "heartbeat": _frame(
        "heartbeat",
        {"next_cursor": _CURSOR, "head_sequence": _HEAD, "sent_at": TIME},
        "Nothing is wrong; sent at regular intervals.",
    ),
    "reset": _frame(
        "reset", {"reason": TEXT}, "The cursor is beyond the head: read the state anew and follow from now."
    ),
    "error": _frame(
        "error",
        {"message": TEXT},
        "The events cannot be read now, and why; the connection ends with 1013: resume by cursor.",
    ),
}
