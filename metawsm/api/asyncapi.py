"""The AsyncAPI 3.0 document of the Redis streams and the WebSocket, generated from the definitions that serve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from metawsm.api import frames, operations
from metawsm.api.openapi import BEARER, schema_of
from metawsm.api.schemas import Schema, command, event, event_name, obj, ref, signal
from metawsm.bus.catalogue import Catalogue
from metawsm.domain import events
from metawsm.messages.topics import Topics
from metawsm.version import VERSION

ABOUT = """\
The stream key is the topic. An entry has three fields: `_watermill_message_uuid` (UTF-8), `metadata` (MessagePack map
of str to str) and `payload` (JSON): what Watermill's Redis Streams adapter writes and reads. Entries of events and of
the feed have the id `<sequence>-0`. Readers bear missing metadata and further fields. From Redis, commands of humans
and operators are accepted only with `forum.redis.trusted_publishers`.
"""
METADATA: Schema = obj(
    {
        name: {"type": "string", "description": about}
        for name, about in {
            "name": "the message's type",
            "message_id": "its identity, the same as the uuid",
            "topic": "where it was first published",
            "message_key": "the thread's id",
            "correlation_id": "the conversation",
        }.items()
    },
    {"origin": {"type": "string", "description": "<database id>/<epoch> of our own messages; others leave it out"}},
)


def asyncapi(catalogue: Catalogue, topics: Topics) -> dict[str, Any]:
    """The document: a channel per topic, the feed, the WebSocket."""
    event_channels = {event_name(fact.TYPE): topics.event(fact.TYPE) for fact in events.ALL}
    channels: Schema = {
        f"command.{spec.name}": _topic(topics.command(spec.name), spec.summary, [f"command.{spec.name}"])
        for spec in catalogue.public
    }
    channels |= {name: _topic(topic, "Events of one type", [name]) for name, topic in event_channels.items()}
    channels["feed"] = _topic(topics.feed, "Every event, in sequence order", list(event_channels))
    channels["stream"] = _stream()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "metawsm", "version": VERSION, "description": ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "redis": {"host": "127.0.0.1:6379", "protocol": "redis"},
            "daemon": {
                "host": "127.0.0.1:3001",
                "protocol": "ws",
                "security": [{"$ref": _at("securitySchemes", "token")}],
            },
        },
        "channels": channels,
        "operations": {name: _operation(name, channel) for name, channel in channels.items()},
        "components": {
            "messages": _messages(catalogue),
            "schemas": {"ControlSignal": signal(), "Event": _any_event(), **_events()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": BEARER}},
        },
    }


def _topic(address: str, about: str, messages: Iterable[str]) -> Schema:
    return {
        "address": address,
        "description": about,
        "servers": [{"$ref": "#/servers/redis"}],
        "messages": {name: {"$ref": _at("messages", name)} for name in messages},
    }


def _stream() -> Schema:
    query = obj({}, {p.name: schema_of(p) | {"description": p.about} for p in operations.STREAM.parameters})
    return {
        "address": operations.STREAM.whole,
        "description": "The events as they happen; with a cursor, first those after it, without a gap.",
        "servers": [{"$ref": "#/servers/daemon"}],
        "messages": {name: {"$ref": _at("messages", name)} for name in frames.ALL},
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
    }


def _operation(name: str, channel: Schema) -> Schema:
    return {
        "action": "receive" if name.startswith("command.") else "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{message}"} for message in channel["messages"]],
    }


def _messages(catalogue: Catalogue) -> Schema:
    commands = {f"command.{spec.name}": _message(spec.event_type, command(spec)) for spec in catalogue.public}
    facts = {event_name(fact.TYPE): _message(fact.TYPE, ref(event_name(fact.TYPE))) for fact in events.ALL}
    told = {name: {"name": name, "payload": schema} for name, schema in frames.ALL.items()}
    return {**commands, **facts, **told}


def _message(name: str, payload: Schema) -> Schema:
    return {"name": name, "headers": METADATA, "payload": payload}


def _events() -> Schema:
    return {event_name(fact.TYPE): event(fact) for fact in events.ALL}


def _any_event() -> Schema:
    return {"oneOf": [ref(name) for name in _events()]}


def _at(section: str, name: str) -> str:
    return f"#/components/{section}/{name}"
