"""JSON Schemas (2020-12) of everything that goes over the wire, made from the definitions that serve."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from metawsm.bus.catalogue import Catalogue
from metawsm.bus.fields import MAX_SEQUENCE, Rule, rules_of
from metawsm.bus.specs import CommandSpec
from metawsm.domain import events, names, run_events, run_states, signals
from metawsm.domain.envelope import KNOWN_BY, Envelope
from metawsm.domain.states import ACTOR_TYPES, OUTSIDE_ACTORS, PRIORITIES, STATES

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, microseconds"}
SEQUENCE: Schema = {"type": "integer", "minimum": 0, "maximum": MAX_SEQUENCE}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
STATE: Schema = {"type": "string", "enum": list(STATES)}
PRIORITY: Schema = {"type": "string", "enum": list(PRIORITIES)}
ACTOR: Schema = {"type": "string", "enum": list(ACTOR_TYPES)}
ASSIGNEE: Schema = {"type": "string", "enum": list(OUTSIDE_ACTORS)}
ANYTHING: Schema = {"type": "object", "additionalProperties": True}
# What members of events and envelopes hold, where the type alone does not say it.
MEMBERS: dict[str, Schema] = {
    "priority": PRIORITY, "from_priority": PRIORITY, "to_priority": PRIORITY, "from_state": STATE, "to_state": STATE,
    "kind": {"type": "string", "enum": ["post", "answer"]}, "occurred_at": TIME, "actor_type": ACTOR,
    "actor_known_by": {"type": "string", "enum": list(KNOWN_BY)},
    "from_assignee_type": {"type": "string", "enum": ["", *OUTSIDE_ACTORS]},
    "to_assignee_type": {"type": "string", "enum": ["", *OUTSIDE_ACTORS]},
    "event_version": {"type": "integer", "minimum": 1}, "signal": {"$ref": "#/components/schemas/ControlSignal"},
    "reader_type": {"type": "string", "enum": ["agent"]}, "how": {"type": "string", "enum": list(events.DELIVERIES)},
}  # fmt: skip


_MOVES = ("from_state", "to_state")
# Members that hold something else in these classes.
OWN: dict[type, dict[str, Schema]] = {
    run_events.RunStateChanged: dict.fromkeys(_MOVES, TEXT | {"enum": list(run_states.RUN_STATES)}),
    run_events.StepStateChanged: dict.fromkeys(_MOVES, TEXT | {"enum": list(run_states.STEP_STATES)}),
    run_events.AgentStateChanged: dict.fromkeys(_MOVES, TEXT | {"enum": list(run_states.AGENT_STATES)}),
    run_events.PlannedStep: {"kind": TEXT},
}


# What they mean, where the name alone does not say it.
ABOUT: dict[str, str] = {
    "event_id": "the message's identity",
    "event_version": "version of the payload's form",
    "occurred_at": "when it happened",
    "ticket": "empty where there is none",
    "actor_known_by": "how the actor was known",
    "correlation_id": "the conversation: by default the id of its first message",
    "causation_id": "the message that directly led to this one",
    "agent_name": "the agent the thread belongs to",
    "options": "answers that the asker offers",
    "post_id": "the post's id: `<event_id>.post`",
    "answers": "the guidance request (post id) that this settles",
    "to_assignee_name": "empty: nobody",
    "from_assignee_name": "empty: nobody",
    "reader_name": "the agent",
    "how": "a line typed into its pane, its text pasted there, `forum wait` or `forum inbox`",
}


def told(cls: type) -> str:
    """What a class says about itself, for readers who do not have the source beside them."""
    return re.sub(r" \(contract, section \d\)", "", " ".join((cls.__doc__ or "").split()))


def ref(name: str) -> Schema:
    """A reference to a component schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def obj(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, about: str = "") -> Schema:
    """An object with these members; readers must bear further ones."""
    schema: Schema = {"type": "object"} | ({"description": about} if about else {})
    return schema | {"properties": {**required, **(optional or {})}, "required": list(required)}


