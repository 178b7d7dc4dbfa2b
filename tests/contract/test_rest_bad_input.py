"""Bad requests: the right status, every fault named, and nothing half done (contract, section 5)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.rest import Rest

OPEN = {"ticket": "T-1", "title": "Which schema?", "body": "v1 or v2?", "actor_type": "agent"}
# route -> a body without a fault
GOOD: dict[str, dict[str, Any]] = {
    "/forum/threads": OPEN,
    "/forum/threads/{id}/posts": {"body": "x", "actor_type": "human"},
    "/forum/threads/{id}/answer": {"body": "x", "actor_type": "human"},
    "/forum/threads/{id}/assign": {"assignee_type": "human", "assignee_name": "kb", "actor_type": "human"},
    "/forum/threads/{id}/state": {"to_state": "triaged", "actor_type": "human"},
    "/forum/threads/{id}/priority": {"priority": "high", "actor_type": "human"},
    "/forum/threads/{id}/close": {"actor_type": "human"},
    "/forum/threads/{id}/seen": {"viewer_type": "human", "viewer_id": "kb", "actor_type": "human"},
    "/forum/threads/{id}/read": {"actor_type": "agent"},
    "/forum/control/signal": {"run_id": "run-1", "ticket": "T-1", "agent_name": "bob", "actor_type": "agent",
                              "payload": {"control_type": "completion"}},
}  # fmt: skip
SEEN_BY_THE_ACTOR = ("/forum/threads/{id}/seen", "actor_type")
REQUIRED = [(route, name) for route, body in GOOD.items() for name in body if (route, name) != SEEN_BY_THE_ACTOR]
TEXTS = [
    ("/forum/threads", "title"), ("/forum/threads", "body"), ("/forum/threads/{id}/posts", "body"),
    ("/forum/threads/{id}/answer", "body"), ("/forum/threads/{id}/seen", "viewer_id"),
]  # fmt: skip


@pytest.fixture(scope="module")
def thread(rest: Rest) -> str:
    """A thread that the routes are about."""
    return str(rest.open()["thread_id"])


def refused(rest: Rest, route: str, thread: str, body: Any) -> dict[str, Any]:
    """Send a body with faulty fields; give the faults by field."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", route.replace("{id}", thread), body)
    assert (reply.status, reply.error["code"]) == (422, "invalid_fields"), reply.text
    assert all(name in reply.error["message"] for name in reply.error["fields"])
    faults: dict[str, Any] = reply.error["fields"]
    return faults


@pytest.mark.parametrize(("route", "name"), REQUIRED)
def test_a_missing_field(rest: Rest, thread: str, route: str, name: str) -> None:
    """Each required field is named when it is missing, and when it is null."""
    body = {member: value for member, value in GOOD[route].items() if member != name}
    assert refused(rest, route, thread, body) == {name: ["is required"]}
    assert refused(rest, route, thread, body | {name: None}) == {name: ["is required"]}


@pytest.mark.parametrize("route", GOOD)
def test_an_unknown_field(rest: Rest, thread: str, route: str) -> None:
    """A field that is not known is named, with those that are."""
    faults = refused(rest, route, thread, GOOD[route] | {"colour": "red"})
    assert list(faults) == ["colour"] and "actor_type" in faults["colour"][0]


@pytest.mark.parametrize("route", GOOD)
@pytest.mark.parametrize("value", [5, True, ["x"], {"x": 1}, 1.5])
def test_wrong_types(rest: Rest, thread: str, route: str, value: Any) -> None:
    """A value of the wrong type in every field at once names every field."""
    body = {name: value for name in GOOD[route] if not (name == "payload" and isinstance(value, dict))}
    assert set(refused(rest, route, thread, GOOD[route] | body)) == set(body)


def test_all_faults_at_once(rest: Rest, thread: str) -> None:
    """Missing, unknown and wrong fields, and the missing actor, are named in one answer."""
    faults = refused(rest, "/forum/threads", thread, {"ticket": "no spaces", "body": 1, "x": 1, "priority": "soon"})
    assert set(faults) == {"ticket", "title", "body", "x", "priority", "actor_type"}


WORDS = [
    ("/forum/threads", "priority"), ("/forum/threads/{id}/priority", "priority"), ("/forum/threads/{id}/state",
    "to_state"),
    ("/forum/threads", "actor_type"), ("/forum/threads/{id}/assign", "assignee_type"),
    ("/forum/threads/{id}/seen", "viewer_type"), ("/forum/threads/{id}/posts", "kind"),
]  # fmt: skip


