"""The mixed load: paced writers, readers, followers of the stream, and a publisher on Redis."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from metawsm.bus.ports import Message, Publication
from metawsm.client.errors import ApiError, DaemonUnreachable
from metawsm.client.feed import Feed
from metawsm.client.http import Client
from metawsm.domain.errors import Unavailable
from metawsm.streams.transport import RedisTransport
from soaking.ledger import Entry, Ledger

WRITERS, READERS, FOLLOWERS = 12, 3, 4
READS_PER_SECOND = 30.0
EXTERNAL_PER_SECOND = 5.0
WAIT = 2.0  # seconds a write waits for its outcome
RECENT = 20  # threads that a writer goes on with
WORDS = [
    "the",
    "importer",
    "reads",
    "both",
    "versions",
    "and",
    "keeps",
    "the",
    "newer",
    "one",
    "unless",
    "a",
    "person",
    "said",
    "otherwise",
    "",
]
TOPIC = "forum.commands.add_post"


class Tally:
    """Answers since the last look: latencies in ms of writes that were answered, and statuses of everything."""

    def __init__(self) -> None:
        self._latencies: deque[float] = deque()
        self.statuses: Counter[str] = Counter()

    def note(self, kind: str, status: int, milliseconds: float) -> None:
        """One answer (status 0: none)."""
        self.statuses[f"{kind} {status or 'no answer'}"] += 1
        if kind == "write" and status:
            self._latencies.append(milliseconds)

    def take(self) -> list[float]:
        """The latencies, sorted."""
        return sorted(self._latencies.popleft() for _ in range(len(self._latencies)))


class Asker:
    """One kept connection, made anew after each failure."""

    def __init__(self, port: int, token: str, tally: Tally) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._tally = tally
        self._connection: http.client.HTTPConnection | None = None

    def write(self, entry: Entry, wait: float = WAIT) -> int:
        """Send a write; its status, 0 without an answer."""
        return self._ask("write", "POST", f"{entry.path}?wait={wait:g}", entry.body, {"Idempotency-Key": entry.tag})

    def read(self, path: str) -> int:
        """Send a read; its status, 0 without an answer."""
        return self._ask("read", "GET", path, None, {})

    def _ask(self, kind: str, method: str, path: str, body: bytes | None, more: dict[str, str]) -> int:
        begun = time.perf_counter()
        status = 0
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            self._connection.request(method, f"/api/v1{path}", body, self._headers | more)
            answer = self._connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            if self._connection is not None:
                self._connection.close()
            self._connection = None
        self._tally.note(kind, status, (time.perf_counter() - begun) * 1000)
        return status


class Load:
    """Everything that asks; `port` and `token` are the daemon's, `redis_url` the server's."""

    def __init__(self, port: int, token: str, redis_url: str, rate: float, seed: int) -> None:
        self.ledger = Ledger()
        self.tally = Tally()
        self.over = threading.Event()
        self._address = (port, token)
        self._redis_url = redis_url
        self._seed = seed
        self.followers = [Follower(port, token) for _ in range(FOLLOWERS)]
        self._threads = [
            *(self._thread(self._writer, n, rate / WRITERS) for n in range(WRITERS)),
            *(self._thread(self._reader, n, READS_PER_SECOND / READERS) for n in range(READERS)),
            self._thread(self._publisher),
            self._thread(self._settler),
            *(self._thread(follower.run) for follower in self.followers),
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No further requests; followers go on until `Follower.close`."""
        self.over.set()
        for thread in self._threads[: -len(self.followers)]:
            thread.join(60)

    def asker(self) -> Asker:
        """A connection of its own."""
        return Asker(*self._address, self.tally)

    def _thread(self, run: Callable[..., None], *args: Any) -> threading.Thread:
        return threading.Thread(target=run, args=args, daemon=True)

    def _paced(self, rate: float) -> bool:
        """Wait for the next turn. What was missed is not made up for: people do not come back in a burst."""
        return not self.over.wait(1 / rate)

    def _writer(self, number: int, rate: float) -> None:
        dice = random.Random(self._seed * 1000 + number)
        asker, mine = self.asker(), deque([f"fthr-{uuid.uuid4().hex}"], maxlen=RECENT)
        for thread in (home(number), mine[0]):
            self._send(asker, ask(dice, thread))
        due = time.perf_counter()
        while not self.over.is_set():
            due = max(due + 1 / rate, time.perf_counter() - 1.0)
            self.over.wait(max(0.0, due - time.perf_counter()))
            self._send(asker, next_write(dice, mine))

    def _send(self, asker: Asker, entry: Entry) -> None:
        status = asker.write(entry)
        self.ledger.answered(entry, status)
        if not status:
            self.over.wait(0.2)

    def _reader(self, number: int, rate: float) -> None:
        dice = random.Random(self._seed * 2000 + number)
        asker = self.asker()
        while self._paced(rate):
            if not asker.read(next_read(dice)):
                self.over.wait(0.2)

    def _settler(self) -> None:
        """Retries what has no clear answer, with its own key, while the load goes on."""
        asker = self.asker()
        while not self.over.wait(1.0):
            for entry in self.ledger.unsettled()[:100]:
                if self.over.is_set():
                    return
                self.ledger.answered(entry, asker.write(entry, 5.0))

    def _publisher(self) -> None:
        """Another program that sends commands through Redis, again with the same identity after a failure."""
        transport = RedisTransport(self._redis_url, "outside")
        dice = random.Random(self._seed * 3000)
        self.over.wait(2.0)  # the writers open its threads first
        while self._paced(EXTERNAL_PER_SECOND):
            tag = _tag()
            payload = external_post(home(dice.randrange(WRITERS)), tag, said(dice, tag))
            self.ledger.published(tag, payload)
            while not self.over.is_set() and not publish(transport, tag, payload):
                self.over.wait(0.2)
        transport.close()


