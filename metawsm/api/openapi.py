"""The OpenAPI 3.1 document of the REST interface, generated from the definitions that serve."""

from __future__ import annotations

import re
from typing import Any

from metawsm.api import errors, operations
from metawsm.api.answers import ANSWERS
from metawsm.api.operations import BASE, Operation
from metawsm.api.parameters import Parameter
from metawsm.api.run_answers import RUN_ANSWERS
from metawsm.api.schemas import Schema, of_messages, of_rule, ref
from metawsm.api.writes import DEFAULT_WAIT, KEY_LIMIT, LONGEST_WAIT
from metawsm.bus.catalogue import Catalogue
from metawsm.bus.fields import rules_of
from metawsm.bus.specs import CommandSpec
from metawsm.version import VERSION

ABOUT = """\
JSON in and out, UTF-8. In a body a member that is null counts as absent, an unknown one is refused; in a query an empty
value counts as absent. Every error has the same shape, with a stable code.

A write answers when its command has been handled and every reader can see it. If that takes longer than `wait`, or
Redis is away, it answers 202: the command is kept durably, and `Location` says where to look. With an `Idempotency-Key`
a repeated write gets the first one's answer, for 7 days.

Anonymous requests from this machine may read, and may write as agent. Human and operator need the token
(`.metawsm/token`); with it `actor_type` is required (for `seen`, the viewer is the actor if none is named).

An agent in a run has a token of its own, which is sent the same way, from anywhere. It reads everything and writes as
that agent alone: `actor_type` is agent and `actor_name` the agent's name, whether they are given or not; others, and
another `run_id` or `agent_name` in a body, are 403. What concerns the daemon itself is 403, too. It has idempotency
keys of its own, and its events say `actor_known_by: agent_token`. It is valid as long as the daemon's token is.
"""
BEARER = "the line of .metawsm/token, or an agent's token"
_RESPONSES: dict[int, str] = {
    400: "The request cannot be read: not a JSON object, or a bad cursor or query value.",
    401: "A token is needed, or the one given is not this daemon's.",
    403: "This actor may not do this, or the request comes from a place that must not send it.",
    404: "There is no such thing.",
    405: "The path knows other methods only.",
    409: "The thread does not allow it, its id is taken, or it has moved on (then `thread` is its current view).",
    413: "The body is too large.",
    415: "The body is not declared to be application/json.",
    422: "Fields are missing, unknown or wrong, each named; or the idempotency key was used with another body.",
    426: "This path speaks WebSocket only.",
    500: "A fault of the program; with code outcome_unknown the command's id stands in correlation_id.",
    503: "The program cannot do this now; nothing was stored.",
}
_HEADERS: dict[int, Schema] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    405: {"Allow": {"schema": {"type": "string"}}},
    503: {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}},
}
_WRITE_ERRORS = (400, 401, 403, 409, 413, 415, 422, 500, 503)
_READ_ERRORS = (400, 401, 403, 500, 503)


def openapi(catalogue: Catalogue) -> dict[str, Any]:
    """The document: every command, every operation, the stream."""
    paths: dict[str, Any] = {}
    for spec in catalogue.public:
        paths.setdefault(BASE + spec.path, {})["post"] = _write(spec)
    for operation in operations.ALL:
        paths.setdefault(operation.whole, {})[operation.method.lower()] = _operation(operation)
    paths[operations.STREAM.whole] = {"get": _stream()}
    for path in paths:
        paths[path] |= {"parameters": _in_path(path, catalogue)} if "{" in path else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "metawsm", "version": VERSION, "description": ABOUT},
        "servers": [{"url": "http://127.0.0.1:3001"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": of_messages(catalogue) | ANSWERS | RUN_ANSWERS,
            "responses": {str(status): _response(status) for status in _RESPONSES},
            "parameters": {"wait": _wait(), "idempotency_key": _key()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": BEARER}},
        },
    }


def _write(spec: CommandSpec) -> Schema:
    made = _content(ref(f"{spec.answer.capitalize()}Answer"), "Handled, and visible to every reader.")
    kept = _content(ref("CommandAnswer"), "Kept durably, not handled yet.")
    kept["headers"] = {"Location": {"description": "where to look", "schema": {"type": "string"}}}
    return {
        "operationId": spec.name,
        "tags": ["commands"],
        "summary": spec.summary,
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in ("wait", "idempotency_key")],
        "requestBody": {"required": True, "content": _json(ref(spec.message.__name__))},
        "responses": {
            str(spec.status): made,
            "202": kept,
            **_errors(*_WRITE_ERRORS, *([404] if spec.loads or "{" in spec.path else [])),
        },
    }


