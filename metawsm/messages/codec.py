"""The written form of commands and events, and the way back. The only place that knows JSON shapes of messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from operator import attrgetter
from types import NoneType
from typing import Any

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn

from metawsm.domain import events
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import Undecodable
from metawsm.domain.events import Event, Fact
from metawsm.messages.json_text import from_json, loosely, to_json

Payload = dict[str, Any]
Written = tuple[dict[str, Any], Payload]
"""Envelope and payload objects of a command, as its text has them."""
EVENT_COLUMNS = (
    "sequence, event_id, event_type, event_version, occurred_at, thread_id, run_id, ticket, agent_name, actor_type,"
    " actor_name, actor_known_by, correlation_id, causation_id, payload_json"
)
# (type, version) -> the same payload one version later. Old versions are upcast on read, never rewritten.
UPCASTS: dict[tuple[str, int], Callable[[Payload], Payload]] = {}
_FACTS: dict[tuple[str, int], type[Fact]] = {(fact.TYPE, fact.VERSION): fact for fact in events.ALL}
_CURRENT = {fact.TYPE: fact.VERSION for fact in events.ALL}


def _converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_structure_hook(Envelope, make_dict_structure_fn(Envelope, converter))
    for cls in events.ALL:
        converter.register_unstructure_hook(cls, make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True))
        converter.register_structure_hook(cls, make_dict_structure_fn(cls, converter))
    return converter


_CONVERTER = _converter()


_HEAD_NAMES = tuple(each.name for each in attrs.fields(Envelope))
_HEAD_VALUES = attrgetter(*_HEAD_NAMES)
_REQUIRED = (str, str, int, str, str, str, str)
_HEAD_TYPES = frozenset(_REQUIRED + rest for rest in product((str, NoneType), repeat=len(_HEAD_NAMES) - len(_REQUIRED)))
"""The types of an envelope's members as this program writes them."""


def payload_of(fact: Fact) -> Payload:
    """A fact's payload object; members at their defaults are left out."""
    return _CONVERTER.unstructure(fact)  # type: ignore[no-any-return]


def envelope_of(envelope: Envelope) -> dict[str, Any]:
    """An envelope's object; absent members are left out."""
    values = zip(_HEAD_NAMES, _HEAD_VALUES(envelope), strict=True)
    return {name: value for name, value in values if value is not None}


def fact_of(event_type: str, version: int, payload: Payload) -> Fact:
    """The fact of a stored payload, upcast to its newest version. Raises Undecodable for what is not known."""
    while version < _CURRENT.get(event_type, 0) and (event_type, version) in UPCASTS:
        payload = UPCASTS[event_type, version](payload)
        version += 1
    cls = _FACTS.get((event_type, version))
    if cls is None:
        raise Undecodable(f"event type {event_type} version {version} is not known to this program")
    try:
        return _CONVERTER.structure(payload, cls)
    except Exception as error:  # cattrs raises groups of many kinds
        raise Undecodable(f"payload of {event_type} version {version} does not fit: {error}") from error


def event_of_row(row: Sequence[Any]) -> Event:
    """The event of a `forum_events` row in the order of EVENT_COLUMNS."""
    return Event(row[0], _head_of(row), fact_of(row[2], row[3], json.loads(row[14])))


def _head_of(row: Sequence[Any]) -> Envelope:
    (_, event_id, event_type, version, at, thread_id, run_id, ticket, agent, actor_type, actor_name, known_by,
     correlation, causation, _) = row  # fmt: skip
    return Envelope(event_id, event_type, version, at, ticket, actor_type, correlation, thread_id, run_id, agent,
                    actor_name, known_by, causation)  # fmt: skip


def wire_event(sequence: int, envelope: Envelope, payload_json: str) -> str:
    """An event as it goes over the wire: to streams, REST and WebSocket alike (contract, section 2)."""
    head, text = to_json(envelope_of(envelope)), to_json(payload_json)
    return f'{{"sequence":{sequence},"envelope":{head},"payload_json":{text},"payload":{payload_json}}}'


def wire_event_of_row(row: Sequence[Any]) -> str:
    """The wire form of a `forum_events` row in the order of EVENT_COLUMNS."""
    return wire_event(row[0], _head_of(row), row[14])


def command_json(envelope: Envelope, body: Mapping[str, Any]) -> str:
    """A command's written form: its envelope and the REST body."""
    return f'{{"envelope":{to_json(envelope_of(envelope))},"payload":{to_json(body)}}}'


def read_command(text: str | bytes) -> Written:
    """Envelope and payload objects of a written command. Raises Undecodable with the reason."""
    try:
        command = from_json(text)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"the payload is not JSON: {error}") from error
    if not isinstance(command, dict):
        raise Undecodable("the payload is not a JSON object")
    envelope, payload = command.get("envelope"), command.get("payload")
    if not isinstance(envelope, dict) or not isinstance(payload, dict):
        raise Undecodable("the payload needs the objects `envelope` and `payload`")
    return envelope, payload


def event_head(text: str) -> dict[str, Any]:
    """The envelope's object of an event that this program has written."""
    head: dict[str, Any] = loosely(text)["envelope"]
    return head


def envelope_from(members: Mapping[str, Any]) -> Envelope:
    """The envelope of a stored command. Raises Undecodable."""
    values: list[Any] = [members.get(name) for name in _HEAD_NAMES]
    if tuple(map(type, values)) in _HEAD_TYPES:
        return Envelope(*values)
    try:
        return _CONVERTER.structure(members, Envelope)
    except Exception as error:  # cattrs raises groups of many kinds
        raise Undecodable(f"the envelope does not fit: {error}") from error