@pytest.mark.parametrize(("route", "name"), WORDS)
@pytest.mark.parametrize("word", ["nonsense", "", "NEW", " human"])
def test_unknown_words(rest: Rest, thread: str, route: str, name: str, word: str) -> None:
    """An unknown state, priority, actor or kind is named with the words that are possible."""
    faults = refused(rest, route, thread, GOOD[route] | {name: word})
    assert list(faults) == [name] and faults[name][0].startswith("must be one of: ")


NAMES = ("", " ", "-x", ".x", "a b", "a/b", "ä", "x" * 65, "a\n", "a\x00", "../x")


@pytest.mark.parametrize("value", NAMES)
def test_names_have_a_grammar(rest: Rest, thread: str, value: str) -> None:
    """Ticket, run and agent names outside the grammar are refused, each named."""
    wrong = dict.fromkeys(("ticket", "run_id", "agent_name"), value)
    assert set(refused(rest, "/forum/threads", thread, OPEN | wrong)) == set(wrong)
    faults = refused(rest, "/forum/control/signal", thread, GOOD["/forum/control/signal"] | wrong)
    assert set(faults) == set(wrong)


@pytest.mark.parametrize("value", ["x" * 64, "0", "A.b_c-d"])
def test_names_inside_the_grammar(rest: Rest, value: str) -> None:
    """The longest name and every allowed character are taken."""
    view = rest.open(ticket=value, run_id=value, agent_name=value)
    assert (view["ticket"], view["run_id"], view["agent_name"]) == (value,) * 3


@pytest.mark.parametrize("value", ["fthr-", "x", "fthr-A", "fthr-a b", "fthr-" + "x" * 61, "fctrl-a-b", "fthr-a\n"])
def test_thread_ids_have_a_grammar(rest: Rest, thread: str, value: str) -> None:
    """A thread_id of the client's outside the grammar is refused."""
    assert set(refused(rest, "/forum/threads", thread, OPEN | {"thread_id": value})) == {"thread_id"}


@pytest.mark.parametrize(("route", "name"), TEXTS)
@pytest.mark.parametrize("value", ["", " \n\t", "a\x00b", "\ud800", "x\udfff"])
def test_texts_that_cannot_be(rest: Rest, thread: str, route: str, name: str, value: str) -> None:
    """Blank required texts, NUL and half characters are refused."""
    assert set(refused(rest, route, thread, GOOD[route] | {name: value})) == {name}


LONG: list[tuple[str, str, Any]] = [
    ("/forum/threads", "title", "ä" * 301), ("/forum/threads", "body", "x" * 65537), ("/forum/threads", "body",
    "ä" * 32769),
    ("/forum/threads/{id}/posts", "body", "x" * 65537), ("/forum/threads/{id}/answer", "body", "x" * 65537),
    ("/forum/threads", "actor_name", "x" * 129), ("/forum/threads/{id}/assign", "assignee_name", "x" * 129),
    ("/forum/threads/{id}/assign", "assignment_note", "x" * 4097), ("/forum/threads/{id}/state", "reason", "x" * 4097),
    ("/forum/threads/{id}/close", "reason", "ä" * 2049), ("/forum/threads/{id}/seen", "viewer_id", "x" * 129),
    ("/forum/threads", "options", ["x"] * 21), ("/forum/threads", "options", ["x" * 201]),
    ("/forum/threads", "options", [" "]), ("/forum/threads", "options", [1]), ("/forum/threads", "options", "x"),
    ("/forum/threads", "correlation_id", "x" * 129), ("/forum/threads", "command_id", "x" * 129),
    ("/forum/threads/{id}/posts", "expected_sequence", -1), ("/forum/threads/{id}/posts", "expected_sequence", 2**53),
    ("/forum/threads/{id}/posts", "expected_sequence", "1"), ("/forum/threads/{id}/posts", "expected_sequence", True),
    ("/forum/threads/{id}/seen", "last_seen_event_sequence", 1.0),
    ("/forum/threads", "expected_sequence", 1),
]  # fmt: skip


@pytest.mark.parametrize(("route", "name", "value"), LONG)
def test_values_out_of_bounds(rest: Rest, thread: str, route: str, name: str, value: Any) -> None:
    """What is too long, too many, negative or beyond exact numbers is refused and named."""
    assert set(refused(rest, route, thread, GOOD[route] | {name: value})) == {name}


def test_the_longest_texts_are_taken(rest: Rest) -> None:
    """300 characters of title and 64 KiB of body are stored whole."""
    title, body = "ä" * 300, "ä" * 32768
    view = rest.open(title=title, body=body)
    assert view["title"] == title
    assert rest.send("GET", f"/forum/threads/{view['thread_id']}").body["posts"][0]["body"] == body


