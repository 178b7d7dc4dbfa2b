"""The OpenAPI and AsyncAPI documents: complete, sound, and the same as what serves."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from metawsm.api import errors
from metawsm.api.app import Application
from metawsm.api.asyncapi import asyncapi
from metawsm.api.openapi import openapi
from metawsm.bus.catalogue import Catalogue
from metawsm.commands import ALL as COMMANDS
from metawsm.domain import events
from metawsm.messages.topics import Topics
from scripts.reference_pages.errors import codes
from scripts.reference_pages.pages import pages
from tests.support import sources
from tests.support.daemon import BASE
from tests.support.json_schema import KNOWN, faults, resolve
from tests.support.raw_ws import RawWs
from tests.support.rest import Rest

CATALOGUE = Catalogue.of(COMMANDS)
OPENAPI = openapi(CATALOGUE)
ASYNCAPI = asyncapi(CATALOGUE, Topics())
# Written out from the contract, section 5.
PROMISED = {
    "GET /health", "GET /forum/threads", "POST /forum/threads", "GET /forum/threads/{thread_id}",
    "POST /forum/threads/{thread_id}/posts", "POST /forum/threads/{thread_id}/answer",
    "POST /forum/threads/{thread_id}/assign", "POST /forum/threads/{thread_id}/state",
    "POST /forum/threads/{thread_id}/priority", "POST /forum/threads/{thread_id}/close",
    "POST /forum/threads/{thread_id}/seen", "GET /forum/search", "GET /forum/queues", "POST /forum/control/signal",
    "GET /forum/events", "GET /forum/stats", "GET /forum/debug", "GET /forum/commands/{command_id}",
    "GET /forum/stream", "GET /openapi.json", "GET /asyncapi.json", "GET /runs", "GET /runs/{run_id}",
    "GET /forum/dead-letters", "POST /forum/dead-letters/{letter_id}/replay",
    "POST /forum/dead-letters/{letter_id}/discard",
}  # fmt: skip


def operations() -> Iterator[tuple[str, str, Any]]:
    """(path, method, operation) of the OpenAPI document."""
    for path, item in OPENAPI["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method.upper(), operation


def everything(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a document."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from everything(member)
    elif isinstance(value, list):
        for member in value:
            yield from everything(member)


def test_the_documents_are_served(rest: Rest) -> None:
    """GET /openapi.json and /asyncapi.json give what is generated here."""
    assert rest.send("GET", "/openapi.json").body == OPENAPI
    assert rest.send("GET", "/asyncapi.json").body == ASYNCAPI


def test_what_serves_is_documented_and_the_reverse() -> None:
    """The router's routes are exactly the paths and methods of the document."""
    nothing: Any = None
    pages: Any = _Anything()
    app = Application(CATALOGUE, nothing, pages, pages, nothing, pages, True)
    served = {(re.sub(r"<(\w+)[^>]*>", r"{\1}", route.rule), route.method) for route in app._router.routes}
    assert served == {(path, method) for path, method, _ in operations()}


class _Anything:
    """Has every attribute; routes need not be called to be listed."""

    def __getattr__(self, name: str) -> Any:
        return _Anything


def test_everything_promised_is_documented() -> None:
    """Each row of the contract's table is there."""
    documented = {f"{method} {path.removeprefix(BASE)}" for path, method, _ in operations()}
    assert documented >= PROMISED


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    """Each `$ref` points to a part of the same document."""
    for part in everything(document):
        if "$ref" in part:
            assert resolve(part["$ref"], document)


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_schemas_use_what_is_checked_here(document: dict[str, Any]) -> None:
    """Schemas are made of keywords that real answers are held against, and require only members they describe."""
    for schema in everything(document["components"]["schemas"]):
        if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
            assert set(schema) <= KNOWN
            assert set(schema.get("required", ())) <= set(schema["properties"])


def test_operations_are_whole() -> None:
    """Each operation has a name of its own, a summary, its path's parameters and described answers."""
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for path, method, operation in operations():
        assert operation["summary"] and operation["responses"], (path, method)
        declared = {each["name"] for each in OPENAPI["paths"][path].get("parameters", ())}
        assert declared == set(re.findall(r"{(\w+)}", path))
        for answer in operation["responses"].values():
            assert "$ref" in answer or answer["description"]


def test_every_error_code_is_documented() -> None:
    """Each code of the table stands with its status."""
    for code, status in errors.STATUS.items():
        assert code in OPENAPI["components"]["responses"][str(status)]["description"], code


@pytest.mark.parametrize("spec", CATALOGUE.public, ids=lambda spec: spec.name)
def test_bodies_are_described(spec: Any) -> None:
    """The schema of a body knows exactly the fields that the reader knows."""
    from metawsm.bus.fields import rules_of

    known = {name for part in spec.parts for name, rule in rules_of(part).items() if rule.where == "body"}
    assert set(OPENAPI["components"]["schemas"][spec.message.__name__]["properties"]) == known


@pytest.mark.parametrize("spec", CATALOGUE.public, ids=lambda spec: spec.name)
def test_commands_have_a_channel(spec: Any) -> None:
    """Each command has a channel with its topic, a message with its type, and the daemon receives it."""
    channel = ASYNCAPI["channels"][f"command.{spec.name}"]
    assert channel["address"] == f"forum.commands.{spec.name}"
    payload = resolve(next(iter(channel["messages"].values()))["$ref"], ASYNCAPI)["payload"]
    assert payload["properties"]["envelope"]["properties"]["event_type"] == {"const": spec.event_type}
    assert ASYNCAPI["operations"][f"command.{spec.name}"]["action"] == "receive"


