"""One namespace, which is one database of a Redis server, belongs to one of our databases: the owner key."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

from attrs import asdict, frozen

from metawsm.domain.errors import Refused
from metawsm.streams.connection import Endpoint, endpoint, translated, with_database

KEY = "metawsm:owner"
"""One name whatever the policy calls streams and prefixes: two daemons that share only some would still meet."""

LEASE_SECONDS = 15
"""How long a namespace stays taken without a renewal; renew at a third of it."""

# Takes the key when it is free, ours already, or held by the one we may replace; else returns its holder.
# PEXPIRE and not SET for what is ours: it works without memory.
TAKE = """
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return false
end
if held and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@frozen
class Owner:
    """Who uses a namespace: a database, and the running instance that has it open."""

    database_id: str
    database_path: str
    instance_id: str
    host: str
    pid: int

    def describe(self) -> str:
        """Return the owner in words for an error."""
        return (
            f"database {self.database_id} ({self.database_path}, instance {self.instance_id}, "
            f"process {self.pid} on {self.host})"
        )

    def succeeds(self, other: Owner) -> bool:
        """Whether `other` was an earlier instance on the same database file, which must be dead.

        The caller holds the lock of its database file, so no other instance on this host has it open.
        """
        mine = (self.database_id, self.database_path, self.host)
        return mine == (other.database_id, other.database_path, other.host)


class Lease:
    """The right to use a namespace, to be renewed while it is used. Every method raises Unavailable."""

    def __init__(self, url: str, owner: Owner) -> None:
        self._url = url
        self._server: Endpoint = endpoint(url)
        self._owner = owner
        self._value = json.dumps(asdict(owner), sort_keys=True)

    def acquire(self) -> None:
        """Take the namespace, or raise Refused with both owners and the one change to make."""
        held = self._take("")
        if held is None:
            return
        holder = _parse(held)
        if holder is not None and self._owner.succeeds(holder):
            held = self._take(held)
        if held is not None:
            raise Refused(self._refusal(_parse(held), held))

    def renew(self) -> None:
        """Prolong the lease; take it anew if the key is gone (an emptied server). Refused: another one has it."""
        held = self._take("")
        if held is not None:
            raise Refused(self._refusal(_parse(held), held))

    def release(self) -> None:
        """Give the namespace back if it is still ours."""
        with translated(self._server.shown):
            self._server.client.eval(RELEASE, 1, KEY, self._value)

    def close(self) -> None:
        """Close the connections; the lease runs out by itself unless released."""
        self._server.close()

    def _take(self, replaceable: str) -> str | None:
        """Take or prolong; return the holder's value if it is not to be had."""
        lease_ms = LEASE_SECONDS * 1000
        with translated(self._server.shown):
            held = self._server.client.eval(TAKE, 1, KEY, self._value, lease_ms, replaceable)
        return held.decode(errors="replace") if isinstance(held, bytes) else None

    def _refusal(self, holder: Owner | None, held: str) -> str:
        taken_by = holder.describe() if holder else f"something unknown ({held[:200]})"
        shown = self._server.shown
        if (
            holder
            and holder.database_id == self._owner.database_id
            and holder.database_path == self._owner.database_path
        ):
            change = "stop the other instance, or wait until its lease of 15 seconds has run out"
        else:
            other = with_database(self._url, _database(self._url) + 1)
            change = f"give this project a database number of its own: set forum.redis.url to {other}"
        return f"{KEY} at {shown} belongs to {taken_by}; this is {self._owner.describe()}; {change}"


def holder_at(server: Endpoint) -> Owner | None:
    """Return who holds the namespace of this server now, None when nobody of ours does. Raises Unavailable."""
    with translated(server.shown):
        value = server.client.get(KEY)
    return _parse(value.decode(errors="replace")) if isinstance(value, bytes) else None


def _parse(value: str) -> Owner | None:
    """Return the owner written in the key, None when it is not one of ours."""
    try:
        return Owner(**json.loads(value))
    except (ValueError, TypeError):
        return None


def _database(url: str) -> int:
    """Return the database number in a url."""
    split = urlsplit(url)
    named = parse_qs(split.query).get("db", [""])[0]
    last = "" if split.scheme == "unix" else split.path.rpartition("/")[2]
    return int(named or (last if last.isdigit() else 0))