class Follower:
    """A client of the stream, from the beginning, that counts what does not come once and in order."""

    def __init__(self, port: int, token: str) -> None:
        self._feed = Feed(Client(f"http://127.0.0.1:{port}", token), {}, 0)
        self.last = 0
        self.out_of_order = 0
        self.failure = ""

    def run(self) -> None:
        """Follow until closed."""
        try:
            for frame in self._feed.frames():
                for event in frame.get("events", ()):
                    self.out_of_order += event["sequence"] != self.last + 1
                    self.last = event["sequence"]
        except (ApiError, DaemonUnreachable) as error:
            self.failure = str(error)

    def close(self) -> None:
        """End it soon."""
        self._feed.close()


def publish(transport: RedisTransport, tag: str, payload: bytes) -> bool:
    """Put a command into Redis; False when it is away."""
    message = Message(tag, {"name": TOPIC}, payload)
    try:
        return transport.exchange([Publication(TOPIC, message)], [], []).faults == [None]
    except Unavailable:
        return False


def external_post(thread: str, tag: str, text: str) -> bytes:
    """A command as another program writes it."""
    envelope = {"event_type": TOPIC, "actor_type": "agent", "event_id": tag, "thread_id": thread}
    return json.dumps({"envelope": envelope, "payload": {"body": text}}).encode()


def home(number: int) -> str:
    """A writer's thread that nobody closes, where the other program posts."""
    return f"fthr-soak-{number}"


def ask(dice: random.Random, thread: str) -> Entry:
    """A question that opens `thread`."""
    tag = _tag()
    body = {"ticket": f"MET-{dice.randrange(200)}", "title": " ".join(dice.choices(WORDS, k=6)), "thread_id": thread}
    body |= {"priority": dice.choice(["low", "normal", "high", "urgent"]), "run_id": f"run-{dice.randrange(50)}"}
    return _entry(tag, "/forum/threads", body | {"body": said(dice, tag), "actor_type": "agent", "agent_name": "coder"})


def next_write(dice: random.Random, mine: deque[str]) -> Entry:
    """A write as a mixed crowd of agents and people sends it."""
    if dice.random() < 0.15:
        mine.append(f"fthr-{uuid.uuid4().hex}")
        return ask(dice, mine[-1])
    (kind,) = dice.choices(list(ACTIONS), weights=[weight for weight, _ in ACTIONS.values()])
    return ACTIONS[kind][1](dice, dice.choice(mine))


def _post(dice: random.Random, thread: str) -> Entry:
    tag = _tag()
    return _entry(tag, f"/forum/threads/{thread}/posts", {"body": said(dice, tag), "actor_type": "agent"})


def _answer(dice: random.Random, thread: str) -> Entry:
    tag = _tag()
    body = {"body": said(dice, tag), "actor_type": "human", "actor_name": "kb"}
    return _entry(tag, f"/forum/threads/{thread}/answer", body)


def _assign(dice: random.Random, thread: str) -> Entry:
    tag = _tag()
    name = dice.choice(["kb", "lo", "mia"])
    body = {"assignee_type": "human", "assignee_name": name, "assignment_note": tag, "actor_type": "operator"}
    return _entry(tag, f"/forum/threads/{thread}/assign", body, exact=False)


def _state(dice: random.Random, thread: str) -> Entry:
    tag = _tag()
    body = {"to_state": dice.choice(["triaged", "waiting_human"]), "reason": tag, "actor_type": "operator"}
    return _entry(tag, f"/forum/threads/{thread}/state", body, exact=False)


def _close(dice: random.Random, thread: str) -> Entry:
    tag = _tag()
    body = {"reason": f"{tag} {dice.choice(WORDS)}", "actor_type": "operator"}
    return _entry(tag, f"/forum/threads/{thread}/close", body, exact=False)


def _signal(dice: random.Random, thread: str) -> Entry:
    tag = _tag()
    run, agent = f"run-{dice.randrange(50)}", dice.choice(["coder", "tester"])
    kind = {"control_type": "guidance_request", "question": said(dice, tag)}
    body = {"run_id": run, "ticket": "MET-1", "agent_name": agent, "actor_type": "agent", "payload": kind}
    return _entry(tag, "/forum/control/signal", body)


ACTIONS: dict[str, tuple[int, Callable[[random.Random, str], Entry]]] = {
    "post": (45, _post),
    "answer": (15, _answer),
    "assign": (8, _assign),
    "state": (8, _state),
    "close": (5, _close),
    "signal": (4, _signal),
}


def next_read(dice: random.Random) -> str:
    """A question a person's screen or an agent asks."""
    word = quote(dice.choice(WORDS[:-1]))
    return dice.choice(
        [
            f"/forum/threads?ticket=MET-{dice.randrange(200)}&limit=20",
            "/forum/threads?state=waiting_human&limit=50",
            f"/forum/threads/{home(dice.randrange(WRITERS))}?limit=20",
            f"/forum/search?query={word}&limit=10",
            "/forum/queues?type=unanswered&limit=20",
            "/forum/queues?type=unseen&viewer_type=human&viewer_id=kb&limit=20",
            f"/forum/stats?ticket=MET-{dice.randrange(200)}",
        ]
    )


def said(dice: random.Random, tag: str) -> str:
    """Some words with the tag among them."""
    return f"{' '.join(dice.choices(WORDS, k=30))} {tag}"


def _entry(tag: str, path: str, body: dict[str, Any], exact: bool = True) -> Entry:
    return Entry(tag, path, json.dumps(body).encode(), exact)


def _tag() -> str:
    return f"soak-{uuid.uuid4().hex}"
