"""forum_search: the words of every title and post, newest first."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve

from metawsm.bus import cursors
from metawsm.bus.ports import Db
from metawsm.bus.reading import Filters, Viewer, shown
from metawsm.bus.specs import Change, ProjectionSpec
from metawsm.domain.events import ControlSignal, Fact, PostAdded, ThreadOpened
from metawsm.domain.ids import post_id
from metawsm.domain.thread import Thread
from metawsm.messages.thread_rows import COLUMNS, from_row

# Hits looked at for one page: filters on what changes (state, priority, assignee) are no part of the index.
SCAN_LIMIT = 500
_WORDS_LIMIT = 16
_WORD_LIMIT = 200
_SNIPPET = 160
_PIECES = re.compile(r'"([^"]*)"|([^\s"]+)')
_SIGNAL_TEXTS = ("question", "context", "answer", "summary", "done_criteria")


def schema(prefix: str) -> str:
    """A full-text index without a copy of the texts; the rowid is the sequence of the post's event.

    `scope` holds one word for the ticket and one for the run, so that both are part of the match.
    """
    return f"""
CREATE VIRTUAL TABLE {prefix}forum_search USING fts5 (
    title, body, scope, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
);
"""


def build(prefix: str) -> Callable[[Db, Change], None]:
    """Index the texts that an event brings."""
    insert = f"INSERT INTO {prefix}forum_search (rowid, title, body, scope) VALUES (?, ?, ?, ?)"

    def apply(db: Db, change: Change) -> None:
        texts = _texts(change.event.fact)
        if texts is not None and change.after is not None:
            scope = _scope(change.after.ticket, change.after.run_id)
            db.execute(insert, (change.event.sequence, *texts, " ".join(scope)))

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


def _scope(ticket: str | None, run_id: str | None) -> list[str]:
    # In hexadecimal a name is one word, whatever characters it has.
    named = (("t", ticket), ("r", run_id))
    return [letter + name.encode().hex() for letter, name in named if name]


SPEC = ProjectionSpec(name="search", version=1, tables=("forum_search",), schema=schema, build=build)

_HITS = f"""
SELECT f.rowid, e.event_id, e.payload_json, {", ".join(f"v.{name}" for name in COLUMNS)}
FROM forum_search f
CROSS JOIN forum_events e ON e.sequence = f.rowid
CROSS JOIN forum_thread_views v ON v.thread_id = e.thread_id
WHERE f.forum_search MATCH ?1 AND f.rowid < ?2
ORDER BY f.rowid DESC
"""
_NEWER = "SELECT 1 FROM forum_search WHERE forum_search MATCH ?1 AND rowid = ?2"
_POSTS = "SELECT sequence FROM forum_posts WHERE thread_id = ? AND sequence > ? AND sequence <= ?"
_HEAD = "SELECT max(sequence) FROM projection_cursors"


def words(query: str) -> list[str]:
    """The words and "quoted phrases" of a query; none of FTS5's own syntax has a meaning here."""
    pieces = (quoted or word for quoted, word in _PIECES.findall(_clean(query)))
    return [piece[:_WORD_LIMIT] for piece in pieces if any(c.isalnum() for c in piece)][:_WORDS_LIMIT]


def _clean(text: str) -> str:
    return text.replace("\x00", " ").encode("utf-8", "replace").decode()


def _match(found: list[str], filters: Filters) -> str:
    match = " ".join(f'"{word}"' for word in found)
    scope = " ".join(f'"{word}"' for word in _scope(filters.ticket, filters.run_id))
    return f"{{title body}} : ({match})" + (f" AND scope : ({scope})" if scope else "")


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
    """`{threads: [view + match], next_cursor?}`: threads with a post (or title) that has all words, newest post first.

    `match` is `{sequence, post_id, snippet}` of that post. A thread comes once. Raises Malformed for a bad cursor.
    """
    found = words(query)
    question = cursors.fingerprint("search", found, filters)
    head, below = cursors.decode(cursor, question, (int, int)) if cursor else (_head(db), 2**62)
    if not found:
        return {"threads": []}
    hits = _Hits(db, _match(found, filters), filters, head)
    threads = []
    for thread, hit in hits.page(below, limit):
        threads.append(shown(db, thread, viewer, escalation_minutes) | {"match": _told(hit, found)})
    return {"threads": threads} | ({"next_cursor": cursors.encode(question, (head, hits.end))} if hits.more else {})


def _head(db: Db) -> int:
    return next((int(row[0] or 0) for row in db.execute(_HEAD)), 0)


class _Hits:
    """The hits of one match, newest first; after `page`, `end` is the last one looked at, `more` whether any follow."""

    def __init__(self, db: Db, match: str, filters: Filters, head: int) -> None:
        self._db = db
        self._match = match
        self._filters = filters
        self._head = head
        self.end = 0
        self.more = False

    def page(self, below: int, limit: int) -> Iterator[tuple[Thread, Any]]:
        """At most `limit` (thread, row) with a sequence under `below` and not above the head."""
        given = 0
        for looked, row in enumerate(self._db.execute(_HITS, (self._match, min(below, self._head + 1)))):
            if given == limit or looked == SCAN_LIMIT:
                self.more = True
                return
            self.end = row[0]
            thread = from_row(row[3:])
            if _fits(thread, self._filters) and not self._was_given(thread, row[0]):
                given += 1
                yield thread, row

    def _was_given(self, thread: Thread, sequence: int) -> bool:
        """Whether a newer post of the thread matches too: then the thread has been given with that one."""
        if thread.posts_count == 1:
            return False
        newer = list(self._db.execute(_POSTS, (thread.thread_id, sequence, self._head)))
        return any(list(self._db.execute(_NEWER, (self._match, post))) for (post,) in newer)


def _fits(thread: Thread, filters: Filters) -> bool:
    wanted = evolve(filters, ticket=None, run_id=None)
    has = ((wanted.state, thread.state), (wanted.priority, thread.priority), (wanted.assignee, thread.assignee_name))
    return all(want is None or want == is_ for want, is_ in has)


def _told(row: Any, found: list[str]) -> dict[str, Any]:
    sequence, event_id, payload = row[:3]
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
