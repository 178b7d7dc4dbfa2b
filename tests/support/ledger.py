"""The ledger: clients that write down each request and each answer while things break, and the reckoning afterwards.

accepted = applied exactly once; rejected = not applied; unknown = applied once or not at all, and settled by a retry
with the same key; order kept per thread; read models equal a rebuild; the database is whole.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from metawsm.projections import ALL as PROJECTIONS
from metawsm.storage.connection import Connection
from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.read_side import rows_of

THREADS = 3  # that each client opens for itself; one more is shared by all
RETRYABLE = (202, 500, 503)  # answers that do not tell the outcome


@define
class Entry:
    """One request: its key and content, and the last answer (None: none came)."""

    path: str
    body: dict[str, Any]
    key: str = field(factory=lambda: uuid.uuid4().hex)
    reply: Reply | None = None
    first_status: int | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the answer tells the outcome."""
        return self.reply is not None and self.reply.status not in RETRYABLE

    @property
    def applied(self) -> bool:
        """Whether the daemon says that it was applied."""
        return self.reply is not None and self.reply.status in (200, 201)


class Ledger:
    """All requests of all clients against one daemon, which may be killed and started again meanwhile."""

    def __init__(self, daemon: Daemon, clients: int = 6, seed: int = 1, patience: float = 30.0) -> None:
        """`patience`: seconds that the daemon may need for what it has accepted, and for a rebuild."""
        self.daemon = daemon
        self.patience = patience
        self.entries: list[Entry] = []
        self._clients = clients
        self._seed = seed
        self._over = threading.Event()

    @contextmanager
    def load(self) -> Iterator[None]:
        """Clients write as fast as they get answers inside the block."""
        shared = Entry("/forum/threads", _opening("fthr-shared"))
        self._settle(shared)
        self.entries.append(shared)
        clients = [threading.Thread(target=self._client, args=(number,)) for number in range(self._clients)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._over.set()
            for client in clients:
                client.join(60)

    def await_applied(self, more: int = 30) -> None:
        """Wait until so many more requests have been applied: there is real load now, however slow the machine."""
        before = self._applied()
        eventually(lambda: self._applied() >= before + more, timeout=self.patience)

    def _applied(self) -> int:
        return sum(entry.applied for entry in self.entries)

    def _client(self, number: int) -> None:
        dice = random.Random(self._seed * 1000 + number)
        mine = [f"fthr-c{number}-{place}" for place in range(THREADS)]
        for thread_id in mine:
            self._send(Entry("/forum/threads", _opening(thread_id)))
        while not self._over.is_set():
            self._send(_next_request(dice, mine))

    def _send(self, entry: Entry) -> None:
        self.entries.append(entry)
        self._attempt(entry)
        entry.first_status = entry.reply.status if entry.reply else None
        if entry.reply is None:
            time.sleep(0.1)  # the daemon is away; a client that hammers would only measure that

    def _attempt(self, entry: Entry, wait: float = 2.0) -> None:
        try:
            path = f"{entry.path}?wait={wait:g}"
            entry.reply = self.daemon.request("POST", path, entry.body, {"Idempotency-Key": entry.key}, timeout=20)
        except (OSError, http.client.HTTPException):
            entry.reply = None

    def _settle(self, entry: Entry) -> bool:
        if not entry.is_settled:
            self._attempt(entry, 10.0)
        return entry.is_settled

    def settle(self) -> None:
        """Repeat every request without a clear answer, with its own key, until it has one."""
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda entry: eventually(lambda: self._settle(entry), timeout=30), self.entries))

    def check(self) -> None:
        """The reckoning; the daemon runs and nothing breaks any more."""
        self.settle()
        eventually(self._all_done, timeout=self.patience)
        with database(self.daemon.database) as db:
            self._check_once(db)
            self._check_outcomes(db)
            check_database(db)
            before = read_models(db)
        rebuild(self.daemon, self.patience)
        with database(self.daemon.database) as db:
            after = read_models(db)
        for table, rows in before.items():
            assert rows == after[table], f"{table} differs from its rebuild"

    def _all_done(self) -> bool:
        outbox = self.daemon.request("GET", "/health").body["outbox"]
        return bool(outbox["pending_count"] == outbox["processing_count"] == 0)

    def _check_once(self, db: Connection) -> None:
        """Each text that a client sent stands in the posts once if it was applied, and else not at all."""
        found: dict[str, int] = dict(db.execute("SELECT body, count(*) FROM forum_posts GROUP BY body"))
        assert self._applied() > 20, "there was hardly any load"
        for entry in self.entries:
            if "body" in entry.body:
                expected = 1 if entry.applied else 0
                assert found.get(entry.body["body"], 0) == expected, (entry, found.get(entry.body["body"]))

    def _check_outcomes(self, db: Connection) -> None:
        """What a client was told is what became of its command, also of one without a text: a state, a priority."""
        kept: dict[str, tuple[str, str | None]] = {key: (outcome, made) for key, outcome, made in db.execute(OUTCOMES)}
        for entry in self.entries:
            outcome, made = kept.get(entry.key, (None, None))
            assert outcome == "applied" if entry.applied else outcome in (None, "rejected"), (entry, outcome)
            assert made is not None or not entry.applied, (entry, "its newest event is not in the log")
            assert not entry.applied or _shows(entry), (entry, "the answer does not show what was asked for")


