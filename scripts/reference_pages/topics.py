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

A command is `{"envelope": {...}, "payload": <the REST body>}` on its topic. By hand, to ask a question and see what
became of it:

```bash
redis-cli XADD forum.commands.open_thread '*' _watermill_message_uuid my-command-1 payload \\
  '{"envelope": {"event_type": "forum.commands.open_thread", "actor_type": "agent", "actor_name": "bob"},
    "payload": {"ticket": "MET-1", "title": "Which schema?", "body": "v1 or v2?"}}'
metawsm.pyz forum command --command-id my-command-1
```

Of the envelope `event_type` (as in the table above) and `actor_type` are required. `event_id`, `actor_name`,
`thread_id`, `correlation_id` and `causation_id` are taken over, `event_version` is 1 if it is there, and the rest is
not read. What is required in the payload is what [rest.md](rest.md) requires in the body; a thread that is written to
is named by `thread_id` in either. The ticket is the payload's where a thread or signal begins, and else that of the
thread; one in the envelope counts for nothing.

Its identity is the envelope's `event_id`, else the entry's uuid, else `<topic>/<entry id>`; a second command of the
same identity and payload is done once, one with another payload is a dead letter. Leave the metadata's `origin` out.
`actor_type` is agent; human and operator need `forum.redis.trusted_publishers`.

Where a refusal shows: a command that was read and refused (no such thread, a state that does not allow it, an actor
that is not trusted) is `rejected`, with the reason, at `GET /api/v1/forum/commands/<identity>` (`metawsm.pyz forum
command`). What cannot be read, or lacks something required, is no command and becomes a dead letter: `metawsm.pyz
forum dead-letters list` names the fault. In either case the entry is acknowledged and the daemon goes on.
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
