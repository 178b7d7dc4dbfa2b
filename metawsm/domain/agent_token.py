"""Tokens of agents: each says which agent of which run it is, follows from the daemon's own token, and is kept nowhere.

`mwa~<run_id>~<agent_name>~<mac>`, where the MAC is HMAC-SHA256, in hexadecimal, of what stands before it. No name holds
a `~`, so the parts are never in doubt, and a Bearer token may (RFC 6750, section 2.1).
"""

from __future__ import annotations

import hmac

from attrs import frozen

from metawsm.domain.names import name_fault

_SCHEME = "mwa"


@frozen
class Agent:
    """An agent in a run."""

    run_id: str
    agent_name: str


def agent_token(daemon_token: str, run_id: str, agent_name: str) -> str:
    """The token of an agent in a run, the same each time; a new token of the daemon ends it. Raises ValueError."""
    for name in (run_id, agent_name):
        if fault := name_fault(name):
            raise ValueError(f"{name!r} {fault}")
    return _signed(daemon_token, f"{_SCHEME}~{run_id}~{agent_name}")


def agent_of(daemon_token: str, given: str) -> Agent | None:
    """Whose token this is, or None if it is no agent's token under this daemon's; compared in constant time."""
    head, _, _ = given.rpartition("~")
    parts = head.split("~")
    if len(parts) != 3 or parts[0] != _SCHEME:
        return None
    if not hmac.compare_digest(given.encode(), _signed(daemon_token, head).encode()):
        return None
    return Agent(*parts[1:])


def _signed(daemon_token: str, head: str) -> str:
    return f"{head}~{hmac.new(daemon_token.encode(), head.encode(), 'sha256').hexdigest()}"
