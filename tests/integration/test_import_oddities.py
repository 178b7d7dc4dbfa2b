"""Rows of the Go program that do not fit here: carried as well as can be, or left out, and always told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_import import imported, place, rows
from tests.support.go_database import GoDatabase


def notes(told: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Kind, place, row and text of all notes."""
    lines = [json.loads(line) for line in Path(told["report"]).read_text().splitlines()[:-1]]
    return [(each["kind"], each["place"], each["row"], each["text"]) for each in lines]


@pytest.fixture
def there(tmp_path: Path) -> Any:
    """An empty database of theirs."""
    database = GoDatabase(place(tmp_path))
    yield database
    database.close()


Spoil = Callable[[GoDatabase, str], None]


def _broken_payload(there: GoDatabase, thread_id: str) -> None:
    there.event("forum.post.added", there.about(thread_id), "{not json", "agent", "ann", there.now())


def _unknown_type(there: GoDatabase, thread_id: str) -> None:
    there.event("forum.wave.made", there.about(thread_id), {}, "agent", "ann", there.now())


def _unknown_actor(there: GoDatabase, thread_id: str) -> None:
    there.event("forum.post.added", there.about(thread_id), {"body": "x"}, "robot", "r2", there.now())


def _unknown_state(there: GoDatabase, thread_id: str) -> None:
    there.state(thread_id, "blocked")


def _no_opening(there: GoDatabase, thread_id: str) -> None:
    about = there.about(thread_id) | {"thread_id": "fthr-never"}
    there.event("forum.post.added", about, {"body": "x"}, "agent", "ann", there.now())


LEFT_OUT: dict[str, tuple[Spoil, str]] = {
    "payload": (_broken_payload, "not JSON"),
    "type": (_unknown_type, "forum.wave.made"),
    "actor": (_unknown_actor, "'robot'"),
    "state": (_unknown_state, "'blocked'"),
    "opening": (_no_opening, "never opened"),
}


