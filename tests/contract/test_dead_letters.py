"""REST about dead letters: who may end them, what is asked wrongly, and the documented form of every answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.ledger import database
from tests.support.rest import Rest

LETTERS = "/forum/dead-letters"
BY = {"actor_type": "operator"}
INSERT = """
INSERT INTO dead_letters (reason, error, traceback, attempts, handler, consumer_group, topic, entry_id, message_id,
    metadata_json, payload, first_failed_at, last_failed_at)
VALUES ('undecodable', 'an error', 'a traceback', 1, 'receive', 'g', 'forum.commands.open_thread', ?1, 'm',
    '{"name": "x"}', ?2, ?3, ?3)
"""
TOPIC = "forum.commands.open_thread"
AT = "2026-01-01T00:00:00.000000Z"


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """A daemon of our own: open letters change its health."""
    daemon = Daemon(None, tmp_path_factory.mktemp("letters"), "--redis", "embedded://")
    yield Rest(daemon)
    daemon.end()


@pytest.fixture
def letter(ruled: Rest) -> int:
    """The id of a new open letter."""
    return insert(ruled, b"{}")


def insert(rest: Rest, payload: bytes) -> int:
    """Put a letter into the table."""
    with database(rest.daemon.database) as db:
        db.execute(INSERT, (f"{payload!r}-{rest.ticket()}", payload, AT))
        return db.last_insert_rowid()


def status(rest: Rest, letter: int) -> str:
    """The status of a letter."""
    return str(rest.send("GET", f"{LETTERS}/{letter}").body["dead_letter"]["status"])


@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize("actor", [{}, {"actor_type": "agent"}, {"actor_type": "human"}])
def test_anonymous_agents_end_nothing(ruled: Rest, letter: int, verb: str, actor: dict[str, str]) -> None:
    """Without the token it is 403, for one letter and for many; reading is allowed."""
    assert ruled.send("POST", f"{LETTERS}/{letter}/{verb}", actor, anonymous=True).status == 403
    assert ruled.send("POST", f"{LETTERS}/{verb}?all=true", actor, anonymous=True).status == 403
    assert ruled.send("GET", LETTERS, anonymous=True).status == 200
    assert status(ruled, letter) == "open"


@pytest.mark.parametrize("actor", ["agent", "system"])
def test_agents_with_a_token_end_nothing_either(ruled: Rest, letter: int, actor: str) -> None:
    """Who says to be an agent is refused."""
    reply = ruled.send("POST", f"{LETTERS}/{letter}/discard", {"actor_type": actor})
    assert reply.status == (403 if actor == "agent" else 422)
    assert status(ruled, letter) == "open"


def test_who_ended_it(ruled: Rest, letter: int) -> None:
    """The letter names who ended it and when; a second discard is no fault and changes nothing."""
    body = {"actor_type": "human", "actor_name": "ann"}
    first = ruled.send("POST", f"{LETTERS}/{letter}/discard", body).body
    again = ruled.send("POST", f"{LETTERS}/{letter}/discard", BY | {"actor_name": "bob"}).body
    assert (first["done"], again["done"]) == (True, False)
    assert again["dead_letter"] == first["dead_letter"]
    assert (first["dead_letter"]["ended_by_type"], first["dead_letter"]["ended_by_name"]) == ("human", "ann")
    assert ruled.send("POST", f"{LETTERS}/{letter}/replay", BY).status == 409


def test_a_letter_has_everything_and_the_list_what_is_short(ruled: Rest) -> None:
    """Payload, metadata and traceback stand in the letter alone."""
    letter = insert(ruled, b"\xff")
    whole = ruled.send("GET", f"{LETTERS}/{letter}").body["dead_letter"]
    assert (whole["payload_base64"], whole["metadata"]["name"], whole["traceback"]) == ("/w==", "x", "a traceback")
    listed = ruled.send("GET", f"{LETTERS}?limit=1").body["dead_letters"][0]
    assert whole == whole | listed and whole["id"] == letter
    assert not {"payload", "payload_base64", "metadata", "traceback"} & set(listed)


@pytest.mark.parametrize("letter_id", ["0", "999999", "9" * 30, "x", "-1", "1.0", "%00", "٣"])
def test_letters_that_are_not_there(ruled: Rest, letter_id: str) -> None:
    """404, whatever stands where an id belongs."""
    from urllib.parse import quote

    place = f"{LETTERS}/{quote(letter_id, safe='%')}"
    assert ruled.send("GET", place).status == 404
    assert ruled.send("POST", f"{place}/replay", BY).status == 404
    assert ruled.send("POST", f"{place}/discard", BY).status == 404


@pytest.mark.parametrize(
    "query",
    ["status=x", "reason=x", "limit=0", "limit=501", "cursor=x", "since=yesterday", "until=0001-01-01T00:00:00%2B14:00",
     "colour=red", "all=true"],
)  # fmt: skip
def test_a_list_that_is_asked_wrongly(ruled: Rest, query: str) -> None:
    """400 that names the parameter."""
    assert ruled.send("GET", f"{LETTERS}?{query}").status == 400


@pytest.mark.parametrize("verb", ["replay", "discard"])
@pytest.mark.parametrize(
    "query", ["", "limit=5", "dry_run=true", "all=yes", "all=true&status=open", "topic=&all=false"]
)
def test_many_must_be_meant(ruled: Rest, letter: int, verb: str, query: str) -> None:
    """Without a filter or all=true nothing happens."""
    assert ruled.send("POST", f"{LETTERS}/{verb}?{query}", BY).status == 400
    assert status(ruled, letter) == "open"


@pytest.mark.parametrize("place", ["{}/replay", "{}/discard", "replay?all=true", "discard?all=true"])
@pytest.mark.parametrize(
    ("body", "code"), [({"bogus": 1}, 422), (BY | {"bogus": 1}, 422), (BY | {"actor_name": 5}, 422), ([], 400)]
)
def test_bodies_that_are_wrong(ruled: Rest, letter: int, place: str, body: Any, code: int) -> None:
    """Unknown and wrong fields are named, and nothing happens."""
    assert ruled.send("POST", f"{LETTERS}/{place.format(letter)}", body).status == code
    assert status(ruled, letter) == "open"


@pytest.mark.parametrize("place", ["{}/replay", "{}/discard", "replay?all=true", "discard?all=true&dry_run=true"])
@pytest.mark.parametrize("body", [{}, {"actor_type": None}, {"actor_name": "ann"}])
def test_who_acts_must_be_said(ruled: Rest, letter: int, place: str, body: dict[str, Any]) -> None:
    """The token is a human's or an operator's: like every action, the body says whose."""
    reply = ruled.send("POST", f"{LETTERS}/{place.format(letter)}", body)
    assert (reply.status, reply.error["fields"]) == (422, {"actor_type": ["is required"]})
    assert status(ruled, letter) == "open"


def test_filters_and_counts_agree(ruled: Rest, letter: int) -> None:
    """What a dry run counts is what the list shows and what is ended."""
    query = "reason=undecodable&handler=receive&message_id=m&since=2026-01-01&until=2026-01-02T00:00:00Z"
    listed = ruled.send("GET", f"{LETTERS}?status=open&limit=500&{query}").body["dead_letters"]
    counted = ruled.send("POST", f"{LETTERS}/discard?dry_run=true&{query}", BY).body["result"]
    assert counted["matched"] == len(listed) >= 1 and counted["dry_run"]
    done = ruled.send("POST", f"{LETTERS}/discard?{query}", BY).body["result"]
    assert (done["matched"], done["done"]) == (len(listed), len(listed))
    assert status(ruled, letter) == "discarded"


def test_what_is_counted_is_what_is_ended(ruled: Rest, letter: int) -> None:
    """The cursor of a dry run keeps the act to the letters that it has counted; one that came since stays open."""
    query = f"{LETTERS}/discard?handler=receive"
    counted = ruled.send("POST", f"{query}&dry_run=true", BY).body
    late = insert(ruled, b"{}")
    assert counted["result"]["matched"] >= 1
    cursor = counted["next_cursor"]
    again = ruled.send("POST", f"{query}&dry_run=true&cursor={cursor}", BY).body
    assert (again["result"]["matched"], again["next_cursor"]) == (counted["result"]["matched"], cursor)
    done = ruled.send("POST", f"{query}&cursor={cursor}", BY).body
    assert done["result"]["done"] == counted["result"]["matched"] and "next_cursor" not in done
    assert (status(ruled, letter), status(ruled, late)) == ("discarded", "open")
    assert ruled.send("POST", f"{LETTERS}/replay?handler=receive&cursor={cursor}", BY).status == 400


def test_a_letter_that_was_cut_can_only_be_discarded(ruled: Rest, letter: int) -> None:
    """409 that says so; the bulk form skips it, which is no failure of it."""
    with database(ruled.daemon.database) as db:
        db.execute("UPDATE dead_letters SET cut = 1, payload = NULL WHERE id = ?", (letter,))
    refused = ruled.send("POST", f"{LETTERS}/{letter}/replay", BY)
    assert (refused.status, refused.error["code"]) == (409, "illegal_transition")
    assert "was cut" in refused.error["message"] and "only be discarded" in refused.error["message"]
    bulk = ruled.send("POST", f"{LETTERS}/replay?topic={TOPIC}&since={AT}&limit=1000", BY).body["result"]
    assert (bulk["skipped"], bulk["failed"]) == (1, bulk["matched"] - 1)
    assert status(ruled, letter) == "open"
    health = ruled.send("GET", "/health").body
    assert (health["status"], health["components"]["dead_letters"]["cut"]) == ("attention", 1)
    assert ruled.send("POST", f"{LETTERS}/discard?all=true", BY).body["result"]["failed"] == 0
    assert ruled.send("GET", "/health").body["status"] == "ok"
