"""Requests with bad intent: from other sites, in other encodings, with hostile text in every field and parameter."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.at_rest import check_at_rest
from tests.support.daemon import Daemon, Reply
from tests.support.json_schema import resolve
from tests.support.ledger import database
from tests.support.raw_http import RawHttp
from tests.support.raw_ws import handshake

OPEN: dict[str, Any] = {"ticket": "MET-1", "title": "Which schema?", "body": "v1 or v2?", "actor_type": "agent"}
BRIEF = {"goal": "g", "scope": "s", "done_criteria": "d", "constraints": "c"}
PLANNED: dict[str, Any] = {"mode": "bootstrap", "tickets": ["MET-1"], "repos": ["backend"], "paused": True, **BRIEF}
TEXTS = [
    "'; DROP TABLE forum_threads; --", '" OR 1=1 --', "%_[]\\", "title:x AND (NEAR(a b) OR *)", 'a" OR "b', "^a* -b +c",
    "{{7*7}} ${x} %s %(x)s {0}", "<script>alert(1)</script>&amp;", "\x01\x07\x08\x1b[31m\x7f\x80\x9b",
    "\u202eevil\u2066\ufeff", "\U0001f600\U0010ffff\ufffe\uffff", "e\u0301\u00e9\u0130\u1e9e",
    "\r\n\t\x0b\x0c\u2028\u2029 x", "../../etc/passwd", "null", '{"a":"\\u0000"}', "a" * 128, "-1", "0", "[]",
]  # fmt: skip
NEVER = ["a\x00b", "\x00", "\ud800", "x\udfff", "\udc80" * 3]  # that no text may hold
THREAD = re.compile(r"fthr-[\w-]+")
BOUND = ("command_id", "answers", "base")  # texts that mean something: used before, a post's id, a branch
LONG = ["x" * 65_537, "\u00e4" * 65_536, "\x01" * 65_537]  # longer than any field
REQUIRED: dict[str, dict[str, Any]] = {
    "open_thread": OPEN,
    "add_post": {"body": "b"},
    "answer_thread": {"body": "b"},
    "assign_thread": {"assignee_type": "human", "assignee_name": "kb"},
    "change_state": {"to_state": "triaged"},
    "set_priority": {"priority": "high"},
    "close_thread": {},
    "mark_seen": {"viewer_type": "human", "viewer_id": "kb"},
    "read_answers": {"actor_type": "agent", "actor_name": "bob"},
    "signal": {"run_id": "run-1", "ticket": "MET-1", "agent_name": "bob"},
    "start_run": PLANNED,
    "resume_run": {},
    "stop_run": {},
    "restart_run": {},
    "iterate_run": {"feedback": "f"},
    "merge_run": {},
    "close_run": {},
    "cleanup_run": {},
}
NOT_NOW = {"merge_run", "close_run"}  # with a run that is only planned


class Door:
    """A daemon with its document, and requests that must never be answered 5xx."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.document = daemon.request("GET", "/openapi.json").body

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        """Send; the answer is below 500 and JSON, and an error has the common form."""
        reply = self.daemon.request(method, path, body)
        assert reply.status < 500, (method, path, body, reply.text)
        assert reply.status < 400 or set(reply.error) >= {"code", "message", "correlation_id"}, reply.text
        return reply

    def open(self) -> str:
        """A new thread."""
        found: str = self.send("POST", "/forum/threads", OPEN).body["thread"]["thread_id"]
        return found

    def start(self) -> str:
        """A new run that is only planned."""
        found: str = self.send("POST", "/runs", PLANNED | {"actor_type": "operator"}).body["run"]["run_id"]
        return found

    def target(self, path: str) -> str:
        """The path of a command for a new thread or run of its own."""
        own = (
            {"thread_id": self.open} if "{thread_id}" in path else {"run_id": self.start} if "{run_id}" in path else {}
        )
        return path.format(**{name: make() for name, make in own.items()}).removeprefix("/api/v1")

    def commands(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(name, path, properties of the body) of every command."""
        for path, item in self.document["paths"].items():
            if "post" in item and "commands" in item["post"]["tags"]:
                schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
                yield item["post"]["operationId"], path, resolve(schema["$ref"], self.document)["properties"]

    def stored(self, reply: Reply) -> set[str]:
        """Every text in what readers are given about the thread or the run of an answer, and in the answer."""
        found = {*leaves(reply.body)}
        if "run" in reply.body:
            run = reply.body["run"]["run_id"]
            found |= {*leaves(self.send("GET", f"/runs/{run}").body)}
            return found | {*leaves(self.send("GET", f"/forum/events?run_id={run}").body)}
        for thread in {*THREAD.findall(reply.text)}:
            found |= {*leaves(self.send("GET", f"/forum/threads/{thread}").body)}
            found |= {*leaves(self.send("GET", f"/forum/events?thread_id={thread}").body)}
        return found


def leaves(value: Any) -> Iterator[str]:
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    for member in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from leaves(member)


def is_free(schema: dict[str, Any]) -> bool:
    """Whether a field takes any text, and shows it to readers."""
    return schema.get("type") == "string" and "enum" not in schema and schema.get("pattern", r"\S") == r"\S"


def test_hostile_text_in_every_free_field(daemon: Daemon) -> None:
    """Each text in all free fields of each command at once is stored and given back exactly; half texts are refused."""
    door = Door(daemon)
    names = {name for name, _, _ in door.commands()}
    assert names == set(REQUIRED), "a command is missing here"
    for name, path, properties in door.commands():
        free = [field for field, schema in properties.items() if is_free(schema) and field not in BOUND]
        for text in TEXTS:
            body = {"actor_type": "operator"} | REQUIRED[name] | dict.fromkeys(free, text) | signal(name, text)
            reply = door.send("POST", door.target(path), body)
            assert reply.status in ((409,) if name in NOT_NOW else (200, 201)), (name, text, reply.text)
            found = door.stored(reply)
            assert name in NOT_NOW or text in found or text.strip() in found, (name, text)
        target = door.target(path)
        for text in [*NEVER, *LONG]:
            for field in free:
                body = {"actor_type": "operator"} | REQUIRED[name] | {field: text} | signal(name, "x")
                reply = door.send("POST", target, body)
                assert (reply.status, list(reply.error["fields"])) == (422, [field]), (name, field, text[:9])
    check_at_rest(daemon)


def signal(name: str, text: str) -> dict[str, Any]:
    """The payload of a signal that carries the text."""
    asked = {"control_type": "guidance_request", "question": text, "context": text}
    return {"payload": asked} if name == "signal" else {}


@pytest.mark.parametrize("part", [0.2, pytest.param(1.0, marks=pytest.mark.faults)])
def test_hostile_values_in_every_field_alone(daemon: Daemon, part: float) -> None:
    """Texts and wrong types in each single field of each command: taken or refused, never a fault of ours."""
    door = Door(daemon)
    dice = random.Random(1)
    values: list[Any] = [*TEXTS, *NEVER, "x" * 70_000, "", " ", 0, -1, 2**63, 2**70, 1e308, True, [], {}, {"a": 1}]
    statuses = set()
    for name, path, properties in door.commands():
        target = door.target(path)
        whole = {"actor_type": "operator"} | REQUIRED[name] | signal(name, "x")
        for field in [*properties, "unknown", "__class__", "\u202e", "\ud800"]:
            for value in [value for value in values if dice.random() < part]:
                statuses.add(door.send("POST", target, whole | {field: value}).status)
    assert statuses <= {200, 201, 403, 409, 422}
    check_at_rest(daemon)


def test_hostile_values_in_every_parameter(daemon: Daemon) -> None:
    """Each text in each query parameter and place of a path: an answer or a 4xx."""
    door = Door(daemon)
    for text in TEXTS:
        door.send("POST", "/forum/threads", OPEN | {"title": text, "body": text})
    raw = ["%00", "%ff", "%ed%a0%80", "%", "%zz", "a&b", "=", "a=b", "+", ";", "#", "", "9" * 400]
    wires = [*raw, *(quote(text) for text in TEXTS)]
    for path, item in door.document["paths"].items():
        if "get" not in item or path.endswith("/stream"):
            continue
        names = [each["name"] for each in item["get"].get("parameters", ()) if "name" in each]
        for wire in wires:
            place = re.sub(r"{\w+}", wire.replace("#", "%23").replace("/", "%2f") or "x", path)
            door.send("GET", place)
            for name in names:
                door.send("GET", f"{re.sub('{.*?}', 'x', path)}?{name}={wire}")
    check_at_rest(daemon)


WHERE: list[tuple[dict[str, str], int]] = [
    ({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403), ({"Origin": "http://127.0.0.1:1"}, 403),
    ({"Host": "evil.example"}, 403), ({"Host": "127.0.0.1.evil.example"}, 403), ({"Host": ""}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403), ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Content-Type": "text/plain"}, 415), ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "multipart/form-data; boundary=x"}, 415), ({"Content-Type": "text/plain; application/json"}, 415),
    ({"X-Forwarded-For": "10.0.0.1"}, 401), ({"Authorization": "Bearer wrong"}, 401),
]  # fmt: skip


def test_writes_from_elsewhere_are_refused(daemon: Daemon) -> None:
    """Another origin or host, a form or plain text, a proxy's or a wrong credential: refused on every route."""
    door = Door(daemon)
    for _, path, _ in door.commands():
        for headers, status in WHERE:
            reply = daemon.request(
                "POST", path.format(thread_id="fthr-1", run_id="run-1"), OPEN, headers, anonymous=True
            )
            assert (reply.status, set(reply.error) >= {"code", "message"}) == (status, True), (path, headers)
    form = b"ticket=MET-1&title=t&body=b&actor_type=agent"
    sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://evil.example"}
    assert daemon.request("POST", "/forum/threads", form, sent, anonymous=True).status == 403
    assert daemon.request("POST", "/forum/threads", b'{"ticket": "\xff"}', anonymous=True).status == 400
    with database(daemon.database) as db:
        assert db.execute("SELECT count(*) FROM forum_outbox").get == 0
    for changes in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
        with RawHttp(daemon.port) as client:
            wanted = {"Host": f"127.0.0.1:{daemon.port}"} | changes
            assert client.ask(handshake("/api/v1/forum/stream", **wanted)).status == 403
