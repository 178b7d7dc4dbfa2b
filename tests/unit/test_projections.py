"""What each read model makes of the events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from metawsm.bus.fresh import FreshEvents
from metawsm.bus.projecting import EVERY, ProjectionFailed, forget_batches, position
from metawsm.domain import actions
from metawsm.domain.events import PostAdded, PostDelivered, StateChanged
from metawsm.projections import thread_stats
from metawsm.projections.search import snippet, words
from metawsm.storage.receipts import of_post
from tests.support.read_side import Forum, rows_of


@pytest.fixture
def forum(tmp_path: Path) -> Iterator[Forum]:
    """An empty forum."""
    made = Forum(tmp_path / "metawsm.db")
    yield made
    made.db.close()


def column(forum: Forum, table: str, names: str) -> list[Any]:
    """Columns of a table, in the order of its key."""
    return list(forum.db.execute(f"SELECT {names} FROM {table}"))


def test_a_view_equals_the_thread_of_the_state_tables(forum: Forum) -> None:
    """Both are the same thread after the same events, column by column."""
    thread = forum.open(run_id="run-1", agent_name="bob")
    for action, *args in (
        (actions.post, "more"),
        (actions.assign, "human", "kb", None),
        (actions.set_priority, "urgent"),
        (actions.answer, "v2"),
        (actions.close, None),
    ):
        forum.do(thread, action, *args)
    forum.apply_all()
    state = list(forum.db.execute("SELECT * FROM forum_threads"))
    views = list(forum.db.execute("SELECT * FROM forum_thread_views"))
    assert [row[: len(state[0])] for row in views] == state


def test_stats_count_a_thread_once_where_it_stands(forum: Forum) -> None:
    """A move takes the thread out of its old counter, and an empty counter goes."""
    forum.open(run_id="run-1")
    moved = forum.open(run_id="run-1")
    forum.open(ticket="MET-2", priority="high")
    forum.do(moved, actions.change_state, "waiting_human", None)
    forum.apply_all()
    assert column(forum, "forum_thread_stats", "ticket, run_id, state, priority, thread_count") == [
        ("MET-1", "run-1", "new", "normal", 1),
        ("MET-1", "run-1", "waiting_human", "normal", 1),
        ("MET-2", "", "new", "high", 1),
    ]
    forum.do(moved, actions.change_state, "closed", None)
    forum.apply_all()
    assert ("MET-1", "run-1", "waiting_human", "normal", 1) not in column(
        forum, "forum_thread_stats", "ticket, run_id, state, priority, thread_count"
    )


def test_waiting_counts_follow_the_clock(forum: Forum) -> None:
    """Whoever waits is counted for the ticket and for all; the answer takes it away again."""
    first = forum.open()
    forum.open(ticket="MET-2")
    forum.apply_all()
    assert column(forum, "forum_waiting_counts", "*") == [("", 2), ("MET-1", 1), ("MET-2", 1)]
    forum.do(first, actions.answer, "v2")
    forum.apply_all()
    assert column(forum, "forum_waiting_counts", "*") == [("", 1), ("MET-2", 1)]


def test_the_inbox_of_an_agent_holds_the_newest_answer(forum: Forum) -> None:
    """Posts are no answers; each answer counts, and the last one is named."""
    thread = forum.open(run_id="run-1", agent_name="bob")
    forum.open()
    forum.do(thread, actions.post, "which table?")
    forum.do(thread, actions.answer, "v1")
    forum.do(thread, actions.post, "sure?", actor="agent")
    forum.do(thread, actions.answer, "v2")
    forum.apply_all()
    answer = next(forum.db.execute("SELECT post_id, sequence FROM forum_posts ORDER BY sequence DESC LIMIT 1"))
    assert column(
        forum,
        "forum_agent_inbox",
        "run_id, agent_name, state, answers_count, last_answer_post_id, last_answer_sequence, last_answer_by_name",
    ) == [("run-1", "bob", "answered", 2, *answer, "kb")]


def test_the_inbox_of_an_agent_tells_whether_the_newest_answer_was_delivered_and_read(forum: Forum) -> None:
    """Receipts of the agent itself count, those of others do not; a new answer is neither delivered nor read."""
    wanted = "answers_count, unread_count, delivered_sequence, delivered_at, read_sequence, read_at"

    def told() -> list[Any]:
        forum.apply_all()
        return column(forum, "forum_agent_inbox", wanted)

    thread = forum.open(run_id="run-1", agent_name="bob")
    forum.do(thread, actions.answer, "v1")
    forum.do(thread, actions.answer, "v2")
    first, second = forum.unread(thread, "bob")
    forum.read(thread, "ann")
    forum.record(thread, [PostDelivered(second, "agent", "ann", "line")], "system")
    assert told() == [(2, 2, None, None, None, None)]
    forum.record(thread, [PostDelivered(second, "agent", "bob", "line")], "system")
    delivered = (forum.thread(thread).last_event_sequence, forum.now)
    assert told() == [(2, 2, *delivered, None, None)]
    assert column(forum, "forum_unread_answers", "post_id, delivered_at") == [(first, None), (second, forum.now)]
    forum.read(thread, "bob")
    assert told() == [(2, 0, *delivered, forum.thread(thread).last_event_sequence, forum.now)]
    assert column(forum, "forum_unread_answers", "post_id") == forum.unread(thread, "bob") == []
    assert of_post(forum.db, second)[-1] == {
        "reader_type": "agent", "reader_name": "bob", "delivered_how": "line", "delivered_at": delivered[1],
        "read_at": forum.now,
    }  # fmt: skip
    forum.do(thread, actions.post, "sure?", actor="agent")
    forum.do(thread, actions.answer, "yes")
    assert told() == [(3, 1, None, None, None, None)]


def test_the_inbox_of_an_older_answer_changes_its_count_alone(forum: Forum) -> None:
    """To have read the first answer says nothing about the newest one."""
    thread = forum.open(agent_name="bob")
    forum.do(thread, actions.answer, "v1")
    forum.do(thread, actions.answer, "v2")
    (first,) = forum.read(thread, "bob", most=1)
    forum.record(thread, [PostDelivered(first, "agent", "bob", "line")], "system")
    assert {"delivered_at", "read_at"} <= set(of_post(forum.db, first)[0])
    forum.apply_all()
    assert column(forum, "forum_agent_inbox", "unread_count, read_at") == [(1, None)]


def test_to_read_an_answer_that_the_inbox_never_got_counts_nothing(forum: Forum) -> None:
    """An answer whose event was left out is no unread one, and does not become less than none."""
    thread = forum.open(agent_name="bob")
    forum.do(thread, actions.answer, "v1")
    forum.apply(skip={("agent_inbox", 2)})
    forum.read(thread, "bob")
    forum.apply_all()
    assert column(forum, "forum_agent_inbox", "unread_count") == [(0,)]


def test_every_post_is_indexed_with_its_ticket_and_run(forum: Forum) -> None:
    """Title and body of the opening, the body of each post, and one word each for ticket and run."""
    thread = forum.open(ticket="MET-1", run_id="run-1", title="Schema", body="One Größe?")
    forum.do(thread, actions.post, "two")
    forum.apply_all()
    scope = [f"\ue000t{b'MET-1'.hex()}", f"\ue000r{b'run-1'.hex()}"]
    found = [(term, doc) for term, doc, *_ in rows_of(forum.db, "forum_search")]
    expected = [(term, 1) for term in ("schema", "one", "große", *scope)] + [(term, 2) for term in ("two", *scope)]
    assert sorted(found) == sorted(expected)


def test_a_batch_of_posts_is_one_segment_of_the_index(forum: Forum) -> None:
    """The full-text index writes once for a batch: a segment for each post has to be merged away again and again."""
    for _ in range(30):
        forum.open()
    forum.apply_all()
    assert column(forum, "forum_search_idx", "count(DISTINCT segid)") == [(1,)]


def test_one_transaction_moves_effects_and_cursor(forum: Forum) -> None:
    """What is applied, the cursors and the batch rows stand or fall together."""
    forum.open()
    forum.open()
    forum.db.execute("BEGIN")
    forum._projector.apply_next(forum.db, forum.now)
    forum.db.execute("ROLLBACK")
    assert position(forum.db) == 0
    assert column(forum, "forum_thread_views", "thread_id") == []
    assert forum.apply().last == 2
    assert column(forum, "projection_batches", "first_sequence, last_sequence") == [(1, 2)]
    assert {row[0] for row in column(forum, "projection_cursors", "sequence")} == {2}


def test_the_next_event_is_the_smallest_above_the_cursor(forum: Forum) -> None:
    """Sequences have gaps after a restore."""
    forum.open()
    forum.db.execute("UPDATE sqlite_sequence SET seq = 500 WHERE name = 'forum_events'")
    forum.open()
    assert forum.apply(limit=1).last == 1
    assert forum.apply(limit=1).last == 501
    assert forum.apply(limit=1).events == 0


def test_the_shell_sees_which_event_was_applied(forum: Forum) -> None:
    """`forum_projection_events` names every event and projection, from one row per batch."""
    forum.open()
    forum.open()
    forum.apply_all()
    assert len(column(forum, "forum_projection_events", "*")) == 2 * 4


def test_old_batches_are_forgotten(forum: Forum) -> None:
    """Only the newest sequences keep their rows; the cursor is the truth."""
    for _ in range(5):
        forum.open()
        forum.apply()
    assert forum.write(lambda: forget_batches(forum.db, keep=2, limit=100)) == 2
    assert min(row[0] for row in column(forum, "projection_batches", "last_sequence")) == 3


def test_a_failing_projection_is_named_and_can_be_left_out(forum: Forum) -> None:
    """The other projections get the event, and later events go on from there."""
    thread = forum.open(agent_name="bob")
    forum.apply_all()
    forum.db.execute("INSERT INTO forum_agent_inbox (run_id, agent_name, thread_id, ticket, state)"
                     " VALUES ('', 'bob', 'fthr-2', 'MET-1', 'new')")  # fmt: skip
    forum.open(agent_name="bob")
    with pytest.raises(ProjectionFailed) as caught:
        forum.apply()
    assert (caught.value.projection, caught.value.sequence) == ("agent_inbox", 2)
    assert position(forum.db) == 1
    forum.do(thread, actions.answer, "v2")
    assert forum.apply(skip={("agent_inbox", 2)}).last == 4
    assert [row[0] for row in column(forum, "forum_thread_views", "thread_id")] == ["fthr-1", "fthr-2"]


def test_what_a_handler_knows_of_its_thread_counts(tmp_path: Path) -> None:
    """The read models take it as it is told, here with another title than the events would give."""
    fresh = FreshEvents()
    forum = Forum(tmp_path / "db", fresh=fresh)
    forum.open()
    [(event_id,)] = forum.db.execute("SELECT event_id FROM forum_events")
    told = fresh.take(1, event_id)
    assert told is not None and told.after is not None
    fresh.keep(told.event, "")
    fresh.changed(attrs.evolve(told, after=attrs.evolve(told.after, title="As told")))
    forum.apply()
    assert column(forum, "forum_thread_views", "title") == [("As told",)]
    forum.db.close()


def test_what_a_handler_knows_does_not_count_where_the_read_models_know_something_else(tmp_path: Path) -> None:
    """They lack an event that was left out: with the shortcut and without it they make the same of the next."""
    told = []
    for name, fresh in (("read", None), ("known", FreshEvents())):
        forum = Forum(tmp_path / name, fresh=fresh)
        thread = forum.open(agent_name="bob")
        forum.apply()
        forum.do(thread, actions.change_state, "waiting_human", None)
        forum.apply(skip={(EVERY, 2)})
        forum.do(thread, actions.set_priority, "urgent")
        forum.apply_all()
        views = column(forum, "forum_thread_views", "state, priority, posts_count, last_event_sequence")
        told.append((views, column(forum, "forum_thread_stats", "state, priority, thread_count")))
        forum.db.close()
    assert told[0] == told[1]
    assert told[0][1] == [("new", "urgent", 1)]


def test_an_event_of_a_thread_that_was_never_opened_fails_for_all(forum: Forum) -> None:
    """It cannot be applied to anything, and is left out as a whole."""
    forum.open()
    forum.db.execute("UPDATE forum_events SET thread_id = 'fthr-lost', event_type = 'forum.post.added',"
                     ' payload_json = \'{"body":"x","kind":"post"}\'')  # fmt: skip
    with pytest.raises(ProjectionFailed) as caught:
        forum.apply()
    assert caught.value.projection == EVERY
    assert forum.apply(skip={(EVERY, 1)}).last == 1


def test_events_by_the_system_do_not_make_a_thread_unseen(forum: Forum) -> None:
    """The version stays; the place in the order moves."""
    thread = forum.open()
    forum.record(thread, [StateChanged("new", "triaged")], "system")
    forum.apply_all()
    assert column(forum, "forum_thread_views", "version_sequence, last_event_sequence") == [(1, 2)]


def test_the_limit_bounds_a_batch(forum: Forum) -> None:
    """`more` says that others may wait."""
    for _ in range(4):
        forum.open()
    one = forum.apply(limit=1)
    assert (one.first, one.last, one.events, one.more) == (1, 1, 1, True)
    assert forum.apply(limit=2).events == 2
    assert forum.apply(limit=2).more is False


def test_stats_tell_who_waits_and_who_waits_too_long(forum: Forum) -> None:
    """Waiting, breached and the oldest, of all, of a ticket, of a run."""
    forum.open(ticket="MET-1", run_id="run-1")
    oldest = forum.now
    forum.later(minutes=40)
    due = forum.now
    forum.open(ticket="MET-1", run_id="run-2")
    forum.open(ticket="MET-2")
    forum.apply_all()
    told = {
        (ticket, run): thread_stats.stats(forum.db, ticket, run, 10, None, due=due)["sla"]
        for ticket, run in ((None, None), ("MET-1", None), (None, "run-2"), ("MET-1", "run-1"), ("MET-9", None))
    }
    assert told[None, None] == {"waiting_count": 3, "breached_count": 1, "oldest_waiting_since": oldest}
    assert told["MET-1", None] == {"waiting_count": 2, "breached_count": 1, "oldest_waiting_since": oldest}
    assert {**told[None, "run-2"], "oldest_waiting_since": ""} == {
        "waiting_count": 1, "breached_count": 0, "oldest_waiting_since": ""}  # fmt: skip
    assert told["MET-1", "run-1"] == {"waiting_count": 1, "breached_count": 1, "oldest_waiting_since": oldest}
    assert told["MET-9", None] == {"waiting_count": 0, "breached_count": 0}


def test_a_plain_post_by_the_asker_keeps_the_counters(forum: Forum) -> None:
    """Nothing is written to the counters when the thread stays where it is."""
    thread = forum.open()
    forum.apply_all()
    before = rows_of(forum.db, "forum_thread_stats")
    forum.record(thread, [PostAdded("more", "post", "p1")], "agent")
    forum.apply_all()
    assert rows_of(forum.db, "forum_thread_stats") == before


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("two words", ["two", "words"]),
        ('an "exact phrase" here', ["an", "exact phrase", "here"]),
        ("NEAR(a b) AND NOT c* ^d body:e -f", ["NEAR(a", "b)", "AND", "NOT", "c*", "^d", "body:e", "-f"]),
        ('" unbalanced', ["unbalanced"]),
        ("-- ... \x00 *", []),
        ("", []),
        ("x" * 500, ["x" * 200]),
        (" ".join("ab" for _ in range(40)), ["ab"] * 16),
    ],
)
def test_a_query_is_only_words(query: str, expected: list[str]) -> None:
    """Nothing in a query is an operator, and its size is bounded."""
    assert words(query) == expected


def test_a_snippet_shows_the_place_that_matches() -> None:
    """One line around the word, whatever its case and accents; the beginning when there is none."""
    text = "lorem ipsum\n" * 50 + "Über die GRÖSSE streiten" + " dolor" * 50
    assert "GRÖSSE streiten" in snippet(text, ["grosse"])
    assert snippet("short\ntext", ["nothing"]) == "short text"
    assert len(snippet(text, ["dolor"])) <= 162