def test_a_thread_id_in_body_and_path(rest: Rest, thread: str) -> None:
    """A thread_id in the body that is not the path's is refused; the same one is borne."""
    body = {"body": "x", "actor_type": "human", "thread_id": "y"}
    assert set(refused(rest, "/forum/threads/{id}/posts", thread, body)) == {"thread_id"}
    assert rest.send("POST", f"/forum/threads/{thread}/posts", body | {"thread_id": thread}).status == 200


BROKEN = [
    b"{", b"{'a': 1}", b"[]", b'"x"', b"5", b"null", b"true",
    b"\xff\xfe{}", b'{"body": "\xff"}', b'{"body": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}", "{}".encode("utf-16"), b'{"a": NaN}', b'{"a": Infinity}', b"{}{}", b"[" * 100_000,
    b'{"a":' * 100_000, b'{"a": ' + b"9" * 10_000 + b"}", b"\x00",
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("route", ["/forum/threads", "/forum/threads/{id}/close"])
def test_a_body_that_is_no_json_object(rest: Rest, thread: str, route: str, body: bytes) -> None:
    """Broken JSON, another value than an object, another encoding than UTF-8: 400 malformed."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", route.replace("{id}", thread), body)
    assert (reply.status, reply.error["code"]) == (400, "malformed"), reply.text


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type(rest: Rest, thread: str, kind: str | None) -> None:
    """A body that is not declared as JSON is 415, on commands and on the rebuild."""
    with rest.nothing_is_stored():
        for path in (f"/forum/threads/{thread}/close", "/forum/rebuild"):
            reply = rest.send("POST", path, {"actor_type": "human"}, {"Content-Type": kind})
            assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")


def test_parameters_of_the_content_type_are_borne(rest: Rest) -> None:
    """`application/json; charset=utf-8` in any case is JSON."""
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}
    assert rest.send("POST", "/forum/threads", OPEN, headers).status == 201


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
def test_another_content_encoding(rest: Rest, thread: str, coding: str) -> None:
    """A body that is said to be compressed is 415 that names the coding; `identity` says nothing."""
    with rest.nothing_is_stored():
        for path in (f"/forum/threads/{thread}/close", "/forum/rebuild"):
            reply = rest.send("POST", path, {"actor_type": "human"}, {"Content-Encoding": coding})
            assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")
            assert f"not {coding!r}" in reply.error["message"]
    assert rest.send("POST", "/forum/threads", OPEN, {"Content-Encoding": "Identity"}).status == 201


def test_a_number_of_very_many_digits(rest: Rest) -> None:
    """It is refused in words about the number, not about the Python that reads it."""
    reply = rest.send("POST", "/forum/threads", b'{"title": ' + b"9" * 4996 + b"}")
    assert reply.error["message"] == "the body is not JSON: a number has more than 4300 digits"


def test_an_oversized_body(rest: Rest) -> None:
    """A body beyond the server's limit is 413 in the common error form, and the daemon goes on."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", json.dumps(OPEN | {"body": "x" * 2_000_000}).encode())
    assert (reply.status, reply.error["code"]) == (413, "too_large")
    assert rest.send("GET", "/readyz").status == 200


QUERIES = [
    ("/forum/threads?colour=red", "colour"), ("/forum/threads?state=open", "state"), ("/forum/threads?state=New",
    "state"),
    ("/forum/threads?priority=x", "priority"), ("/forum/threads?limit=0", "limit"), ("/forum/threads?limit=501",
    "limit"),
    ("/forum/threads?limit=-1", "limit"), ("/forum/threads?limit=1e2", "limit"), ("/forum/threads?limit=%D9%A1",
    "limit"),
    ("/forum/threads?sort=age", "sort"), ("/forum/threads?viewer_type=human", "viewer_id"),
    ("/forum/threads?viewer_id=kb", "viewer_type"), ("/forum/threads?viewer_type=robot&viewer_id=x", "viewer_type"),
    ("/forum/queues", "type"), ("/forum/queues?type=all", "type"), ("/forum/queues?type=mine", "viewer_id"),
    ("/forum/queues?type=unseen", "viewer_type"), ("/forum/search", "query"), ("/forum/search?query=%20", "query"),
    ("/forum/search?query=" + "x" * 501, "query"), ("/forum/events?cursor=-1", "cursor"),
    ("/forum/events?cursor=x", "cursor"), ("/forum/events?limit=1001", "limit"),
    ("/forum/events?cursor=" + "9" * 30, "cursor"),
    ("/forum/stats?limit=0", "limit"), ("/forum/debug?limit=501", "limit"), ("/forum/debug?x=1", "x"),
    ("/forum/threads/fthr-x?limit=501", "limit"), ("/forum/threads/fthr-x?posts_before=x", "posts_before"),
    ("/forum/commands/x?y=1", "y"), ("/health?x=1", "x"), ("/forum/threads?state=new&ticket=a&state=new", "state"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "name"), QUERIES)
def test_bad_queries(rest: Rest, path: str, name: str) -> None:
    """A bad value, a missing or an unknown parameter of a query is 400, and named."""
    reply = rest.send("GET", path)
    assert (reply.status, reply.error["code"]) == (400, "malformed"), reply.text
    assert name in reply.error["fields"] and name in reply.error["message"]


@pytest.mark.parametrize("query", ["ticket=a&ticket=b", "ticket=%ff", "ticket=%ED%A0%80", "&".join(["x=1"] * 100)])
def test_queries_that_cannot_be_read(rest: Rest, query: str) -> None:
    """A repeated parameter, bytes that are not UTF-8, too many parameters: 400."""
    assert rest.send("GET", f"/forum/threads?{query}").error["code"] == "malformed"


CURSORS = ["x", "%00", "e30", "W10", "WzEsMiwzXQ", "x" * 2000, "bnVsbA", "%C3%A4", "MQ==", "WyJhIl0"]


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("path", ["threads?", "queues?type=unanswered&", "search?query=x&", "stats?"])
def test_bad_cursors(rest: Rest, path: str, cursor: str) -> None:
    """A cursor that this program did not give out is 400."""
    reply = rest.send("GET", f"/forum/{path}cursor={cursor}")
    assert (reply.status, reply.error["code"]) == (400, "malformed")
    assert "cursor" in reply.error["message"] and list(reply.error["fields"]) == ["cursor"]


def test_a_cursor_of_another_query(rest: Rest) -> None:
    """A cursor is good for its own query only."""
    ticket = rest.ticket()
    for _ in range(2):
        rest.open(ticket=ticket)
    cursor = rest.send("GET", f"/forum/threads?ticket={ticket}&limit=1").body["next_cursor"]
    assert rest.send("GET", f"/forum/threads?limit=1&cursor={cursor}").status == 400


@pytest.mark.parametrize("wait", ["x", "-1", "31", "nan", "inf", "1e9", "%00"])
def test_bad_waits(rest: Rest, wait: str) -> None:
    """`wait` is a number of seconds from 0 to 30."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", f"/forum/threads?wait={wait}", OPEN)
    assert (reply.status, list(reply.error["fields"])) == (400, ["wait"])


@pytest.mark.parametrize("query", ["x=1", "wait=1&wait=2"])
def test_bad_queries_of_writes(rest: Rest, query: str) -> None:
    """A write knows `wait`, once, and nothing else."""
    with rest.nothing_is_stored():
        assert rest.send("POST", f"/forum/threads?{query}", OPEN).error["code"] == "malformed"


@pytest.mark.parametrize("key", ["", "x" * 129, "a\tb", "\u00e4"])
def test_bad_idempotency_keys(rest: Rest, key: str) -> None:
    """A key has 1 to 128 printable ASCII characters."""
    with rest.nothing_is_stored():
        reply = rest.send("POST", "/forum/threads", OPEN, {"Idempotency-Key": key})
    assert (reply.status, reply.error["code"]) == (400, "malformed")


@pytest.mark.parametrize(
    "path", ["/nothing", "/forum", "/forum/threads/", "/forum/threads/a/b/c", "/../x", "/api/v2/health"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths(rest: Rest, method: str, path: str) -> None:
    """What is not there is 404 in the common error form, whatever the method."""
    reply = rest.send(method, path)
    assert (reply.status, reply.error["code"]) == (404, "not_found")


ALLOWED = {
    "/health": {"GET"}, "/forum/threads": {"GET", "POST"}, "/forum/threads/fthr-x": {"GET"},
    "/forum/threads/fthr-x/posts": {"POST"}, "/forum/search": {"GET"}, "/forum/rebuild": {"GET", "POST"},
    "/forum/stream": {"GET"}, "/livez": {"GET"}, "/forum/control/signal": {"POST"}, "/openapi.json": {"GET"},
}  # fmt: skip


@pytest.mark.parametrize("path", ALLOWED)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods(rest: Rest, method: str, path: str) -> None:
    """A method that the path does not know is 405; `Allow` names those it knows."""
    if method in ALLOWED[path]:
        return
    with rest.nothing_is_stored():
        reply = rest.send(method, path, {} if method != "GET" else None)
    assert (reply.status, reply.error["code"]) == (405, "method_not_allowed")
    heads = {"HEAD"} if "GET" in ALLOWED[path] else set()
    assert {name.strip() for name in reply.headers["allow"].split(",")} == ALLOWED[path] | heads


def test_the_stream_without_an_upgrade(rest: Rest) -> None:
    """A plain GET on the WebSocket's path is 426 in the common error form."""
    reply = rest.send("GET", "/forum/stream")
    assert (reply.status, reply.error["code"]) == (426, "upgrade_required")
