"""Lists, queues, search, details and the log's pages over a real file, as the server calls them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metawsm.bus.reading import Filters, Viewer
from metawsm.domain import actions
from metawsm.domain.errors import InvalidFields, Malformed, NotFound
from metawsm.messages.codec import EVENT_COLUMNS, wire_event_of_row
from metawsm.projections.agent_inbox import inbox
from metawsm.projections.search import search
from metawsm.projections.thread_stats import stats
from metawsm.projections.thread_views import QUEUES, list_threads, queue
from metawsm.storage.event_pages import event_object, events_page, thread_detail
from tests.support.forum_stories import expected, story, tell
from tests.support.read_side import KB, MINUTES, Forum


@pytest.fixture
def forum(tmp_path: Path) -> Iterator[Forum]:
    """An empty forum."""
    made = Forum(tmp_path / "metawsm.db")
    yield made
    made.db.close()


@pytest.fixture
def lively(forum: Forum) -> Forum:
    """A forum in which much has happened."""
    tell(forum, story(7, 400))
    forum.apply_all()
    return forum


def listed(forum: Forum, filters: Filters = Filters(), limit: int = 50, cursor: str | None = None, **more: Any) -> Any:  # noqa: B008 - frozen
    """A page of the list."""
    when: dict[str, Any] = {"escalation_minutes": MINUTES, "now": forum.now}
    return list_threads(forum.db, filters, limit, cursor, **when, **more)


def queued(forum: Forum, kind: str, filters: Filters = Filters(), viewer: Viewer | None = KB, **more: Any) -> Any:  # noqa: B008 - frozen
    """A page of a queue."""
    when: dict[str, Any] = {"escalation_minutes": MINUTES, "now": forum.now}
    return queue(forum.db, kind, filters, viewer, more.get("limit", 50), more.get("cursor"), **when)


def ids(page: dict[str, Any]) -> list[str]:
    """The threads of a page."""
    return [thread["thread_id"] for thread in page["threads"]]


def found(forum: Forum, query: str, filters: Filters = Filters(), limit: int = 50, cursor: str | None = None) -> Any:  # noqa: B008 - frozen
    """A page of a search."""
    return search(forum.db, query, filters, None, limit, cursor, escalation_minutes=MINUTES)


def test_a_view_is_what_the_contract_promises(forum: Forum) -> None:
    """Empty members are left out; `is_unseen` is there when somebody looks."""
    thread = forum.open(run_id="run-1", agent_name="bob", priority="high", title="Which?")
    forum.apply_all()
    (view,) = listed(forum, viewer=KB)["threads"]
    assert view == {
        "thread_id": thread, "ticket": "MET-1", "run_id": "run-1", "agent_name": "bob", "title": "Which?",
        "state": "new", "priority": "high", "opened_by_type": "agent", "opened_by_name": "bob", "posts_count": 1,
        "last_post_at": "2026-11-01T08:00:01.000000Z", "last_post_by_type": "agent", "last_post_by_name": "bob",
        "last_event_sequence": 1, "version_sequence": 1, "last_actor_type": "agent", "is_unseen": True,
        "is_unanswered": True, "waiting_since": "2026-11-01T08:00:01.000000Z",
        "due_at": "2026-11-01T08:30:01.000000Z", "escalation_level": 0, "opened_at": "2026-11-01T08:00:01.000000Z",
        "updated_at": "2026-11-01T08:00:01.000000Z",
    }  # fmt: skip
    forum.see(thread)
    assert listed(forum, viewer=KB)["threads"][0]["is_unseen"] is False
    assert "is_unseen" not in listed(forum)["threads"][0]


@pytest.mark.parametrize("kind", QUEUES)
def test_queues_equal_the_plain_answer(lively: Forum, kind: str) -> None:
    """All threads of a queue, in order."""
    assert ids(queued(lively, kind, limit=500)) == expected(lively, kind, Filters())


def test_a_longer_wait_comes_first_among_the_breached(forum: Forum) -> None:
    """Priority, then the oldest wait; those that may still wait are not there."""
    first, second = forum.open(), forum.open()
    urgent = forum.open(priority="urgent")
    forum.later(minutes=MINUTES)
    forum.open(priority="urgent")
    forum.do(first, actions.set_priority, "normal")
    forum.apply_all()
    assert ids(queued(forum, "breached")) == [urgent, first, second]


def test_waits_that_began_in_one_moment_are_all_given_once(forum: Forum) -> None:
    """The cursor stands between threads of the same time."""
    threads = []
    for _ in range(5):
        forum.later(seconds=-1)
        threads.append(forum.open())
    forum.later(minutes=MINUTES + 1)
    forum.apply_all()
    page, found_ids = queued(forum, "breached", limit=2), []
    while True:
        found_ids += ids(page)
        if "next_cursor" not in page:
            break
        page = queued(forum, "breached", limit=2, cursor=page["next_cursor"])
    assert found_ids == threads


@pytest.mark.parametrize("kind", ["priority", "attention", "breached"])
def test_what_moved_since_the_first_page_does_not_come_again(forum: Forum, kind: str) -> None:
    """A thread that is less pressing now stood on an earlier page; those that stayed are all there."""
    urgent, other, last = forum.open(priority="urgent"), forum.open(priority="high"), forum.open(priority="low")
    forum.later(minutes=MINUTES + 1)
    forum.apply_all()

    def read(cursor: str | None) -> Any:
        if kind == "breached":
            return queued(forum, kind, limit=1, cursor=cursor)
        return listed(forum, limit=1, cursor=cursor, sort=kind)

    page = read(None)
    assert ids(page) == [urgent]
    forum.do(urgent, actions.set_priority, "low")
    forum.apply_all()
    found_ids = []
    while cursor := page.get("next_cursor"):
        page = read(cursor)
        found_ids += ids(page)
    assert found_ids == [other, last]


def test_unseen_is_right_whatever_was_read(forum: Forum) -> None:
    """Next to nothing, half, nearly everything read, in any order, with marks taken back: as the plain answer."""
    chance = random.Random(5)
    threads = [forum.open(priority="normal" if chance.random() < 0.8 else "high") for _ in range(500)]
    forum.apply_all()
    for share in (0.05, 0.5, 0.98, 1.0):
        viewer = Viewer("human", f"reader-{share}")
        for thread in chance.sample(threads, int(len(threads) * share)):
            forum.see(thread, viewer=viewer)
        for thread in chance.sample(threads, 5):
            forum.see(thread, 0, viewer=viewer)
        for thread in chance.sample(threads, 20):
            forum.do(thread, actions.post, "more")
        for thread in chance.sample(threads, 10):
            forum.see(thread, viewer=viewer)
        for filters in (Filters(), Filters(ticket="MET-1"), Filters(state="new", priority="high")):
            for applied in (False, True):
                if applied:
                    forum.apply_all()
                    page = queued(forum, "unseen", filters, viewer, limit=1000)
                    assert ids(page) == expected(forum, "unseen", filters, viewer)


def test_a_mark_does_not_reach_over_threads_that_the_views_do_not_know_yet(forum: Forum) -> None:
    """Between two seen threads stands one that nobody saw: it is unseen also when its event is applied later."""
    first = forum.open()
    forum.apply_all()
    between, last = forum.open(), forum.open()
    forum.see(first)
    forum.see(last)
    forum.apply_all()
    assert ids(queued(forum, "unseen")) == [between]


def test_reading_much_leaves_few_ranges(forum: Forum) -> None:
    """Marks in any order grow together: the walk leaps, however much was read."""
    threads = [forum.open() for _ in range(300)]
    forum.apply_all()
    for thread in random.Random(3).sample(threads, 300):
        forum.see(thread)
    ranges = forum.db.execute("SELECT scope, first_sequence, last_sequence FROM forum_seen_ranges ORDER BY scope")
    assert list(ranges) == [("", 1, 300), ("ticket:MET-1", 1, 300)]
    assert queued(forum, "unseen") == {"threads": []}


def test_a_short_page_says_where_to_go_on(forum: Forum) -> None:
    """Where filters share no index the walk is bounded: the page may be short, and the next one goes on."""
    threads = [forum.open(ticket=f"MET-{n}") for n in range(1200)]
    forum.apply_all()
    forum.db.execute("UPDATE forum_thread_views SET assignee_type = 'operator', assignee_name = 'kb'")
    forum.db.execute("UPDATE forum_thread_views SET assignee_type = 'human' WHERE thread_id = ?", (threads[0],))
    page = queued(forum, "mine")
    assert (ids(page), "next_cursor" in page) == ([], True)
    assert ids(queued(forum, "mine", cursor=page["next_cursor"])) == [threads[0]]


@pytest.mark.parametrize("cursor", ["", "x", "é", "W10", "WzEsMl0", "====", "a" * 5000, "WyJhIiwiYiJd"])
def test_a_bad_cursor_is_told(lively: Forum, cursor: str) -> None:
    """A cursor that was not given out, or for another question, is malformed and never an error inside."""
    if cursor:
        with pytest.raises(Malformed):
            listed(lively, cursor=cursor)
        with pytest.raises(Malformed):
            found(lively, "words", cursor=cursor)
        with pytest.raises(Malformed):
            stats(lively.db, None, None, 10, cursor, due=lively.now)
    other = listed(lively, Filters(ticket="MET-1"), limit=1)["next_cursor"]
    with pytest.raises(Malformed, match="another query"):
        listed(lively, Filters(ticket="MET-2"), cursor=other)


def test_a_queue_of_somebody_needs_a_viewer(forum: Forum) -> None:
    """The fields that are missing are named; an unknown queue or order is malformed."""
    for kind in ("unseen", "mine"):
        with pytest.raises(InvalidFields) as caught:
            queued(forum, kind, viewer=None)
        assert set(caught.value.fields) == {"viewer_type", "viewer_id"}
    with pytest.raises(Malformed):
        queued(forum, "everything")
    with pytest.raises(Malformed):
        listed(forum, sort="random")


def test_no_question_sorts_or_scans(forum: Forum) -> None:
    """Every statement of the readers walks an index that begins with its filters: no sorting, no full scan."""
    seen: dict[str, Any] = {}
    forum.db.set_exec_trace(lambda _cursor, sql, values: bool(seen.setdefault(sql, values)) or True)
    filters = [
        Filters(ticket=t, run_id=r, state=s, priority=p, assignee=a)
        for t in (None, "a") for r in (None, "b") for s in (None, "new") for p in (None, "low") for a in (None, "c")
    ]  # fmt: skip
    for wanted in filters:
        listed(forum, wanted)
        listed(forum, wanted, sort="attention")
        for kind in QUEUES:
            queued(forum, kind, wanted)
    for ticket, run in ((None, None), ("a", None), (None, "b"), ("a", "b")):
        stats(forum.db, ticket, run, 10, None, due=forum.now)
        events_page(forum.db, {"ticket": ticket, "run_id": run, "thread_id": None}, 0, 10)
        inbox(forum.db, "bob", run, 10, None)
    forum.db.set_exec_trace(None)
    for sql, values in seen.items():
        plan = [str(row[3]) for row in forum.db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert not [step for step in plan if "TEMP B-TREE" in step], (sql, plan)
        assert not [step for step in plan if step.startswith(("SCAN forum_thread_views", "SCAN u"))]
        # The first columns of the index are fixed by the question; one without filters at least names the rank.
        loose = [step for step in plan if "forum_thread_views USING" in step and "=?" not in step]
        assert not loose, (sql, plan)


def test_search_finds_threads_by_title_and_posts(forum: Forum) -> None:
    """Newest post first, each thread once, with the place that matched."""
    old = forum.open(title="Which schema?", body="v1 or v2")
    other = forum.open(body="the schema again")
    forum.do(old, actions.answer, "the schema is v2")
    forum.open(body="nothing here")
    forum.apply_all()
    page = found(forum, "SCHEMA")
    assert ids(page) == [old, other]
    match = page["threads"][0]["match"]
    assert (match["sequence"], match["snippet"]) == (3, "the schema is v2")
    assert match["post_id"].endswith(".post")
    assert ids(found(forum, "schema", limit=1, cursor=found(forum, "schema", limit=1)["next_cursor"])) == [other]
    assert "next_cursor" not in found(forum, '"schema is" v2')


def test_search_never_gives_a_thread_twice(lively: Forum) -> None:
    """Following the cursor: each thread at its newest matching post."""
    everything = ids(found(lively, "more", limit=500))
    assert len(everything) > 5
    cursor, paged = None, []
    while True:
        page = found(lively, "more", limit=2, cursor=cursor)
        paged += ids(page)
        cursor = page.get("next_cursor")
        if cursor is None:
            break
    assert paged == everything


def test_search_takes_every_filter(lively: Forum) -> None:
    """Ticket and run stand in the index, the others are looked at; together they agree with the list."""
    for filters in (
        Filters(ticket="MET-1"), Filters(run_id="run-1"), Filters(ticket="MET-2", run_id="run-2"),
        Filters(state="answered"), Filters(priority="high"), Filters(assignee="kb"), Filters(ticket="MET"),
    ):  # fmt: skip
        assert sorted(ids(found(lively, "about", filters))) == sorted(
            thread for thread in ids(listed(lively, filters, limit=500)) if not thread.startswith("fctrl")
        )


@pytest.mark.parametrize(
    "query",
    [
        '"',
        "*",
        "a*",
        "NEAR(",
        "AND",
        "-x",
        "title:a",
        "^",
        "{",
        "a AND",
        "\x00",
        "\ud800",
        "💥",
        "'",
        ";",
        "é" * 5000,
        " ",
    ],
)
def test_any_query_is_answered(lively: Forum, query: str) -> None:
    """What looks like the syntax of the index is only words: never an error."""
    assert isinstance(found(lively, query)["threads"], list)


def test_a_thread_shows_its_newest_posts(forum: Forum) -> None:
    """Older posts are reached by `posts_before`; nothing is skipped."""
    thread = forum.open(body="first")
    for n in range(9):
        forum.do(thread, actions.post, f"post {n}")
    forum.apply_all()
    detail = thread_detail(forum.db, thread, None, 4, escalation_minutes=MINUTES, viewer=KB)
    assert [post["body"] for post in detail["posts"]] == ["post 5", "post 6", "post 7", "post 8"]
    assert detail["thread"]["posts_count"] == 10
    older = thread_detail(forum.db, thread, detail["posts_before"], 6, escalation_minutes=MINUTES)
    assert [post["body"] for post in older["posts"]] == ["first", *(f"post {n}" for n in range(5))]
    assert "posts_before" not in older
    assert [event["sequence"] for event in older["events"]] == [post["sequence"] for post in older["posts"]]
    with pytest.raises(NotFound):
        thread_detail(forum.db, "fthr-none", None, 4, escalation_minutes=MINUTES)


def test_a_control_signal_is_shown_with_its_members(forum: Forum) -> None:
    """A post of kind signal carries the signal as an object, and its words are found."""
    tell(forum, [("open", "MET-1", None, None, "low"), ("control", 0, "guidance_request")])
    forum.apply_all()
    detail = thread_detail(forum.db, "fctrl-run-1-bob", None, 5, escalation_minutes=MINUTES)
    assert detail["posts"][-1]["signal"]["question"] == "which?"
    assert ids(found(forum, "which")) == ["fctrl-run-1-bob"]


def test_events_come_in_order_in_wire_form(lively: Forum) -> None:
    """As objects they equal the text that streams carry; the cursor reaches the head and stays there."""
    rows = list(lively.db.execute(f"SELECT {EVENT_COLUMNS} FROM forum_events ORDER BY sequence"))
    assert [event_object(row) for row in rows] == [json.loads(wire_event_of_row(row)) for row in rows]
    cursor, events = 0, []
    while page := events_page(lively.db, {}, cursor, 7):
        events += page["events"]
        cursor = page["next_cursor"]
        if not page["events"]:
            break
    assert [event["sequence"] for event in events] == [row[0] for row in rows]
    assert events_page(lively.db, {}, cursor, 7) == {"events": [], "next_cursor": cursor, "epoch": 1}
    other = events_page(lively.db, {}, 3, 7, epoch=2)
    assert (other["events"], other["next_cursor"]) == ([], cursor)
    assert "a backup was restored" in other["reset"]
    assert "reset" not in events_page(lively.db, {}, 3, 7, epoch=1)
    beyond = events_page(lively.db, {}, cursor + 100, 7)
    assert (beyond["events"], beyond["next_cursor"], str(cursor + 100) in beyond["reset"]) == ([], cursor, True)


def test_events_are_filtered_and_the_cursor_passes_what_does_not_match(lively: Forum) -> None:
    """Any combination of ticket, run and thread."""
    head = events_page(lively.db, {}, 0, 5000)
    for wanted in (
        {"ticket": "MET-1"},
        {"run_id": "run-1", "ticket": "MET-2"},
        {"thread_id": "fthr-1", "run_id": "run-1"},
    ):
        page = events_page(lively.db, wanted, 0, 5000)
        expected_events = [
            event for event in head["events"] if all(event["envelope"].get(n) == value for n, value in wanted.items())
        ]
        assert page == {"events": expected_events, "next_cursor": head["next_cursor"], "epoch": 1}


@pytest.mark.parametrize("cursor", ["-1", "x", "1.5", "9" * 30, "٣"])
def test_a_cursor_of_events_is_a_sequence(forum: Forum, cursor: str) -> None:
    """Anything else is malformed."""
    with pytest.raises(Malformed):
        events_page(forum.db, {}, cursor, 10)


def test_stats_are_paged(lively: Forum) -> None:
    """Page by page the same counters as at once, for every scope."""
    for ticket, run in ((None, None), ("MET-1", None), (None, "run-1"), ("MET-1", "run-1")):
        whole = stats(lively.db, ticket, run, 500, None, due=lively.now)["stats"]
        cursor, paged = None, []
        while True:
            page = stats(lively.db, ticket, run, 2, cursor, due=lively.now)
            paged += page["stats"]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        assert paged == whole
        wanted = Filters(ticket=ticket, run_id=run)
        assert sum(row["thread_count"] for row in whole) == len(listed(lively, wanted, limit=500)["threads"])
