"""RecordDelivery: that an answer came before its agent is written down once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metawsm.commands import record_delivery
from metawsm.commands.record_delivery import RecordDelivery
from metawsm.domain import actions
from metawsm.domain.errors import NotFound
from metawsm.storage.receipts import of_post
from tests.support.read_side import Forum


@pytest.fixture
def forum(tmp_path: Path) -> Iterator[Forum]:
    """An empty forum."""
    made = Forum(tmp_path / "metawsm.db")
    yield made
    made.db.close()


def deliver(forum: Forum, thread: str, post: str, how: str = "line", agent: str = "bob") -> int:
    """Handle the command; how many events it made."""
    work = forum._work("system", None, {"ticket": "MET-1", "thread_id": thread})
    message = RecordDelivery(thread_id=thread, post_id=post, how=how, reader_name=agent)
    forum.write(lambda: record_delivery.handle(work, message))
    return len(work.queued)


def test_a_delivery_is_recorded_once_for_each_agent(forum: Forum) -> None:
    """A second one of the same answer to the same agent is a no-op, however it came; another agent's is its own."""
    thread = forum.open(agent_name="bob")
    forum.do(thread, actions.answer, "v2")
    (post,) = forum.unread(thread, "bob")
    assert [deliver(forum, thread, post, "line"), deliver(forum, thread, post, "paste")] == [1, 0]
    assert deliver(forum, thread, post, agent="ann") == 1
    head, how = next(forum.db.execute(
        "SELECT actor_type, payload_json FROM forum_events WHERE event_type = 'forum.post.delivered'"))  # fmt: skip
    assert (head, '"how":"line"' in how) == ("system", True)
    assert [receipt["reader_name"] for receipt in of_post(forum.db, post)] == ["bob", "ann"]


def test_an_answer_that_was_read_first_can_still_be_delivered(forum: Forum) -> None:
    """Both stand in its receipt."""
    thread = forum.open(agent_name="bob")
    forum.do(thread, actions.answer, "v2")
    (post,) = forum.read(thread, "bob")
    assert deliver(forum, thread, post) == 1
    assert {"read_at", "delivered_at"} <= set(of_post(forum.db, post)[0])


def test_what_is_no_answer_of_the_thread_is_not_delivered(forum: Forum) -> None:
    """A plain post, another thread's answer, a post that is not there: not found, and no event."""
    thread, other = forum.open(agent_name="bob"), forum.open(agent_name="bob")
    forum.do(thread, actions.post, "hello")
    forum.do(other, actions.answer, "v2")
    posts = [str(post) for (post,) in forum.db.execute("SELECT post_id FROM forum_posts")]
    for post in (*posts, "fevt-none.post"):
        with pytest.raises(NotFound):
            deliver(forum, thread, post)