def _operation(operation: Operation) -> Schema:
    found = [404] if operation.found else []
    refusals = [503] if operation.open else [*_READ_ERRORS, *found]
    refusals += [415, 422] if operation.method == "POST" else []
    refusals += [409] if operation.conflicts else []
    answers = {str(operation.status): _content(ref(operation.answer), operation.summary)} | _errors(*refusals)
    if operation is operations.HEALTH:
        answers["503"] = _content(ref("Health"), "Degraded: something cannot accept, apply or read.")
    described: Schema = {"operationId": operation.name, "tags": ["forum" if operation.forum else "daemon"]}
    described |= {"summary": operation.summary, "responses": answers}
    described |= {"security": [{}]} if operation.open else {}
    if operation.method == "POST":
        body = ref(operation.body) if operation.body else {"type": "object"}
        described["requestBody"] = {"required": bool(operation.body), "content": _json(body)}
    return described | ({"parameters": [_parameter(p) for p in operation.parameters]} if operation.parameters else {})


def _stream() -> Schema:
    return {
        "operationId": "follow_events",
        "tags": ["forum"],
        "summary": "Follow the events over WebSocket; the frames are in the AsyncAPI document",
        "parameters": [_parameter(parameter) for parameter in operations.STREAM.parameters],
        "responses": {"101": {"description": "The connection is a WebSocket now."}, **_errors(400, 401, 403, 426, 503)},
    }


def _in_path(path: str, catalogue: Catalogue) -> list[Schema]:
    about = {name: of_rule(rule) for spec in catalogue.public for name, rule in rules_of(spec.message).items()
             if rule.where == "path"}  # fmt: skip
    return [
        {"name": name, "in": "path", "required": True, "schema": about.get(name, {"type": "string"})}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(parameter: Parameter) -> Schema:
    described: Schema = {"name": parameter.name, "in": "query", "description": parameter.about}
    return described | {"required": parameter.required, "schema": schema_of(parameter)}


def schema_of(parameter: Parameter) -> Schema:
    """What a query parameter may hold."""
    if parameter.kind == "number":
        schema: Schema = {"type": "integer", "minimum": parameter.least, "maximum": parameter.most}
    elif parameter.kind == "choice":
        schema = {"type": "string", "enum": list(parameter.choices)}
    elif parameter.kind == "time":
        schema = {"type": "string", "format": "date-time"}
    else:
        schema = {"type": "string"} | ({"maxLength": parameter.most} if parameter.most else {})
    return schema | ({} if parameter.default is None else {"default": parameter.default})


def _wait() -> Schema:
    schema = {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT, "default": DEFAULT_WAIT}
    return {"name": "wait", "in": "query", "description": "seconds to wait for the outcome", "schema": schema}


def _key() -> Schema:
    about = "makes a repeated write harmless; scoped to credential and route"
    schema = {"type": "string", "minLength": 1, "maxLength": KEY_LIMIT, "pattern": r"^[\x20-\x7e]+$"}
    return {"name": "Idempotency-Key", "in": "header", "description": about, "schema": schema}


def _errors(*statuses: int) -> Schema:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _response(status: int) -> Schema:
    codes = [code for code, own in errors.STATUS.items() if own == status]
    told = f"{_RESPONSES[status]} Codes: {', '.join(codes)}." if codes else _RESPONSES[status]
    return _content(ref("Error"), told) | ({"headers": _HEADERS[status]} if status in _HEADERS else {})


def _content(schema: Schema, about: str) -> Schema:
    return {"description": about, "content": _json(schema)}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}