@pytest.mark.parametrize(("spoil", "says"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_an_event_that_cannot_be_read_is_left_out_alone(
    tmp_path: Path, there: GoDatabase, spoil: Spoil, says: str
) -> None:
    """It is told with its reason; what stands before and behind it is carried."""
    thread_id = there.open()
    spoil(there, thread_id)
    there.post(thread_id, "afterwards")
    there.close()
    told = notes(imported(tmp_path))
    assert [(kind, says in text) for kind, where, _, text in told if where == "forum_events"] == [("left out", True)]
    assert rows(place(tmp_path), "SELECT body FROM forum_posts ORDER BY sequence") == [
        ("v1 or v2?",), ("afterwards",)
    ]  # fmt: skip


def test_a_state_that_is_not_known_leaves_the_thread_where_it_was(tmp_path: Path, there: GoDatabase) -> None:
    """The way out of it starts where the thread is here; both are told."""
    thread_id = there.open()
    there.state(thread_id, "blocked")
    there.state(thread_id, "answered")
    stuck = there.open()
    there.state(stuck, "blocked")
    there.close()
    told = notes(imported(tmp_path))
    moves = rows(place(tmp_path), "SELECT from_state, to_state FROM forum_state_transitions WHERE from_state NOTNULL")
    assert moves == [("new", "answered")]
    differs = [(row, text) for kind, _, row, text in told if kind == "differs"]
    assert differs == [(stuck, "state was 'blocked'; by its events it is 'new'")]


def test_names_outside_the_grammar_get_one_inside(tmp_path: Path, there: GoDatabase) -> None:
    """Ticket, run, agent and thread id are told with their new names; two different ones never become one."""
    spaced, dotted = there.open("My ticket", run="run 1", agent="\u00e9ve"), there.open("My.. ticket")
    odd = there.open(thread_id="Thread/7")
    there.see(odd, "kb", 1)
    there.post(odd, "more")
    there.close()
    told = {(where, row): text.split()[1] for kind, where, row, text in notes(imported(tmp_path)) if kind == "renamed"}
    tickets = rows(
        place(tmp_path), "SELECT thread_id, ticket, run_id, agent_name FROM forum_threads ORDER BY opened_at"
    )
    assert tickets == [
        (spaced, told["ticket", "My ticket"], told["run", "run 1"], told["agent", "\u00e9ve"]),
        (dotted, told["ticket", "My.. ticket"], None, None),
        (told["thread", "Thread/7"], "METAWSM-002", None, None),
    ]
    assert told["ticket", "My ticket"].startswith("My-ticket-") and len(set(told.values())) == 5
    assert rows(place(tmp_path), "SELECT thread_id FROM forum_thread_reads") == [(told["thread", "Thread/7"],)]


def test_texts_that_are_too_long_are_cut_and_told(tmp_path: Path, there: GoDatabase) -> None:
    """Titles, bodies and notes are cut to the limits here, never inside a character; the backup has the whole."""
    thread_id = there.open(title="\u00fc" * 400, body="\u00fc" * 40_000)
    there.assign(thread_id, "op", "n" * 5000)
    there.close()
    told = notes(imported(tmp_path))
    ((title, body),) = rows(place(tmp_path), "SELECT title, body FROM forum_threads JOIN forum_posts USING (thread_id)")
    assert (len(title), title[-1]) == (300, "\u2026")
    assert 65_530 < len(body.encode()) <= 65_536 and body.endswith("is in the backup]")
    ((note,),) = rows(place(tmp_path), "SELECT note FROM forum_assignments")
    assert len(note) == 4096
    assert [kind for kind, *_ in told] == ["changed"] * 3


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path, there: GoDatabase) -> None:
    """Bytes that are no UTF-8, NUL and lone surrogates do not stop anything."""
    thread_id = there.open()
    payload = json.dumps({"title": "t", "body": "a\x00b \ud800 c"})
    there.db.execute("UPDATE forum_events SET payload_json = ?, actor_name = CAST(x'ff41' AS TEXT)", (payload,))
    there.close()
    imported(tmp_path)
    assert rows(place(tmp_path), "SELECT thread_id, body, actor_name FROM forum_posts") == [
        (thread_id, "a\ufffdb \ufffd c", "\ufffdA")
    ]


def test_a_time_that_cannot_be_read_is_that_of_the_event_before(tmp_path: Path, there: GoDatabase) -> None:
    """The order is that of the sequence anyway."""
    there.open()
    there.post(there.open(), "x")
    there.db.execute("UPDATE forum_events SET occurred_at = 'yesterday' WHERE sequence = 3")
    there.close()
    told = notes(imported(tmp_path))
    assert [kind for kind, *_ in told] == ["changed"]
    second, third = rows(place(tmp_path), "SELECT occurred_at FROM forum_events WHERE sequence > 1 ORDER BY sequence")
    assert second == third


def test_a_signal_that_is_wrong_stays_a_post(tmp_path: Path, there: GoDatabase) -> None:
    """Its words are kept; it asks for nothing."""
    there.control("run-1", "ann")
    there.signal("run-1", "ann", "guidance_request")
    there.close()
    told = notes(imported(tmp_path))
    assert [(kind, "not as a signal" in text) for kind, _, _, text in told] == [("changed", True)]
    assert rows(place(tmp_path), "SELECT kind FROM forum_posts") == [("post",), ("post",)]
    assert rows(place(tmp_path), "SELECT open_requests FROM forum_threads") == [("[]",)]


def test_a_request_that_a_newer_one_replaced_stays_open(tmp_path: Path, there: GoDatabase) -> None:
    """There only the newest request counted; here each is answered, so the older one is told."""
    there.control("run-1", "ann")
    first = there.signal("run-1", "ann", "guidance_request", question="One?")
    there.signal("run-1", "ann", "guidance_request", question="Two?")
    there.signal("run-1", "ann", "guidance_answer", "human", answer="Yes.")
    there.close()
    told = notes(imported(tmp_path))
    assert [(kind, row) for kind, _, row, _ in told] == [("stays open", f"{first}.post")]
    assert rows(place(tmp_path), "SELECT open_requests FROM forum_threads") == [(f'["{first}.post"]',)]


def test_rows_without_their_events_are_told(tmp_path: Path, there: GoDatabase) -> None:
    """Posts, transitions, mappings and reads whose event or thread is missing are left out one by one."""
    thread_id = there.open()
    there.insert("forum_posts", post_id="lost", thread_id=thread_id, event_id="lost")
    there.insert("forum_state_transitions", thread_id=thread_id, event_id="lost")
    there.insert("forum_threads", thread_id="fthr-lost")
    there.insert("forum_control_threads", run_id="run-1", agent_name="ann", thread_id="fctrl-lost")
    there.see("fthr-lost", "kb", 1)
    there.see(thread_id, "r2", 1, "robot")
    there.db.execute("DELETE FROM forum_posts WHERE event_id <> 'lost'")
    there.close()
    summary = imported(tmp_path)
    told = {(kind, where) for kind, where, _, _ in notes(summary)}
    assert told == {
        ("left out", "forum_posts"), ("added", "forum_posts"), ("left out", "forum_state_transitions"),
        ("left out", "forum_threads"), ("left out", "forum_control_threads"), ("left out", "forum_thread_reads"),
    }  # fmt: skip
    assert {each["table"]: each["after"] for each in summary["tables"] if each["left_out"]} == {
        "forum_posts": 1, "forum_state_transitions": 0, "forum_threads": 1, "forum_control_threads": 0,
        "forum_thread_reads": 0,
    }  # fmt: skip