def test_commands_of_the_program_to_itself_are_nowhere() -> None:
    """They have no route, no schema and no channel: nobody else may send them."""
    internal = [spec for spec in COMMANDS if spec.internal]
    assert internal
    for spec in internal:
        assert f"command.{spec.name}" not in ASYNCAPI["channels"]
        assert spec.message.__name__ not in OPENAPI["components"]["schemas"]


@pytest.mark.parametrize("fact", events.ALL, ids=lambda fact: str(fact.TYPE))
def test_events_have_a_channel(fact: Any) -> None:
    """Each event type has a channel with its topic and is on the feed; the daemon sends it."""
    name = f"event.{fact.TYPE.removeprefix('forum.')}"
    assert ASYNCAPI["channels"][name]["address"] == f"forum.events.{fact.TYPE.removeprefix('forum.')}"
    assert name in ASYNCAPI["channels"]["feed"]["messages"]
    assert ASYNCAPI["operations"][name]["action"] == "send"


def test_topics_follow_the_policy() -> None:
    """Prefixes and the feed of the policy are the addresses."""
    channels = asyncapi(CATALOGUE, Topics("c", "e", "i", "f"))["channels"]
    assert channels["command.open_thread"]["address"] == "c.open_thread"
    assert channels["event.thread.opened"]["address"] == "e.thread.opened"
    assert channels["feed"]["address"] == "f"


def test_events_on_the_wire_fit_their_schema(rest: Rest) -> None:
    """Real events fit the schema of their message in the AsyncAPI document."""
    thread = rest.open(options=["v1"])["thread_id"]
    rest.done(thread, "assign", assignee_type="human", assignee_name="kb")
    rest.done(thread, "answer", body="v2")
    rest.act(thread, "read", actor_type="agent", actor_name="bob")
    for event in rest.events(thread):
        name = f"event.{event['envelope']['event_type'].removeprefix('forum.')}"
        assert list(faults({"$ref": f"#/components/schemas/{name}"}, event, ASYNCAPI)) == []


def test_frames_fit_their_schema(rest: Rest) -> None:
    """Real frames of the stream fit the schemas of their messages: hello, reset and events."""
    ticket = rest.ticket()
    path = f"{BASE}/forum/stream?ticket={ticket}&cursor={10**9}"
    with RawWs(rest.daemon.port, path, Host="localhost") as socket:
        received = [json.loads(socket.receive_text()) for _ in range(2)]
        rest.open(ticket=ticket)
        received.append(json.loads(socket.receive_text()))
    assert [frame["type"] for frame in received] == ["hello", "reset", "forum.events"]
    for frame in received:
        schema = ASYNCAPI["components"]["messages"][frame["type"]]["payload"]
        assert list(faults(schema, frame, ASYNCAPI)) == []


def test_the_checker_finds_faults() -> None:
    """A wrong type, a missing, an undescribed and an impossible member are found (else nothing above means much)."""
    view = {"$ref": "#/components/schemas/Seen"}
    good = {"thread_id": "x", "viewer_type": "human", "viewer_id": "kb", "last_seen_event_sequence": 1}
    assert list(faults(view, good, OPENAPI)) == []
    for wrong in ({"viewer_type": "robot"}, {"last_seen_event_sequence": "1"}, {"thread_id": None}, {"more": 1}):
        assert list(faults(view, good | wrong, OPENAPI)), wrong
    assert list(faults(view, {"thread_id": "x"}, OPENAPI))
    assert list(faults({"oneOf": [view]}, {}, OPENAPI))


def test_documented_parameters_are_read(rest: Rest) -> None:
    """Each value that a document allows is taken: every word, the least and the greatest number."""
    thread = rest.open()["thread_id"]
    needed = {"type": "unanswered", "query": "x", "agent_name": "bob", "viewer_type": "human", "viewer_id": "kb"}
    for path, method, operation in operations():
        known = {each["name"]: each["schema"] for each in operation.get("parameters", ()) if "name" in each}
        if method != "GET" or path.endswith("/stream"):
            continue
        for name, schema in known.items():
            for value in _values(schema) if name not in ("query", "cursor") or schema["type"] == "integer" else ():
                query = {each: text for each, text in needed.items() if each in known} | {name: value}
                target = f"{path.format(thread_id=thread, command_id='x')}?{urlencode(query)}"
                assert rest.send("GET", target).status == 200, target


def _values(schema: dict[str, Any]) -> list[Any]:
    if "enum" in schema:
        return list(schema["enum"])
    if schema.get("format") == "date-time":
        return ["2026-01-01T00:00:00Z"]
    return [schema["minimum"], schema["maximum"]] if schema["type"] == "integer" else ["x"]


@pytest.mark.parametrize("name", pages())
def test_reference_pages_are_up_to_date(name: str) -> None:
    """docs/reference is what scripts/reference writes now."""
    page = sources.ROOT / "docs" / "reference" / name
    assert page.read_text(encoding="utf-8") == pages()[name], "run scripts/reference"


def test_every_error_code_has_its_row() -> None:
    """The page about errors has each code that HTTP may answer with, those of the server itself included."""
    named = {
        code
        for path in sources.modules("metawsm/api")
        for code in re.findall(r'Refusal\(\s*\d+, "(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert named | set(errors.STATUS) <= set(codes())
