"""A thread told as a story: each deed of an actor becomes events a minute apart."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from metawsm.domain.envelope import Actor, Envelope
from metawsm.domain.events import Event, Fact, ThreadOpened, with_post_id
from metawsm.domain.thread import Thread, evolve
from metawsm.domain.view import timestamp

START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
AGENT, HUMAN, OPERATOR = Actor("agent", "bob"), Actor("human", "kb"), Actor("operator", "op")


def minute(number: int) -> str:
    """The time of the event with this sequence."""
    return timestamp(START + timedelta(minutes=number))


class Story:
    """A thread opened by `asker` and all its events."""

    def __init__(self, asker: Actor = AGENT, thread_id: str = "fthr-1") -> None:
        self._thread_id = thread_id
        self._thread: Thread | None = None
        self.events: list[Event] = []
        self.tell(asker, [ThreadOpened("t", "b", "normal")])

    @property
    def thread(self) -> Thread:
        """The thread now."""
        assert self._thread is not None
        return self._thread

    def tell(self, actor: Actor, facts: Sequence[Fact]) -> Thread:
        """Record facts of one command."""
        for fact in facts:
            sequence = len(self.events) + 1
            head: dict[str, Any] = {"actor_type": actor.type, "actor_name": actor.name, "thread_id": self._thread_id}
            envelope = Envelope(f"fevt-{sequence}", fact.TYPE, fact.VERSION, minute(sequence), "MET-1",
                                correlation_id="c", **head)  # fmt: skip
            event = Event(sequence, envelope, with_post_id(fact, envelope.event_id))
            self._thread = evolve(self._thread, event)
            self.events.append(event)
        return self.thread
