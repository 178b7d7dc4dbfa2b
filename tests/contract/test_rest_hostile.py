"""Hostile text in every field: refused, or stored and given back exactly; never a fault of the program."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.raw_http import RawHttp
from tests.support.rest import Rest

STORED = [
    "'; DROP TABLE forum_threads; --", '" OR 1=1 --', "%_[]\\", "title:x AND (NEAR(a b) OR *)", 'a" OR "b', "^a* -b +c",
    "{{7*7}} ${x} %s %(x)s {0}", "<script>alert(1)</script>&amp;", "\x01\x07\x08\x1b[31m\x7f\x80\x9b",
    "\u202eevil\u2066\ufeff",
    "\U0001f600\U0010ffff\ufffe\uffff", "e\u0301\u00e9\u0130\u1e9e", "\r\n\t\x0b\x0c\u2028\u2029 x",
    "../../etc/passwd", "null",
    '{"a":"\\u0000"}', "a" * 128,
]  # fmt: skip
TEXTS = ("title", "body", "actor_name", "correlation_id", "causation_id")


@pytest.mark.parametrize("text", STORED, ids=range(len(STORED)))
def test_texts_come_back_exactly(rest: Rest, text: str) -> None:
    """Each text in each free field of a question is in view, posts and event as sent, and can be searched for."""
    fields = dict.fromkeys(TEXTS, text)
    view = rest.open(**fields, options=[text])
    thread = view["thread_id"]
    assert (view["title"], view["opened_by_name"]) == (text, text)
    event = rest.events(thread)[0]
    assert event["payload"].items() >= {"title": text, "body": text, "options": [text]}.items()
    assert (event["envelope"]["actor_name"], event["envelope"]["correlation_id"]) == (text, text)
    assert rest.send("GET", f"/forum/threads/{thread}").body["posts"][0]["body"] == text
    found = rest.send("GET", f"/forum/search?query={quote(text)}&ticket={view['ticket']}")
    assert found.status == 200
    assert rest.send("GET", f"/forum/threads?assignee={quote(text)}&ticket={quote(text)}").body == {"threads": []}


@pytest.mark.parametrize("text", STORED, ids=range(len(STORED)))
def test_texts_of_actions_come_back_exactly(rest: Rest, text: str) -> None:
    """The same for posts, answers, assignees, notes, reasons, viewers and signals."""
    view = rest.open()
    thread, ticket = view["thread_id"], view["ticket"]
    rest.done(thread, "posts", body=text)
    rest.done(thread, "answer", body=text)
    assigned = rest.done(thread, "assign", assignee_type="human", assignee_name=text, assignment_note=text)
    assert assigned["assignee_name"] == text.strip()
    listed = rest.send("GET", f"/forum/threads?assignee={quote(text.strip())}&ticket={ticket}").body["threads"]
    assert [each["thread_id"] for each in listed] == [thread]
    seen = rest.act(thread, "seen", viewer_type="human", viewer_id=text).body["seen"]
    assert seen["viewer_id"] == text
    viewer = f"viewer_type=human&viewer_id={quote(text)}"
    assert rest.send("GET", f"/forum/threads?ticket={ticket}&{viewer}").body["threads"][0]["is_unseen"] is False
    rest.done(thread, "state", to_state="waiting_human", reason=text)
    rest.done(thread, "close", reason=text)
    payloads = [event["payload"] for event in rest.events(thread)]
    assert [p["body"] for p in payloads if "kind" in p] == [text, text]
    assert [p["note"] for p in payloads if "note" in p] == [text]
    assert [p["reason"] for p in payloads if "reason" in p] == [text, text]


@pytest.mark.parametrize("text", STORED, ids=range(len(STORED)))
def test_texts_of_signals_come_back_exactly(rest: Rest, text: str) -> None:
    """The same for the members of a control signal."""
    who = {"run_id": f"run-{rest.ticket()}", "agent_name": "bob"}
    payload = {"control_type": "guidance_request", "question": text, "context": text, **who}
    body = {"ticket": rest.ticket(), "actor_type": "agent", "payload": payload, **who}
    thread = rest.send("POST", "/forum/control/signal", body).body["thread"]["thread_id"]
    signal = rest.send("GET", f"/forum/threads/{thread}").body["posts"][-1]["signal"]
    assert (signal["question"], signal["context"]) == (text, text)


IN_PATH = [
    "'; DROP TABLE x", "..%2f..%2fx", "%00", "%0a", "%e2%80%ae", "x" * 256, "x" * 5000, "%ff", "%ed%a0%80",
    "{thread_id}",
    "<thread_id>", "%25", "a;b", "a%3fb", "%20", ".", "..", "%", "%zz", "fthr-%C3%A4", "\u00e4", "*", "%5c",
]  # fmt: skip


@pytest.mark.parametrize("text", IN_PATH, ids=range(len(IN_PATH)))
@pytest.mark.parametrize("path", ["/forum/threads/{}", "/forum/commands/{}", "/forum/{}", "/forum/threads/{}/close"])
def test_paths(rest: Rest, path: str, text: str) -> None:
    """Anything in a path is 4xx in the common error form, and changes nothing."""
    method = "POST" if path.endswith("close") else "GET"
    target = f"/api/v1{path.format(text)}".replace(" ", "%20")
    lines = ("Host: localhost", "Content-Type: application/json", "Content-Length: 2", "", "{}")
    head = "\r\n".join((f"{method} {target} HTTP/1.1", *lines))
    with rest.nothing_happens(), RawHttp(rest.daemon.port) as connection:
        answer = connection.ask(head.encode())
    assert 400 <= answer.status < 500, answer.body
    assert set(answer.json()["error"]) >= {"code", "message", "correlation_id"}


@pytest.mark.parametrize("name", ["colour", "", "a" * 10_000, "\u0000", "\ud800", "'\"", "__class__", "self", "\u202e"])
def test_names_of_fields(rest: Rest, name: str) -> None:
    """A hostile name of a field is named in the answer, as it was sent."""
    body: dict[str, Any] = {"ticket": "T", "title": "x", "body": "y", "actor_type": "agent", name: 1}
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", body)
    assert reply.status == 422 and list(reply.error["fields"]) == [name]


QUERIES = [
    '"',
    '"" OR',
    "AND",
    "*",
    "a*",
    "NEAR(",
    "x:y",
    "(",
    ")",
    "-",
    "^",
    "{a b}:c",
    "' OR '",
    "\x00",
    "\u202e",
    "a" * 500,
]


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_search_syntax_means_nothing(rest: Rest, query: str) -> None:
    """What FTS5 would take as syntax is text: an answer, never an error."""
    assert rest.send("GET", f"/forum/search?query={quote(query)}").status == 200


def test_a_thousand_members(rest: Rest) -> None:
    """A body with very many unknown members is refused without trouble."""
    with rest.nothing_is_stored():
        assert rest.send("POST", "/forum/threads", {f"f{n}": n for n in range(5000)}).status == 422