def _shows(entry: Entry) -> bool:
    """Whether the view in the answer has the state or the priority that was asked for."""
    assert entry.reply is not None
    shown = entry.reply.body["thread"]
    return all(shown[name] == entry.body[sent] for sent, name in SETTINGS.items() if sent in entry.body)


SETTINGS = {"to_state": "state", "priority": "priority"}


OUTCOMES = """
SELECT k.key, o.outcome, e.event_id FROM idempotency_keys k JOIN forum_outbox o ON o.message_id = k.command_id
LEFT JOIN forum_events e ON e.sequence = o.outcome_json ->> 'last_sequence' AND e.thread_id = o.message_key
"""


def _opening(thread_id: str) -> dict[str, Any]:
    tag = uuid.uuid4().hex
    return {"ticket": "MET-1", "title": f"Question {tag}", "body": tag, "thread_id": thread_id, "actor_type": "agent"}


def _next_request(dice: random.Random, mine: list[str]) -> Entry:
    thread = dice.choice([*mine, "fthr-shared"])
    at = f"/forum/threads/{thread}"
    tag = uuid.uuid4().hex
    kind = dice.random()
    if kind < 0.6:
        return Entry(f"{at}/posts", {"body": tag, "actor_type": "agent"})
    if kind < 0.7:
        return Entry(f"{at}/answer", {"body": tag, "actor_type": "human", "actor_name": "kb"})
    if kind < 0.8:
        return Entry(f"{at}/state", {"to_state": dice.choice(["triaged", "waiting_human"]), "actor_type": "operator"})
    if kind < 0.9:
        return Entry(f"{at}/priority", {"priority": dice.choice(["low", "high", "urgent"]), "actor_type": "operator"})
    if kind < 0.95:
        return Entry("/forum/threads", _opening(thread))  # the id is taken: rejected
    return Entry(f"{at}/posts", {"body": tag, "actor_type": "agent", "expected_sequence": 1})  # mostly stale: rejected


@contextmanager
def database(path: Path) -> Iterator[Connection]:
    """A connection of our own to a daemon's database."""
    connection = Connection(str(path))
    try:
        connection.set_busy_timeout(5000)
        yield connection
    finally:
        connection.close()


def check_database(db: Connection) -> None:
    """What must hold in every database at rest."""
    assert list(db.execute("PRAGMA integrity_check")) == [("ok",)]
    undone = "SELECT id, topic, status, last_error FROM forum_outbox WHERE status <> 'done'"
    with suppress(AssertionError):  # a write is answered before its events are in Redis
        eventually(lambda: not list(db.execute(undone)), timeout=10)
    assert list(db.execute(undone)) == []
    # A command has events if and only if it was applied and changed something; no event without its command.
    strays = "SELECT count(*) FROM forum_events e LEFT JOIN forum_outbox o ON o.message_id = e.causation_id"
    assert list(db.execute(strays + " WHERE o.outcome IS NOT 'applied'")) == [(0,)]
    # One command may move several steps or agents of a run: those events differ by what they say.
    what = "iif(event_type LIKE 'forum.%', '', payload_json)"
    twice = f"SELECT causation_id, event_type, {what} FROM forum_events GROUP BY 1, 2, 3 HAVING count(*) > 1"
    assert list(db.execute(twice)) == []
    _check_order(db)
    head, count = next(iter(db.execute("SELECT max(sequence), count(*) FROM forum_events")))
    assert head == count, "sequences have a gap"


def _check_order(db: Connection) -> None:
    """Within a thread, events come in the order in which their commands were accepted."""
    last: dict[str, int] = {}
    rows = db.execute(
        "SELECT o.message_key, o.id FROM forum_events e JOIN forum_outbox o ON o.message_id = e.causation_id"
        " ORDER BY e.sequence"
    )
    for thread, outbox_id in rows:
        assert last.get(thread, 0) <= outbox_id, f"{thread}: command {outbox_id} came after {last[thread]}"
        last[thread] = outbox_id


def read_models(db: Connection) -> dict[str, list[Any]]:
    """All logical rows of all read models."""
    return {table: rows_of(db, table) for spec in PROJECTIONS for table in spec.tables}


def rebuild(daemon: Daemon, patience: float = 30.0) -> None:
    """Make the read models anew and wait for the end."""
    assert daemon.request("POST", "/forum/rebuild", {}).status == 202
    eventually(lambda: not daemon.request("GET", "/forum/rebuild").body["rebuild"]["running"], timeout=patience)


def check_streams(daemon: Daemon, client: Any) -> None:
    """The feed holds every event once and in order, and so does each event topic for its own."""
    with database(daemon.database) as db:
        events = list(db.execute("SELECT sequence, event_type FROM forum_events ORDER BY sequence"))
    eventually(lambda: feed_sequences(client) == [sequence for sequence, _ in events], timeout=10)
    for kind in {kind for _, kind in events}:
        topic = f"forum.events.{kind.removeprefix('forum.')}"
        assert feed_sequences(client, topic) == [sequence for sequence, each in events if each == kind]


def feed_sequences(client: Any, stream: str = "metawsm-forum") -> list[int]:
    """The sequences in a stream of events, as their payloads say; each id must be `<sequence>-0`."""
    found = []
    for entry_id, fields in client.xrange(stream):
        sequence = json.loads(fields[b"payload"])["sequence"]
        assert entry_id == b"%d-0" % sequence
        found.append(sequence)
    return found
