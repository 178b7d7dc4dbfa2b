"""`forum_post_receipts`: which answers came before which agent, and which of them it has read."""

from __future__ import annotations

from typing import Any

from metawsm.bus.ports import Db
from metawsm.domain.events import PostDelivered, PostRead
from metawsm.storage.schema import ANSWER

MOST_SHOWN = 20  # readers of one post
_DELIVER = """
INSERT INTO forum_post_receipts (post_id, reader_type, reader_name, delivered_how, delivered_at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET delivered_how = excluded.delivered_how, delivered_at = excluded.delivered_at
"""
_READ = """
INSERT INTO forum_post_receipts (post_id, reader_type, reader_name, read_at) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET read_at = excluded.read_at
"""
_UNREAD = f"""
SELECT post_id FROM forum_posts
WHERE thread_id = ? AND sequence BETWEEN ? AND ? AND {ANSWER} AND NOT EXISTS (
    SELECT 1 FROM forum_post_receipts r WHERE r.post_id = forum_posts.post_id
    AND r.reader_type = 'agent' AND r.reader_name = ? AND r.read_at IS NOT NULL)
ORDER BY sequence LIMIT ?
"""
_DELIVERED = f"""
SELECT EXISTS (SELECT 1 FROM forum_post_receipts r WHERE r.post_id = forum_posts.post_id
    AND r.reader_type = 'agent' AND r.reader_name = ? AND r.delivered_at IS NOT NULL)
FROM forum_posts WHERE post_id = ? AND thread_id = ? AND {ANSWER}
"""
_OF_POST = """
SELECT reader_type, reader_name, delivered_how, delivered_at, read_at
FROM forum_post_receipts WHERE post_id = ? ORDER BY coalesce(read_at, delivered_at) LIMIT ?
"""


def save(db: Db, fact: PostDelivered | PostRead, at: str) -> None:
    """Write down a receipt; its events come once for each (post, reader)."""
    reader = (fact.post_id, fact.reader_type, fact.reader_name)
    if isinstance(fact, PostRead):
        db.execute(_READ, (*reader, at))
    else:
        db.execute(_DELIVER, (*reader, fact.how, at))


def unread_answers(db: Db, thread_id: str, agent: str, first: int, last: int, limit: int) -> list[str]:
    """Post ids of the answers in [first, last] that an agent has not read, the oldest first."""
    return [str(post) for (post,) in db.execute(_UNREAD, (thread_id, first, last, agent, limit))]


def is_delivered(db: Db, thread_id: str, post_id: str, agent: str) -> bool | None:
    """Whether an answer has come before an agent; None where the thread has no such answer."""
    for (delivered,) in db.execute(_DELIVERED, (agent, post_id, thread_id)):
        return bool(delivered)
    return None


def of_post(db: Db, post_id: str) -> list[dict[str, Any]]:
    """A post's receipts as REST shows them, the oldest first; at most MOST_SHOWN."""
    names = ("reader_type", "reader_name", "delivered_how", "delivered_at", "read_at")
    rows = db.execute(_OF_POST, (post_id, MOST_SHOWN))
    return [{name: value for name, value in zip(names, row, strict=True) if value is not None} for row in rows]
