"""Whatever happened: read models can be thrown away, and every page says what the state tables say."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metawsm.bus.projecting import ProjectionFailed
from metawsm.bus.reading import Filters
from metawsm.projections.agent_inbox import inbox
from metawsm.projections.thread_views import QUEUES, list_threads, queue
from metawsm.storage.rebuild import Rebuild
from tests.support.forum_stories import AGENTS, FILTERS, RUNS, STORIES, Step, all_threads, expected, tell
from tests.support.read_side import KB, MINUTES, Forum

MANY = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@contextmanager
def told(steps: list[Step]) -> Iterator[Forum]:
    """A forum after a story, with whatever the story left unapplied applied."""
    with tempfile.TemporaryDirectory() as folder:
        forum = Forum(Path(folder) / "metawsm.db")
        try:
            tell(forum, steps)
            forum.apply_all()
            yield forum
        finally:
            forum.db.close()


def rebuild(forum: Forum) -> None:
    """Make the read models anew."""
    making = Rebuild(lambda: forum.now)
    forum.write(lambda: making.start(forum.db))
    while not forum.write(lambda: making.step(forum.db)).finished:
        pass


def pages(forum: Forum, kind: str, filters: Filters, limit: int) -> Iterator[list[dict[str, Any]]]:
    """All pages of a list or queue, following the cursor."""
    cursor = None
    while True:
        page = read(forum, kind, filters, limit, cursor)
        assert len(page["threads"]) <= limit
        yield page["threads"]
        cursor = page.get("next_cursor")
        if cursor is None:
            return


def read(forum: Forum, kind: str, filters: Filters, limit: int, cursor: str | None) -> dict[str, Any]:
    """One page."""
    when: dict[str, Any] = {"escalation_minutes": MINUTES, "now": forum.now}
    if kind in QUEUES:
        return queue(forum.db, kind, filters, KB, limit, cursor, **when)
    sort = "attention" if kind == "attention" else None
    return list_threads(forum.db, filters, limit, cursor, viewer=KB, sort=sort, **when)


@MANY
@given(STORIES)
def test_rebuilt_read_models_equal_the_live_ones(steps: list[Step]) -> None:
    """Row for row and word for word, and again when made twice."""
    with told(steps) as forum:
        live = forum.read_models()
        for _ in range(2):
            rebuild(forum)
            assert forum.read_models() == live


@MANY
@given(STORIES)
def test_views_equal_the_state_tables(steps: list[Step]) -> None:
    """The read side and the command side make the same of the same events."""
    with told(steps) as forum:
        state = sorted(forum.db.execute("SELECT * FROM forum_threads"))
        views = sorted(forum.db.execute("SELECT * FROM forum_thread_views"))
        assert [row[: len(state[0])] for row in views] == state


@MANY
@given(STORIES, FILTERS, st.sampled_from(("list", *QUEUES)), st.integers(1, 5))
def test_pages_give_every_thread_once_in_order(steps: list[Step], filters: Filters, kind: str, limit: int) -> None:
    """Every filter set and every queue, in pages of any size, equals the plain answer."""
    with told(steps) as forum:
        found = [thread["thread_id"] for page in pages(forum, kind, filters, limit) for thread in page]
        assert found == expected(forum, kind, filters)


@MANY
@given(STORIES, st.sampled_from(AGENTS), st.sampled_from((None, *RUNS)), st.integers(1, 5))
def test_the_inbox_equals_the_plain_answer(steps: list[Step], agent: str, run: str | None, limit: int) -> None:
    """In pages of any size each answer that the agent has not read, once and in order; the counters agree."""
    with told(steps) as forum:
        found, cursor = [], None
        while True:
            page = inbox(forum.db, agent, run, limit, cursor)
            found += [answer["post_id"] for answer in page["answers"]]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        asked = [t.thread_id for t in all_threads(forum) if t.agent_name == agent and run in (None, t.run_id)]
        unread = {thread: forum.unread(thread, agent) for thread in asked}
        places = dict(forum.db.execute("SELECT post_id, sequence FROM forum_posts"))
        assert found == sorted((post for posts in unread.values() for post in posts), key=lambda post: places[post])
        assert page["unread_count"] == len(found)
        counted = forum.db.execute(
            "SELECT thread_id, unread_count FROM forum_agent_inbox WHERE agent_name = ?", (agent,)
        )
        counts = dict(counted)
        assert {thread: counts[thread] for thread in asked} == {thread: len(posts) for thread, posts in unread.items()}


@MANY
@given(STORIES, FILTERS, st.integers(1, 5))
def test_attention_gives_every_thread_once(steps: list[Step], filters: Filters, limit: int) -> None:
    """Those whose wait is a breach come first, then those who wait, then the rest."""
    with told(steps) as forum:
        found = [thread for page in pages(forum, "attention", filters, limit) for thread in page]
        assert sorted(t["thread_id"] for t in found) == sorted(expected(forum, "list", filters))
        classes = [2 if "due_at" not in t else int(t["due_at"] > forum.now) for t in found]
        assert classes == sorted(classes)


@MANY
@given(STORIES, STORIES, FILTERS, st.sampled_from(("list", "attention", "unseen", "unanswered", "mine", "breached")))
def test_a_cursor_fixes_the_head(before: list[Step], meanwhile: list[Step], filters: Filters, kind: str) -> None:
    """While the forum goes on: no thread twice, none skipped that did not move."""
    with told(before) as forum:
        first = set(expected(forum, kind if kind in QUEUES else "list", filters))
        head = max((t.last_event_sequence for t in all_threads(forum)), default=0)
        page = read(forum, kind, filters, 2, None)
        found = [thread["thread_id"] for thread in page["threads"]]
        tell(forum, [step for step in meanwhile if step[0] != "see"])
        forum.apply_all()
        while cursor := page.get("next_cursor"):
            page = read(forum, kind, filters, 2, cursor)
            found += [thread["thread_id"] for thread in page["threads"]]
        assert len(found) == len(set(found))
        unmoved = {t.thread_id for t in all_threads(forum) if t.last_event_sequence <= head}
        assert unmoved & first <= set(found)


@MANY
@given(STORIES, st.integers(0, 10))
def test_a_rebuild_goes_on_after_a_crash_and_beside_new_events(steps: list[Step], stop: int) -> None:
    """Half way, with events arriving and a fresh process that knows nothing: the end is the same."""
    with told(steps[: len(steps) // 2]) as forum:
        making = Rebuild(lambda: forum.now)
        for _ in range(stop):
            if forum.write(lambda: making.step(forum.db)).finished:
                break
        tell(forum, steps[len(steps) // 2 :])
        forum.apply_all()
        fresh = Rebuild(lambda: forum.now)
        while not forum.write(lambda: fresh.step(forum.db)).finished:
            pass
        forum.apply_all()
        live = forum.read_models()
        rebuild(forum)
        assert forum.read_models() == live
        tables = [name for (name,) in forum.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        assert not [name for name in tables if name.startswith(("rebuild", "old_"))]


def test_a_step_that_fails_keeps_nothing(tmp_path: Path) -> None:
    """An event that cannot be read stops the rebuild where it is, until it is left out."""
    forum = Forum(tmp_path / "metawsm.db")
    for _ in range(3):
        forum.open()
    forum.apply_all()
    forum.db.execute("UPDATE forum_events SET payload_json = '{}' WHERE sequence = 2")
    making = Rebuild(lambda: forum.now, step_seconds=60)  # a busy machine must not end a step before the event
    forum.write(lambda: making.step(forum.db))
    with pytest.raises(ProjectionFailed):
        forum.write(lambda: making.step(forum.db))
    with pytest.raises(ProjectionFailed) as caught:
        forum.write(lambda: making.step(forum.db))
    assert caught.value.sequence == 2
    making.leave_out(caught.value.projection, 2)
    while not forum.write(lambda: making.step(forum.db)).finished:
        pass
    assert [row[0] for row in forum.db.execute("SELECT thread_id FROM forum_thread_views")] == ["fthr-1", "fthr-3"]
    forum.db.close()
