"""What every command and event says about itself. Source: contract, section 2."""

from __future__ import annotations

from metawsm.domain.values import value_class


@value_class
class Actor:
    """Who acts: one of ACTOR_TYPES, maybe a name, and how we know: one of KNOWN_BY."""

    type: str
    name: str | None = None
    known_by: str = "system"


SYSTEM = Actor("system")
"""The daemon itself."""
KNOWN_BY = ("token", "agent_token", "loopback", "open", "redis", "system")


@value_class
class Envelope:
    """The head of a message. Times are RFC 3339, UTC, with microseconds. `ticket` is empty where an event has none."""

    event_id: str
    event_type: str
    event_version: int
    occurred_at: str
    ticket: str
    actor_type: str
    correlation_id: str
    thread_id: str | None = None
    run_id: str | None = None
    agent_name: str | None = None
    actor_name: str | None = None
    actor_known_by: str | None = None
    causation_id: str | None = None

    @property
    def actor(self) -> Actor:
        """The actor as one value."""
        return Actor(self.actor_type, self.actor_name, self.actor_known_by or "system")