def array(items: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": items}


def of_rule(rule: Rule) -> Schema:
    """What a field of a command may hold."""
    schema: Schema = _KINDS[rule.kind](rule) | {"description": rule.about}
    if rule.max_bytes is not None and rule.max_chars is None:
        schema["description"] += f" (at most {rule.max_bytes} bytes of UTF-8)"
    return schema


def _of_text(rule: Rule) -> Schema:
    longest = rule.max_chars if rule.max_chars is not None else rule.max_bytes
    return TEXT | ({"maxLength": longest} if longest else {}) | ({} if rule.blank else {"pattern": r"\S"})


def _of_texts(rule: Rule) -> Schema:
    return array(TEXT | {"maxLength": rule.max_chars, "pattern": r"\S"}) | {"maxItems": rule.max_items}


def _of_names(rule: Rule) -> Schema:
    least = {"minItems": 1} if rule.required else {}
    items = TEXT | {"pattern": f"^{names.NAME_PATTERN}$"}
    return array(items) | {"maxItems": rule.max_items, "uniqueItems": True} | least


_KINDS: dict[str, Any] = {
    "text": _of_text,
    "texts": _of_texts,
    "name": lambda _: TEXT | {"pattern": f"^{names.NAME_PATTERN}$"},
    "thread_id": lambda _: TEXT | {"pattern": f"^{names.THREAD_ID_PATTERN}$"},
    "choice": lambda rule: TEXT | {"enum": list(rule.choices)},
    "integer": lambda _: dict(SEQUENCE),
    "object": lambda _: {"type": "object"},
    "flag": lambda _: FLAG | {"default": False},
    "names": _of_names,
}


def body(spec: CommandSpec) -> Schema:
    """The body of a command; unknown members are refused."""
    properties: Schema = {}
    required: list[str] = []
    for part in spec.parts:
        defaults = {a.name: a.default for a in attrs.fields(part)}
        for name, rule in rules_of(part).items():
            if rule.where == "body":
                properties[name] = _with_default(of_rule(rule), defaults[name])
                required += [name] if rule.required else []
    if "payload" in properties and spec.name == "signal":
        properties["payload"] = ref("ControlSignal")
    about = told(spec.message)
    whole: Schema = {"type": "object", "description": about, "properties": properties, "additionalProperties": False}
    return whole | ({"required": required} if required else {})


def _with_default(schema: Schema, default: Any) -> Schema:
    return schema | {"default": default} if isinstance(default, str) else schema


def signal() -> Schema:
    """A control signal: one form per control_type (contract, section 7)."""
    return {"description": "A control signal, schema version 1", "oneOf": [_signal(kind) for kind in signals.NEEDED]}


def _signal(kind: str) -> Schema:
    text = TEXT | {"maxLength": names.BODY_LIMIT}
    needed = {name: text | {"pattern": r"\S"} for name in signals.NEEDED[kind]}
    head: Schema = {"schema_version": {"const": 1}, "control_type": {"const": kind}, "run_id": TEXT, "agent_name": TEXT}
    texts: Schema = {name: needed.get(name, text) for name in signals.TEXTS}
    texts["status"] = {"type": "string", "enum": list(signals.STATUSES)}
    properties = head | texts
    return {
        "type": "object",
        "properties": properties,
        "required": ["control_type", *signals.NEEDED[kind]],
        "additionalProperties": False,
    }


def of_class(cls: type) -> Schema:
    """The object of a frozen class of the domain; members at their defaults are left out of it."""
    hints, members = get_type_hints(cls), MEMBERS | OWN.get(cls, {})
    made = {a.name: _described(a.name, members.get(a.name) or _of_hint(hints[a.name])) for a in attrs.fields(cls)}
    required = [a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING or a.name == "post_id"]
    return {"type": "object", "description": told(cls), "properties": made, "required": required}


def _described(name: str, schema: Schema) -> Schema:
    return schema | {"description": ABOUT[name]} if name in ABOUT else schema


def _of_hint(hint: Any) -> Schema:
    if hint in _PLAIN:
        return _PLAIN[hint]
    if attrs.has(hint):
        return of_class(hint)
    inner = [each for each in get_args(hint) if each not in (type(None), ...)]
    if get_origin(hint) is dict:
        return ANYTHING
    return array(_of_hint(inner[0])) if get_origin(hint) is tuple else _of_hint(inner[0])


_PLAIN: dict[Any, Schema] = {int: {"type": "integer"}, str: TEXT, bool: FLAG}


def envelope(event_type: str, version: int) -> Schema:
    """The envelope of a message of one type and version."""
    schema = of_class(Envelope)
    fixed = {"event_type": {"const": event_type}, "event_version": {"const": version}}
    return schema | {"properties": schema["properties"] | fixed}


def event(fact: type[events.Fact]) -> Schema:
    """An event of one type as it goes over the wire."""
    members = {
        "sequence": SEQUENCE | {"minimum": 1},
        "envelope": envelope(fact.TYPE, fact.VERSION),
        "payload_json": TEXT | {"description": "the payload as JSON text"},
        "payload": of_class(fact),
    }
    return obj(members, about=told(fact))


def command(spec: CommandSpec) -> Schema:
    """A command as it goes over the wire: its envelope and the REST body, where `thread_id` may stand, too."""
    about = f"{spec.summary}. An action on a thread names it in the envelope's or the payload's thread_id."
    payload = body(spec)
    if spec.loads:
        payload["properties"]["thread_id"] = TEXT
    return obj({"envelope": envelope(spec.event_type, spec.version), "payload": payload}, about=about)


def event_name(event_type: str) -> str:
    """The component name of an event, such as `event.thread.opened`."""
    return f"event.{event_type.removeprefix('forum.')}"


def of_messages(catalogue: Catalogue) -> dict[str, Schema]:
    """The components of command bodies, signals and events."""
    bodies = {spec.message.__name__: body(spec) for spec in catalogue.public}
    facts = {event_name(fact.TYPE): event(fact) for fact in events.ALL}
    union = {"description": "An event; readers must bear types they do not know", "oneOf": [ref(n) for n in facts]}
    return {**bodies, "ControlSignal": signal(), **facts, "Event": union}
