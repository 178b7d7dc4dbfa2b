"""forum_search: the words of every title and post, newest first."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from metawsm.bus import cursors
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters, Viewer, shown
from metawsm.bus.specs import Change, ProjectionSpec
from metawsm.domain.events import ControlSignal, Fact, PostAdded, ThreadOpened
from metawsm.domain.ids import post_id
from metawsm.domain.thread import Thread
from metawsm.messages.thread_rows import COLUMN_LIST, COLUMNS, from_row

# What one page may cost before it ends short: filters on what changes (state, priority, assignee) are no part of the
# index, and a long thread may have thousands of hits. A hit in a thread that was looked at costs 1.
_BUDGET = 2000
_LOOK_COST = 10
_WORDS_LIMIT = 16
_WORD_LIMIT = 200
_SNIPPET = 160
_PIECES = re.compile(r'"([^"]*)"|([^\s"]+)')
_SIGNAL_TEXTS = ("question", "context", "answer", "summary", "done_criteria")


def schema(prefix: str) -> str:
    """A full-text index without a copy of the texts, and the key of each post's thread in `forum_thread_views`.

    The rowid is the sequence of the post's event. `scope` holds one word for the ticket and one for the run, so that
    both are part of the match. Large leaves: with 4,000 bytes, to find the few posts of a run among two million that
    have a common word took 2 ms, with 16,000 a quarter of that, and writing costs the same.
    """
    return f"""
