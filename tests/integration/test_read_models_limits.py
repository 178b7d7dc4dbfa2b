"""What one page may hold and cost: large texts, long threads, cursors made by hand."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metawsm.domain import actions
from metawsm.domain.errors import Malformed
from metawsm.projections.agent_inbox import inbox
from metawsm.projections.thread_views import QUEUES
from metawsm.storage.event_pages import events_page, thread_detail
from metawsm.storage.log_reads import debug_rows
from metawsm.storage.receipts import _UNREAD
from tests.integration.test_read_models import found, ids, listed, queued
from tests.support.read_side import MINUTES, Forum


@pytest.fixture
def forum(tmp_path: Path) -> Iterator[Forum]:
    """An empty forum."""
    made = Forum(tmp_path / "metawsm.db")
    yield made
    made.db.close()


def test_search_passes_a_long_thread_quickly(forum: Forum) -> None:
    """Thousands of hits in one thread hide no other, take few pages, and are asked about once for a page."""
    first, long, quiet = (forum.open(body="needle") for _ in range(3))
    for _ in range(2500):
        forum.do(long, actions.post, "needle")
        forum.do(quiet, actions.post, "nothing here")
    forum.apply_all()
    statements: list[str] = []

    def note(_cursor: Any, sql: str, _values: Any) -> bool:
        statements.append(sql)
        return True

    forum.db.set_exec_trace(note)
    for limit, most_pages in ((50, 2), (1, 4)):
        pages, cursor = [found(forum, "needle", limit=limit)], None
        while cursor := pages[-1].get("next_cursor"):
            pages.append(found(forum, "needle", limit=limit, cursor=cursor))
        assert [thread for page in pages for thread in ids(page)] == [long, quiet, first]
        assert len(pages) <= most_pages
    forum.db.set_exec_trace(None)
    assert len(statements) < 60


def test_all_words_stand_in_one_post(forum: Forum) -> None:
    """The title belongs to the first post; words of two posts do not add up."""
    thread = forum.open(title="Which schema?", body="v1 or v2")
    forum.do(thread, actions.answer, "the latest")
    forum.apply_all()
    assert ids(found(forum, "schema v2")) == [thread]
    assert ids(found(forum, "schema latest")) == ids(found(forum, "v2 latest")) == []


def _refused(read: Callable[[str], Any], values: list[Any]) -> None:
    """A cursor of these values is malformed."""
    with pytest.raises(Malformed):
        read(base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("="))


@pytest.mark.parametrize("kind", ["priority", "attention", *QUEUES])
def test_a_cursor_made_by_hand_is_malformed(forum: Forum, kind: str) -> None:
    """A time where a sequence belongs and the reverse, a stretch that is not there, half a surrogate pair."""
    for _ in range(2):
        forum.do(forum.open(), actions.assign, "human", "kb", None)
    forum.later(minutes=MINUTES + 1)
    forum.apply_all()

    def read(cursor: str | None) -> Any:
        if kind in ("priority", "attention"):
            return listed(forum, limit=1, cursor=cursor, sort=kind)
        return queued(forum, kind, limit=1, cursor=cursor)

    given = read(None)["next_cursor"]
    parts = json.loads(base64.urlsafe_b64decode(given + "=="))
    question, head, due, stretch, moment, place, key = parts
    assert read(given)["threads"]
    other = ("", 5) if moment else ("2026-11-01T08:00:01.000000Z", 0)
    _refused(read, [question, head, due, stretch, *other, key])
    _refused(read, [question, head, due, stretch + 1000, moment, place, key])
    _refused(read, [question, head, "\ud800", stretch, moment, place, key])


WIDE = "\x01" * 65_000


def test_large_pages_end_short_and_lead_to_the_rest(forum: Forum) -> None:
    """A page of posts or events stays at some megabytes, whatever is in it; the pages together hold everything."""
    thread = forum.open()
    for _ in range(30):
        forum.do(thread, actions.post, WIDE)
    forum.apply_all()
    pages = _backwards(forum, thread, 500)
    assert all(len(json.dumps(page)) < 6_000_000 and page["posts"] and page["events"] for page in pages)
    assert _sequences(pages, "posts") == _sequences(pages, "events") == list(range(1, 32))
    for wanted in ({}, {"ticket": "MET-1", "thread_id": thread}):
        sequences: list[int] = []
        cursor = 0
        while (page := events_page(forum.db, wanted, cursor, 1000))["next_cursor"] > cursor:
            assert len(json.dumps(page)) < 6_000_000
            sequences += [event["sequence"] for event in page["events"]]
            cursor = page["next_cursor"]
        assert sequences == list(range(1, 32))


def _backwards(forum: Forum, thread: str, limit: int) -> list[dict[str, Any]]:
    """The pages of a thread from its newest to its oldest one, the oldest first."""
    pages: list[dict[str, Any]] = []
    before = None
    while not pages or before is not None:
        pages.insert(0, thread_detail(forum.db, thread, before, limit, escalation_minutes=MINUTES))
        before = pages[0].get("posts_before")
    return pages


def _sequences(pages: list[dict[str, Any]], kind: str) -> list[int]:
    return [each["sequence"] for page in pages for each in page[kind]]


@pytest.mark.parametrize("limit", [1, 4, 500])
def test_going_back_through_a_thread_skips_no_event(forum: Forum, limit: int) -> None:
    """Events that brought no post come with the posts they stand beside, however many they are."""
    thread = forum.open()
    for number in range(8):
        forum.do(thread, actions.post, f"post {number}", actor="agent")
        forum.do(thread, actions.answer, f"answer {number}")
    for number in range(12):
        forum.do(thread, actions.set_priority, ("low", "high")[number % 2])
    forum.apply_all()
    pages = _backwards(forum, thread, limit)
    (head,) = forum.db.execute("SELECT max(sequence) FROM forum_events")
    assert _sequences(pages, "events") == list(range(1, head[0] + 1))
    assert len(_sequences(pages, "posts")) == len(set(_sequences(pages, "posts"))) == 17
    assert pages[-1]["posts"][-1]["body"] == "answer 7"


def test_megabytes_of_events_behind_the_newest_post(forum: Forum) -> None:
    """The newest posts come with the first page, and once more where the events beside them do."""
    thread = forum.open()
    forum.do(thread, actions.post, "newest")
    for number in range(600):
        forum.do(thread, actions.assign, "human", f"p-{number}", "\x01" * 4096)
    forum.apply_all()
    pages = _backwards(forum, thread, 100)
    assert all(len(json.dumps(page)) < 6_000_000 for page in pages) and len(pages) > 2
    assert _sequences(pages, "events") == list(range(1, 603))
    assert [len(page["posts"]) for page in pages] == [2, *[0] * (len(pages) - 2), 2]


def test_debugging_shows_the_beginning_of_large_payloads(forum: Forum) -> None:
    """Enough to see what an event was, not all of it."""
    thread = forum.open(body="short")
    forum.do(thread, actions.post, WIDE)
    large, small = debug_rows(forum.db, {}, 50)["events"]
    assert len(large["payload_json"]) == 301
    assert json.loads(small["payload_json"])["body"] == "short"


def test_a_page_of_the_inbox_is_bounded_by_its_texts(forum: Forum) -> None:
    """Large answers end a page short, with a cursor to go on from: 70 of the largest are more than a page."""
    threads = [forum.open(run_id="run-1", agent_name="bob", title=f"Question {n}") for n in range(70)]
    for thread in threads:
        forum.do(thread, actions.answer, "x" * 65_536)
    forum.apply_all()
    first = inbox(forum.db, "bob", None, 500, None)
    second = inbox(forum.db, "bob", "run-1", 500, None)
    assert len(first["answers"]) == len(second["answers"]) == 64
    rest = inbox(forum.db, "bob", None, 500, first["next_cursor"])
    assert [answer["thread_id"] for answer in (*first["answers"], *rest["answers"])] == threads
    assert (rest["unread_count"], "next_cursor" in rest) == (70, False)


def test_unread_answers_are_found_among_the_answers_alone(forum: Forum) -> None:
    """However long a thread is, a command of its agent passes over no plain posts."""
    plan = [str(row[3]) for row in forum.db.execute(f"EXPLAIN QUERY PLAN {_UNREAD}", ("t", 0, 9, "bob", 9))]
    assert any("USING INDEX forum_posts_answers" in step for step in plan), plan
