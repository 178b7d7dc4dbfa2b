"""Rows of the Go program that do not fit here: carried as well as can be, or left out, and always told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_import import imported, place, rows
from tests.support.go_database import GoDatabase
from tests.support.shell import shell


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


PAYLOADS = {
    "deep": "[" * 200_000,
    "number": f'{{"envelope": {{"event_id": {10**30}}}}}',
    "digits": f'{{"envelope": {{"event_id": {"1" * 6000}}}}}',
    "list": '{"envelope": {"event_id": [1]}}',
    "surrogate": '{"envelope": {"event_id": "\\ud800"}}',
    "null": "null",
    "a number of theirs": '{"envelope": {"event_id": 77}}',
}


def test_a_command_that_cannot_be_read_was_not_applied(tmp_path: Path, there: GoDatabase) -> None:
    """Whatever stands in their outbox is told; none of it ends the import. A number is no id, though SQL finds it."""
    there.open()
    there.db.execute("UPDATE forum_events SET event_id = '77'")
    there.db.execute("UPDATE forum_posts SET event_id = '77', post_id = '77.post'")
    for payload in PAYLOADS.values():
        there.insert("forum_outbox", message_id=there.new_id("fmsg"), topic="t", status="sent", payload_json=payload)
    there.close()
    told = notes(imported(tmp_path))
    assert [kind for kind, *_ in told] == ["not applied"] * len(PAYLOADS)
    assert {text for *_, text in told} == {f"t, sent: {payload}" for payload in PAYLOADS.values()}


def _rename(there: GoDatabase, column: str, old: str, new: bytes) -> None:
    """Give an id of theirs other bytes, in every table that has it."""
    tables = there.db.execute("SELECT m.name FROM sqlite_schema m, pragma_table_info(m.name) c WHERE c.name = ?",
                              (column,)).fetchall()  # fmt: skip
    for (table,) in tables:
        there.db.execute(f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE {column} = ?", (new, old))


def test_ids_of_other_bytes_stay_apart(tmp_path: Path, there: GoDatabase) -> None:
    """Where the replacement character would make two ids one, a digest of the bytes tells them apart."""
    for end in (b"\xfe", b"\xff"):
        thread_id = there.open()
        there.see(thread_id, f"kb{end!r}", 1)
        _rename(there, "event_id", there.post(thread_id, repr(end)), b"evt" + end)
        there.state(thread_id, "triaged")
        last = there.db.execute("SELECT event_id FROM forum_events ORDER BY sequence DESC LIMIT 1").fetchone()[0]
        _rename(there, "event_id", last, b"move" + end)
        _rename(there, "viewer_id", f"kb{end!r}", b"kb" + end)
        _rename(there, "thread_id", thread_id, b"fthr-" + end)
    there.close()
    summary = imported(tmp_path)
    told = notes(summary)
    assert len({(place, text) for kind, place, _, text in told if kind == "renamed"}) == 6
    bodies = rows(place(tmp_path), "SELECT count(DISTINCT thread_id), body FROM forum_posts GROUP BY body ORDER BY 2")
    assert bodies == [(1, repr(b"\xfe")), (1, repr(b"\xff")), (2, "v1 or v2?")]
    assert rows(place(tmp_path), "SELECT count(DISTINCT event_id), count(DISTINCT thread_id) FROM forum_events") == [
        (6, 2)
    ]
    assert rows(place(tmp_path), "SELECT count(DISTINCT viewer_id) FROM forum_thread_reads") == [(2,)]


def test_rows_that_become_one_are_told(tmp_path: Path, there: GoDatabase) -> None:
    """An id that is a text and a blob of the same bytes, and a viewer in two spellings: the first is carried."""
    thread_id = there.open()
    there.see(thread_id, "kb", 1)
    there.see(thread_id, "kb", 1, "Human")
    first, second = there.post(thread_id, "one"), there.post(thread_id, "two")
    there.db.execute("UPDATE forum_events SET event_id = CAST(? AS BLOB) WHERE event_id = ?", (first, second))
    there.close()
    told = {(kind, where, text) for kind, where, _, text in notes(imported(tmp_path))}
    assert told == {
        ("left out", "forum_events", "its id is that of another event"),
        ("left out", "forum_posts", "its event was not carried"),
        ("left out", "forum_thread_reads", "another row of this viewer was carried"),
    }


def test_a_table_of_another_form_is_refused(tmp_path: Path, there: GoDatabase) -> None:
    """In one line, before anything is replaced."""
    there.open()
    there.db.execute("ALTER TABLE forum_posts RENAME COLUMN post_id TO id")
    there.close()
    before = place(tmp_path).read_bytes()
    refused = shell(["import"], cwd=tmp_path)
    assert (refused.returncode, refused.stderr.count("\nmetawsm: ")) == (1, 1)
    assert "is not as it is known here: no such column: t.post_id" in refused.stderr
    assert place(tmp_path).read_bytes() == before


def test_what_nobody_thought_of_is_a_line(tmp_path: Path, there: GoDatabase) -> None:
    """No traceback: what it was and where it came up."""
    there.db.executescript("CREATE TABLE odd (x); PRAGMA writable_schema = ON")
    there.db.execute("UPDATE sqlite_schema SET name = CAST(x'ff' AS TEXT), tbl_name = CAST(x'ff' AS TEXT),"
                     " sql = CAST('CREATE TABLE \"' || x'ff' || '\" (x)' AS TEXT) WHERE name = 'odd'")  # fmt: skip
    there.close()
    failed = shell(["import"], cwd=tmp_path)
    assert (failed.returncode, "Traceback" in failed.stderr) == (1, False), failed.stderr
    assert "metawsm: unexpected UnicodeDecodeError in storage/identity.py:" in failed.stderr


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
