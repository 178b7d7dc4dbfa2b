"""The page about topics, the envelope and the events."""

from __future__ import annotations

from typing import Any

from metawsm.api.asyncapi import ABOUT, METADATA
from metawsm.api.schemas import of_class, told
from metawsm.domain import events
from metawsm.domain.envelope import Envelope
from scripts.reference_pages.markdown import members, table

HEAD = f"""\
# Topics, commands and events

{ABOUT}
In machine form: [asyncapi.json](asyncapi.json). The prefixes, the feed's key and the group follow the policy
(`forum.topics.*`, `forum.redis.stream`, `forum.redis.group`); this page shows the defaults.

This page is generated: run `scripts/reference` after a change.
"""
RULES = """\
## Reading

Streams and groups exist from the start. The daemon's command handlers read with the group `metawsm-forum`, its
projections read the feed with `metawsm-forum.projections`. Anybody else reads the feed or a topic with a group of its
own, from any machine: `XREADGROUP GROUP mine me COUNT 100 BLOCK 5000 STREAMS metawsm-forum >`. Delivery is at least
once: keep the highest sequence you have handled and skip what is not above it. Streams keep 72 hours or 1,000,000
entries (`forum.redis.retention_hours`, `forum.redis.max_entries`); what is older is read over REST, `GET
/forum/events`.

## Sending commands

A command is `{"envelope": {...}, "payload": <the REST body>}` on its topic, with `event_type` as in the table below.
Its identity is the envelope's `event_id`, else the entry's uuid, else `<topic>/<entry id>`; a second command of the
same identity and payload is done once, one with another payload is a dead letter. Leave the metadata's `origin` out.
`actor_type` is agent; human and operator need `forum.redis.trusted_publishers`. The outcome is at `GET
/api/v1/forum/commands/<identity>`. What cannot be read becomes a dead letter, and the daemon goes on.
"""


def topics(document: dict[str, Any]) -> str:
    """The page as Markdown."""
    channels = document["channels"]
    commands = [
        (f"`{channel['address']}`", f"`forum.commands.{name.removeprefix('command.')}`", channel["description"])
        for name, channel in channels.items()
        if name.startswith("command.")
    ]
    facts = [(f"`{channels[_name(f)]['address']}`", f"`{f.TYPE}`", f.VERSION, told(f)) for f in events.ALL]
    parts = [HEAD, "## Commands\n", table(("topic", "event_type", "meaning"), commands), ""]
    parts += ["## Events\n", f"The feed `{channels['feed']['address']}` has every event in sequence order.\n"]
    parts += [table(("topic", "event_type", "version", "meaning"), facts), ""]
    parts += ["An event is `{sequence, envelope, payload_json, payload}`: `payload_json` is the payload as text.\n"]
    for fact in events.ALL:
        parts += [f"### {fact.TYPE}\n", members(of_class(fact)), ""]
    parts += ["### ControlSignal\n", "See [rest.md](rest.md#controlsignal).\n", "## Envelope\n"]
    parts += [members(of_class(Envelope)), "", "## Metadata of an entry\n", members(METADATA), "", RULES]
    return "\n".join(parts).rstrip() + "\n"


def _name(fact: type[events.Fact]) -> str:
    return f"event.{fact.TYPE.removeprefix('forum.')}"
