"""A forum without a daemon: commands are handled on a plain connection, events applied when the test says so."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw

from metawsm.bus.fresh import FreshEvents
from metawsm.bus.ports import Row
from metawsm.bus.projecting import Applied
from metawsm.bus.reading import Viewer
from metawsm.bus.work import Tools, Work
from metawsm.domain import actions
from metawsm.domain.envelope import SYSTEM, Envelope
from metawsm.domain.events import Fact, ThreadOpened
from metawsm.domain.ids import prefixed
from metawsm.domain.thread import Thread
from metawsm.domain.view import timestamp
from metawsm.messages.topics import Topics
from metawsm.projections import ALL
from metawsm.storage.connection import open_writer
from metawsm.storage.event_log import EventLog
from metawsm.storage.forum_store import ForumStore
from metawsm.storage.migrations import Migration, migrate
from metawsm.storage.reads import save_seen
from metawsm.storage.rebuild import make_projector, prepare
from metawsm.storage.schema_steps import STEPS
from tests.support.run_settings import SETTINGS

MINUTES = 30
START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
KB = Viewer("human", "kb")


class Forum:
    """A real database with the state tables and the read models; each command is one second later than the last.

    With `fresh` the read models hear from the handlers what has changed, as they do in the daemon.
    """

    def __init__(self, path: Path, steps: Sequence[Migration] = STEPS, fresh: FreshEvents | None = None) -> None:
        self.db = open_writer(path)
        self.db.execute("PRAGMA synchronous = OFF")
        migrate(self.db, steps)
        self.moment = START
        self._projector = make_projector(fresh=fresh)
        self._store = ForumStore(EventLog(Topics(), fresh or FreshEvents()), save_seen)
        self._opened = 0
        assert self.write(lambda: prepare(self.db, self.now)) is False

    @property
    def now(self) -> str:
        """The forum's time."""
        return timestamp(self.moment)

    def later(self, **by: float) -> None:
        """Let time pass."""
        self.moment += timedelta(**by)

    def write(self, job: Callable[[], Any]) -> Any:
        """Do something in a transaction; an error undoes it."""
        with self.db:
            return job()

    def open(
        self,
        ticket: str = "MET-1",
        body: str = "which one?",
        priority: str = "normal",
        actor: str = "agent",
        **head: str,
    ) -> str:
        """Ask a question; return the thread's id. `head` may hold run_id, agent_name, title, thread_id."""
        self._opened += 1
        title = head.pop("title", f"Question {self._opened}")
        thread_id = head.pop("thread_id", f"fthr-{self._opened}")
        about: dict[str, Any] = {"ticket": ticket, "thread_id": thread_id, **head}
        self._record(None, [ThreadOpened(title, body, priority)], actor, head.get("agent_name"), about)
        return thread_id

    def do(self, thread_id: str, action: Callable[..., list[Fact]], *args: Any, actor: str = "human") -> None:
        """One of `domain.actions` on a thread, by an actor of this type named kb (or the asker, for an agent)."""
        thread = self.thread(thread_id)
        name = thread.agent_name if actor == "agent" else "kb"
        work = self._work(actor, name, {"ticket": thread.ticket, "thread_id": thread_id})
        takes_actor = action in (actions.post, actions.answer, actions.change_state, actions.signal)
        facts = action(thread, work.actor, *args) if takes_actor else action(thread, *args)
        if facts:
            self.write(lambda: work.record(thread, facts))

    def record(self, thread_id: str, facts: list[Fact], actor: str) -> None:
        """Facts as they are, whether an action would make them or not."""
        thread = self.thread(thread_id)
        self._record(thread, facts, actor, None, {"ticket": thread.ticket, "thread_id": thread_id})

    def unread(self, thread_id: str, agent: str) -> list[str]:
        """Post ids of the thread's answers that the agent has not read."""
        return self._store.unread_answers(self.db, thread_id, agent, 0, self.thread(thread_id).last_event_sequence, 999)

    def read(self, thread_id: str, agent: str, most: int = 999) -> list[str]:
        """The agent reads its oldest unread answers on a thread; give their posts."""
        posts = self.unread(thread_id, agent)[:most]
        thread = self.thread(thread_id)
        work = self._work("agent", agent, {"ticket": thread.ticket, "thread_id": thread_id})
        self.write(lambda: work.record(thread, actions.read(posts, agent), by=SYSTEM))
        return posts

    def see(self, thread_id: str, sequence: int | None = None, viewer: Viewer = KB) -> None:
        """The viewer has seen the thread, up to `sequence` (None: all of it)."""
        thread = self.thread(thread_id)
        upto = thread.last_event_sequence if sequence is None else sequence
        self.write(lambda: save_seen(self.db, viewer.type, viewer.id, thread, upto, self.now))

    def apply(self, **options: Any) -> Applied:
        """Apply the next batch of events to the read models; how long that takes does not matter."""
        asked = {"budget_seconds": 10.0} | options
        applied: Applied = self.write(lambda: self._projector.apply_next(self.db, self.now, **asked))
        return applied

    def apply_all(self) -> None:
        """Apply all events."""
        while self.apply(limit=1000, budget_seconds=10).more:
            pass

    def thread(self, thread_id: str) -> Thread:
        """The thread as the state tables have it."""
        found = self._store.find_thread(self.db, thread_id)
        assert found is not None
        return found

    def read_models(self) -> dict[str, list[Row]]:
        """All logical rows of all read models, in order."""
        return {table: rows_of(self.db, table) for spec in ALL for table in spec.tables}

    def _work(self, actor: str, name: str | None, about: dict[str, Any]) -> Work:
        self.later(seconds=1)
        tools = Tools(lambda: self.now, new_id, MINUTES, SETTINGS)
        command_id = new_id("fcmd")
        command = Envelope(command_id, "forum.commands.test", 1, self.now, actor_type=actor, actor_name=name,
                           correlation_id=command_id, **about)  # fmt: skip
        return Work(self.db, self._store, tools, command, None, self.now)

    def _record(
        self, thread: Thread | None, facts: list[Fact], actor: str, name: str | None, about: dict[str, Any]
    ) -> None:
        work = self._work(actor, name, about)
        self.write(lambda: work.record(thread, facts))


def new_id(prefix: str) -> str:
    """A fresh id."""
    return prefixed(prefix, 1_790_000_000_000, os.urandom(10))


def rows_of(db: apsw.Connection, table: str) -> list[Row]:
    """The logical rows of a read model; of the full-text index: every word, where it stands."""
    if not table.endswith("forum_search"):
        return sorted(db.execute(f"SELECT * FROM {table}"), key=repr)
    db.execute(f"CREATE VIRTUAL TABLE temp.words USING fts5vocab('main', '{table}', 'instance')")
    try:
        return sorted(db.execute("SELECT term, doc, col, offset FROM temp.words"))
    finally:
        db.execute("DROP TABLE temp.words")
