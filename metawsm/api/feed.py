"""The live stream of events over WebSocket. Source: contract, section 6."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import gevent
from attrs import define, frozen
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from metawsm.api.access import Access
from metawsm.api.exchange import Environ, Request, number
from metawsm.api.turns import NEXT_TURN
from metawsm.api.websocket import Socket, accept, encode_text
from metawsm.bus.paging import portion
from metawsm.domain.errors import Overloaded, Unavailable
from metawsm.messages.json_text import to_json

HEARTBEAT = 25.0  # seconds
FILTERS = ("ticket", "run_id", "thread_id")
CATCH_UP = 500  # events at once while catching up
FRAME_CHARS = 128 * 1024  # of events in one frame, and read at once: what a client may owe us is a few times as much
DRAIN_SECONDS = 30.0  # a client may take to read one frame while catching up
LONG_ROUND = 0.003  # seconds; a round over some 200 subscribers
TURN_SECONDS = 0.004  # of writing to subscribers before others get a turn
MOST_SUBSCRIBERS = 2000


class TailPort(Protocol):
    """The newest events."""

    head: int

    def subscribe(self, listener: Callable[[Sequence[Any]], None]) -> Callable[[], None]:
        """Hear of new events."""
        ...

    def since(self, sequence: int) -> list[Any] | None:
        """Every event after a sequence, or None when it is too long ago for memory."""
        ...


@frozen
class Filter:
    """What a subscriber wants; None = everything. Equal filters share their encoded frames."""

    ticket: str | None = None
    run_id: str | None = None
    thread_id: str | None = None

    def matches(self, event: Any) -> bool:
        """Whether the subscriber gets the event."""
        return (
            (self.ticket is None or event.ticket == self.ticket)
            and (self.run_id is None or event.run_id == self.run_id)
            and (self.thread_id is None or event.thread_id == self.thread_id)
        )


@define(eq=False)
class Subscriber:
    """One client: its socket, what it wants, and the last sequence it was shown or spared."""

    socket: Socket
    wants: Filter
    cursor: int


class Feed:
    """All subscribers.

    `load(after, limit, filter)` reads matching events of the log, about FRAME_CHARS: (events, last examined).
    `newest()` is the log's own head, which the tail follows. Both raise Unavailable.
    """

    def __init__(
        self,
        tail: TailPort,
        load: Callable[[int, int, Filter], tuple[list[Any], int]],
        newest: Callable[[], int],
        access: Access,
        now: Callable[[], str],
        epoch: int,
    ) -> None:
        self._tail = tail
        self._load = load
        self._newest = newest
        self._access = access
        self._now = now
        self._epoch = epoch
        self._sockets = 0
        self._live: dict[Filter, list[Subscriber]] = {}
        self._batches: deque[Sequence[Any]] = deque()
        self._arrived = Event()
        self._paging = BoundedSemaphore(1)
        self._unsubscribe: Callable[[], None] | None = None

    @property
    def subscribers(self) -> int:
        """How many clients are connected, live or catching up."""
        return self._sockets

    def serve(self, environ: Environ) -> None:
        """One client from the upgrade to the end. Raises before the upgrade for what is refused."""
        request = Request(environ)
        self._access.credential(request)
        self._access.check_source(request)
        query = request.only(*FILTERS, "cursor", "limit")
        cursor = number(query, "cursor", -1, 2**53 - 1, least=0)
        limit = number(query, "limit", CATCH_UP, CATCH_UP)
        if self.subscribers >= MOST_SUBSCRIBERS:
            raise Overloaded(f"{MOST_SUBSCRIBERS} clients follow the stream already; try again later")
        wants = Filter(*(query.get(name) for name in FILTERS))
        lost = cursor > self._tail.head and cursor > self._newest()
        self._sockets += 1
        try:
            socket = accept(environ, origin_allowed=lambda _: True)  # checked above, with its own message
            self._greet(Subscriber(socket, wants, cursor), limit, lost)
        finally:
            self._sockets -= 1

    def _greet(self, client: Subscriber, limit: int, lost: bool) -> None:
        head = self._tail.head
        hello = {"type": "hello", "epoch": self._epoch, "head_sequence": head, "heartbeat_seconds": HEARTBEAT}
        client.socket.send_text(to_json(hello))
        if lost:
            told = f"cursor {client.cursor} is beyond the head {head}: events after it were never there or were lost"
            client.socket.send_text(to_json({"type": "reset", "reason": told}))
            client.cursor = head
        if client.cursor < 0:
            client.cursor = head
        self._follow(client, limit)

    def _follow(self, client: Subscriber, limit: int) -> None:
        """Catch up in pages, then go live in the same hub turn: no gap and nothing twice."""
        while client.cursor < self._tail.head:
            if not self._catch_up(client, limit):
                return
        self._join(client)
        try:
            self._listen(client)
        finally:
            self._leave(client)

    def _catch_up(self, client: Subscriber, limit: int) -> bool:
        """Send one page; False when the client does not take it or the log cannot be read: it resumes by cursor."""
        try:
            with self._paging:  # one page in a turn of the loop, however many clients catch up
                frames, examined = self._page(client, limit)
                gevent.sleep(NEXT_TURN)
        except Unavailable as error:
            client.socket.send_text(to_json({"type": "error", "message": error.message}))
            client.socket.close(1013, error.message[:100])
            return False
        for frame in frames:
            client.socket.send_frame(frame)
            if not client.socket.wait_drained(DRAIN_SECONDS):
                client.socket.close(1013, "too slow, resume by cursor")
                return False
        client.cursor = examined
        return True

    def _join(self, client: Subscriber) -> None:
        self._live.setdefault(client.wants, []).append(client)
        if self._unsubscribe is None:
            self._unsubscribe = self._tail.subscribe(self._announce)

    def _leave(self, client: Subscriber) -> None:
        group = self._live[client.wants]
        group.remove(client)
        if not group:
            del self._live[client.wants]
        if not self._live and self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    def _page(self, client: Subscriber, limit: int) -> tuple[list[bytes], int]:
        """What a client is sent next: about one frame, since it is held for as long as the client takes to read it."""
        events, examined = self._behind(client, limit)
        return self._frames(events, examined), examined

    def _behind(self, client: Subscriber, limit: int) -> tuple[list[Any], int]:
        recent = self._tail.since(client.cursor)
        if recent is None:
            return self._load(client.cursor, limit, client.wants)
        page = list(portion(recent[:limit], lambda event: len(event.text), FRAME_CHARS))
        return [event for event in page if client.wants.matches(event)], page[-1].sequence if page else self._tail.head

    def _listen(self, client: Subscriber) -> None:
        """Clients have nothing to say; what they send is read and ignored, so that pings and closes work."""
        while not client.socket.closed.is_set():
            client.socket.receive(60.0)

    def run(self) -> None:
        """The one broadcaster, so that batches reach every client in order; ends only by being killed."""
        beat_at = time.monotonic() + HEARTBEAT
        while True:
            self._arrived.wait(timeout=max(0.0, beat_at - time.monotonic()))
            self._arrived.clear()
            while self._batches:
                self._paced(self._gathered())
            if time.monotonic() >= beat_at:
                self._beat()
                beat_at = time.monotonic() + HEARTBEAT

    def _paced(self, events: Sequence[Any]) -> None:
        """Send, and leave others half the time a long round took: what comes meanwhile is one frame, not many."""
        begun = time.monotonic()
        self._broadcast(events)
        spent = time.monotonic() - begun
        gevent.sleep(spent / 2 if spent > LONG_ROUND else NEXT_TURN)

    def _gathered(self) -> Sequence[Any]:
        """What has come while the batch before was sent, as one frame: who falls behind has less to do."""
        events = list(self._batches.popleft())
        while self._batches and len(events) + len(self._batches[0]) <= CATCH_UP:
            events += self._batches.popleft()
        return events

    def _announce(self, events: Sequence[Any]) -> None:
        if events:
            self._batches.append(events)
            self._arrived.set()

    def _broadcast(self, events: Sequence[Any]) -> None:
        last = events[-1].sequence
        over = time.monotonic() + TURN_SECONDS
        for wants, clients in list(self._live.items()):
            wanted = [event for event in events if wants.matches(event)]
            frames = self._frames(wanted, last)
            for client in list(clients):
                self._show(client, events, frames, last)
                if time.monotonic() > over:
                    gevent.sleep(NEXT_TURN)
                    over = time.monotonic() + TURN_SECONDS

    def _show(self, client: Subscriber, events: Sequence[Any], frames: Sequence[bytes], last: int) -> None:
        if client.cursor >= last:
            return
        if client.cursor >= events[0].sequence:  # joined in the middle of this batch
            own = [e for e in events if e.sequence > client.cursor and client.wants.matches(e)]
            frames = self._frames(own, last)
        client.cursor = last
        for frame in frames:
            client.socket.send_frame(frame)

    def _frames(self, events: Sequence[Any], examined: int) -> list[bytes]:
        """The events in frames of bearable size; the last one's cursor is `examined`. None for no events."""
        frames: list[bytes] = []
        begin = size = 0
        for index, event in enumerate(events):
            if index > begin and size + len(event.text) > FRAME_CHARS:
                frames.append(self._frame(events[begin:index], events[index - 1].sequence))
                begin, size = index, 0
            size += len(event.text)
        return [*frames, self._frame(events[begin:], examined)] if events else frames

    def _frame(self, events: Sequence[Any], cursor: int) -> bytes:
        texts = ",".join(event.text for event in events)
        return encode_text(
            f'{{"type":"forum.events","events":[{texts}],"next_cursor":{cursor},"sent_at":"{self._now()}"}}'
        )

    def _beat(self) -> None:
        for clients in list(self._live.values()):
            for client in list(clients):
                client.socket.send_text(to_json(self._heartbeat(client.cursor)))

    def _heartbeat(self, cursor: int) -> Mapping[str, Any]:
        return {
            "type": "heartbeat",
            "next_cursor": cursor,
            "head_sequence": self._tail.head,
            "sent_at": self._now(),
        }
