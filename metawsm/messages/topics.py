"""Topic names: a prefix of the policy, then the name. A stream's key is its topic. Source: contract, section 3."""

from __future__ import annotations

from attrs import frozen

_INTEGRATION = "forum.integration."


@frozen
class Topics:
    """The three prefixes and the feed's stream, as the policy gives them."""

    command_prefix: str = "forum.commands"
    event_prefix: str = "forum.events"
    integration_prefix: str = "forum.integration"
    feed: str = "metawsm-forum"

    def command(self, name: str) -> str:
        """The topic of a command such as `open_thread`."""
        return f"{self.command_prefix}.{name}"

    def event(self, event_type: str) -> str:
        """The topic of an event type; integration events have a prefix of their own."""
        if event_type.startswith(_INTEGRATION):
            return f"{self.integration_prefix}.{event_type.removeprefix(_INTEGRATION)}"
        return f"{self.event_prefix}.{event_type.removeprefix('forum.')}"