CREATE TABLE {prefix}forum_search_threads (sequence INTEGER PRIMARY KEY, opened_sequence INTEGER NOT NULL);
CREATE VIRTUAL TABLE {prefix}forum_search USING fts5 (
    title, body, scope, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO {prefix}forum_search ({prefix}forum_search, rank) VALUES ('pgsz', 16000);
"""


def build(prefix: str) -> Callable[[Db, Change], None]:
    """Index the texts that an event brings.

    No statement here or in other read models may be an INSERT from a SELECT, for each event at least: it opens a
    statement savepoint, at which the full-text index writes out what it holds, 25 microseconds and a segment each.
    """
    insert = f"INSERT INTO {prefix}forum_search (rowid, title, body, scope) VALUES (?, ?, ?, ?)"
    find = f"SELECT opened_sequence FROM {prefix}forum_thread_views WHERE thread_id = ?"
    belong = f"INSERT INTO {prefix}forum_search_threads VALUES (?, ?)"

    def apply(db: Db, change: Change) -> None:
        texts = _texts(change.event.fact)
        if texts is not None and change.after is not None:
            sequence, thread = change.event.sequence, change.after
            db.run(insert, (sequence, *texts, _scope_text(thread.ticket, thread.run_id)))
            opened = sequence if change.before is None else next(iter(db.execute(find, (thread.thread_id,))))[0]
            db.run(belong, (sequence, opened))

    return apply


def _texts(fact: Fact) -> tuple[str, str] | None:
    match fact:
        case ThreadOpened(title=title, body=body):
            return title, body
        case PostAdded(body=body):
            return "", body
        case ControlSignal(signal=signal):
            return "", _signal_text(signal)
    return None


def _signal_text(signal: dict[str, Any]) -> str:
    return "\n".join(str(signal[name]) for name in _SIGNAL_TEXTS if signal.get(name))


@lru_cache(256)
def _scope_text(ticket: str | None, run_id: str | None) -> str:
    return " ".join(_scope(ticket, run_id))


def _scope(ticket: str | None, run_id: str | None) -> list[str]:
    # In hexadecimal a name is one word, whatever characters it has; the private letter keeps it apart from real words.
    named = (("t", ticket), ("r", run_id))
    return [f"\ue000{letter}{name.encode().hex()}" for letter, name in named if name]


SPEC = ProjectionSpec(
    name="search", version=2, tables=("forum_search", "forum_search_threads"), schema=schema, build=build
)

_HITS = """
SELECT f.rowid, t.opened_sequence FROM forum_search f CROSS JOIN forum_search_threads t ON t.sequence = f.rowid
WHERE f.forum_search MATCH ?1 AND f.rowid < ?2 ORDER BY f.rowid DESC
"""
_THREAD = f"SELECT {COLUMN_LIST} FROM forum_thread_views WHERE opened_sequence = ?"
_EVENT = "SELECT event_id, payload_json FROM forum_events WHERE sequence = ?"
# Whether a thread has a hit among newer events, asked post by post, or by going through all hits there are.
_NEWER_POST = """
SELECT 1 FROM forum_posts p CROSS JOIN forum_search f ON f.rowid = p.sequence
WHERE p.thread_id = :thread AND p.sequence >= :first AND p.sequence <= :last AND f.forum_search MATCH :match LIMIT 1
"""
_NEWER_HIT = """
SELECT 1 FROM forum_search f CROSS JOIN forum_search_threads t ON t.sequence = f.rowid
WHERE f.forum_search MATCH :match AND f.rowid >= :first AND f.rowid <= :last AND t.opened_sequence = :key LIMIT 1
"""
_POST_COST = 70  # of a post asked for, in hits gone through: 35 and 0.5 microseconds
_HEAD = "SELECT max(sequence) FROM projection_cursors"


def words(query: str) -> list[str]:
    """The words and "quoted phrases" of a query; none of FTS5's own syntax has a meaning here."""
    pieces = (quoted or word for quoted, word in _PIECES.findall(_clean(query)))
    return [piece[:_WORD_LIMIT] for piece in pieces if any(c.isalnum() for c in piece)][:_WORDS_LIMIT]


def _clean(text: str) -> str:
    return text.replace("\x00", " ").encode("utf-8", "replace").decode()


def _match(found: list[str], filters: Filters) -> str:
    match = " ".join(f'"{word}"' for word in found)
    return " AND ".join([f"({match})", *(f'"{word}"' for word in _scope(filters.ticket, filters.run_id))])


def search(
    db: Db,
    query: str,
    filters: Filters,
    viewer: Viewer | None,
    limit: int,
    cursor: str | None,
    *,
    escalation_minutes: int,
) -> dict[str, Any]:
    """`{threads: [view + match], next_cursor?}`: threads with a post that has all words (the title
    belongs to the first post), newest post first.

    `match` is `{sequence, post_id, snippet}` of that post. A thread comes once. Raises Malformed for a bad cursor.
    """
    found = words(query)
    question = cursors.fingerprint("search", found, filters)
    head, below = cursors.decode(cursor, question, (int, int)) if cursor else (_head(db), 2**62)
    if not found:
        return {"threads": []}
    hits = _Hits(db, _match(found, filters), filters, head)
    threads = []
    for thread, sequence in hits.page(below, limit):
        threads.append(shown(db, thread, viewer, escalation_minutes) | {"match": _told(db, sequence, found)})
    return {"threads": threads} | ({"next_cursor": cursors.encode(question, (head, hits.end))} if hits.more else {})


def _head(db: Db) -> int:
    return next((int(row[0] or 0) for row in db.execute(_HEAD)), 0)


class _Hits:
    """The hits of one match, newest first; after `page`, `end` is the last one looked at, `more` whether any follow."""

    def __init__(self, db: Db, match: str, filters: Filters, head: int) -> None:
        self._db = db
        self._match = match
        wanted = {"state": filters.state, "priority": filters.priority, "assignee_name": filters.assignee}
        self._wanted = [(COLUMNS.index(name), value) for name, value in wanted.items() if value is not None]
        self._head = head
        self.end = 0
        self.more = False

    def page(self, below: int, limit: int) -> Iterator[tuple[Thread, int]]:
        """At most `limit` threads, each with the sequence of its hit, under `below` and not above the head."""
        looked_at: set[int] = set()
        given = spent = 0
        for sequence, key in self._db.execute(_HITS, (self._match, min(below, self._head + 1))):
            if given == limit or spent >= _BUDGET:
                self.more = True
                return
            self.end = sequence
            spent += 1 if key in looked_at else _LOOK_COST
            if key not in looked_at and (thread := self._thread(key, below)):
                given += 1
                yield thread, sequence
            looked_at.add(key)

    def _thread(self, key: int, below: int) -> Thread | None:
        """The thread with this key, unless the filters leave it out or it stands on an earlier page."""
        row = next(iter(self._db.execute(_THREAD, (key,))))
        if any(row[column] != value for column, value in self._wanted):
            return None
        thread = from_row(row)
        return None if below <= self._head and self._is_newer(thread, key, below) else thread

    def _is_newer(self, thread: Thread, key: int, first: int) -> bool:
        """Whether the thread has a hit from `first` on, so that it stands on an earlier page."""
        by_post = (self._head - first) > _POST_COST * thread.posts_count
        bounds = {"first": first, "last": self._head, "match": self._match}
        own = {"thread": thread.thread_id} if by_post else {"key": key}
        return any(True for _ in self._db.execute(_NEWER_POST if by_post else _NEWER_HIT, bounds | own))


def _told(db: Db, sequence: int, found: list[str]) -> dict[str, Any]:
    event_id, payload = next(iter(db.execute(_EVENT, (sequence,))))
    text = _text_of(json.loads(payload))
    return {"sequence": sequence, "post_id": post_id(event_id), "snippet": snippet(text, found)}


def _text_of(payload: dict[str, Any]) -> str:
    if "signal" in payload:
        return _signal_text(payload["signal"])
    return "\n".join(payload[name] for name in ("title", "body") if payload.get(name))


def snippet(text: str, found: list[str]) -> str:
    """About 160 characters around the first place that has one of the words, on one line."""
    plain = _folded(text)
    places = (plain.find(_folded(word)) for word in found)
    place = min((p for p in places if p >= 0), default=0)
    begin = max(0, place - _SNIPPET // 3)
    cut = " ".join(text[begin : begin + _SNIPPET].split())
    return ("…" if begin else "") + cut + ("…" if begin + _SNIPPET < len(text) else "")


def _folded(text: str) -> str:
    """Lower case without diacritics, character by character, so that places stay the same."""
    if text.isascii():
        return text.lower()
    return "".join(unicodedata.normalize("NFD", c)[0].lower()[:1] or c for c in text)
