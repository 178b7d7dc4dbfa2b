"""One namespace, which is one database of a Redis server, belongs to one of our databases: owner key and claim."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from attrs import asdict, frozen

from metawsm.domain.errors import Refused
from metawsm.streams.connection import Endpoint, endpoint, translated, with_database

KEY = "metawsm:owner"
"""One name whatever the policy calls streams and prefixes: two daemons that share only some would still meet."""

CLAIM = "metawsm:database"
"""Whose streams the namespace holds. It stays when nobody serves: the owner key is gone then."""

LEASE_SECONDS = 15
"""How long a namespace stays taken without a renewal; renew at a third of it."""

# Takes both keys when they are free, ours already, or held by whom we may replace; else returns the key in the way and
# what it holds. PEXPIRE and not SET for what is ours: it works without memory.
TAKE = """
local function held_by(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'table' and 'a ' .. redis.call('TYPE', key).ok or value
end
local held, claimed = held_by(KEYS[1]), held_by(KEYS[2])
if held and held ~= ARGV[1] and held ~= ARGV[4] then return {KEYS[1], held} end
if claimed and claimed ~= ARGV[2] and claimed ~= ARGV[5] then return {KEYS[2], claimed} end
if claimed ~= ARGV[2] then redis.call('SET', KEYS[2], ARGV[2]) end
if held == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
end
return false
"""

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


@frozen
class Claim:
    """Whose streams a namespace holds: a database, and where its file lies."""

    database_id: str
    database_path: str
    host: str

    def describe(self) -> str:
        """Return the database in words for an error."""
        return f"database {self.database_id} ({self.database_path} on {self.host})"

    def replaces(self, other: Claim) -> bool:
        """Whether it is the same database, at another place perhaps, or one that lies where `other` was."""
        here = (self.database_path, self.host)
        return self.database_id == other.database_id or here == (other.database_path, other.host)


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

    @property
    def claim(self) -> Claim:
        """The part that stays when the instance has ended."""
        return Claim(self.database_id, self.database_path, self.host)

    def succeeds(self, other: Owner) -> bool:
        """Whether `other` was an earlier instance on the same database file, which must be dead.

        The caller holds the lock of its database file, so no other instance on this host has it open.
        """
        mine = (self.database_id, self.database_path, self.host)
        return mine == (other.database_id, other.database_path, other.host)


Held = TypeVar("Held", Owner, Claim)


class Lease:
    """The right to use a namespace, to be renewed while it is used. Every method raises Unavailable.

    `way_out` is what to do about another database's claim, where it is not another database number.
    """

    def __init__(self, url: str, owner: Owner, way_out: str = "") -> None:
        self._url = url
        self._server: Endpoint = endpoint(url)
        self._owner = owner
        self._way_out = way_out
        self._value = _written(owner)
        self._claim = _written(owner.claim)

    def acquire(self) -> None:
        """Take the namespace, or raise Refused with both owners and the one change to make."""
        replaced: dict[str, str] = {}
        while found := self._take(replaced):
            if not self._may_replace(*found):
                raise Refused(self._refusal(*found))
            replaced.update([found])

    def renew(self) -> None:
        """Prolong the lease; take it anew if the key is gone (an emptied server). Refused: another one has it."""
        if found := self._take({}):
            raise Refused(self._refusal(*found))

    def release(self) -> None:
        """Give the namespace back if it is still ours."""
        with translated(self._server.shown):
            self._server.client.eval(RELEASE, 1, KEY, self._value)

    def close(self) -> None:
        """Close the connections; the lease runs out by itself unless released."""
        self._server.close()

    def _take(self, replaced: Mapping[str, str]) -> tuple[str, str] | None:
        """Take or prolong; return the key that is in the way and its value, if it is not to be had."""
        mine = (self._value, self._claim, LEASE_SECONDS * 1000)
        with translated(self._server.shown):
            found = self._server.client.eval(TAKE, 2, KEY, CLAIM, *mine, replaced.get(KEY, ""), replaced.get(CLAIM, ""))
        if not isinstance(found, list):
            return None
        key, value = (part.decode(errors="replace") for part in found)
        return key, value

    def _may_replace(self, key: str, value: str) -> bool:
        if key == KEY:
            holder = _parse(Owner, value)
            return holder is not None and self._owner.succeeds(holder)
        claim = _parse(Claim, value)
        return claim is not None and self._owner.claim.replaces(claim)

    def _refusal(self, key: str, value: str) -> str:
        holder = _parse(Owner, value) if key == KEY else _parse(Claim, value)
        taken_by = holder.describe() if holder else f"something unknown ({value[:200]})"
        return f"{key} at {self._server.shown} belongs to {taken_by}; this is {self._owner.describe()}; " + (
            self._change(key, holder)
        )

    def _change(self, key: str, holder: Owner | Claim | None) -> str:
        """The one change to make; and how the namespace is freed where nobody needs it any more."""
        mine = (self._owner.database_id, self._owner.database_path)
        if isinstance(holder, Owner) and mine == (holder.database_id, holder.database_path):
            return "stop the other instance, or wait until its lease of 15 seconds has run out"
        number = _database(self._url)
        change = self._way_out or (
            "give this project a database number of its own: "
            f"set forum.redis.url to {with_database(self._url, number + 1)}"
        )
        if isinstance(holder, Owner) or self._way_out:
            return change
        return f"{change}; if nobody needs what it stands for any more, free it: redis-cli -n {number} DEL {key}"


def holder_at(server: Endpoint) -> Owner | None:
    """Return who holds the namespace of this server now, None when nobody of ours does. Raises Unavailable."""
    return _parse(Owner, _value_of(server, KEY))


def claim_at(server: Endpoint) -> Claim | None:
    """Return whose streams the namespace of this server holds, None when nobody of ours says so. Raises Unavailable."""
    return _parse(Claim, _value_of(server, CLAIM))


def _value_of(server: Endpoint, key: str) -> str:
    with translated(server.shown):
        value = server.client.get(key)
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _written(value: Owner | Claim) -> str:
    return json.dumps(asdict(value), sort_keys=True)


def _parse(kind: type[Held], value: str) -> Held | None:
    """Return what is written in a key, None when it is not one of ours."""
    try:
        return kind(**json.loads(value))
    except (ValueError, TypeError):
        return None


def _database(url: str) -> int:
    """Return the database number in a url."""
    split = urlsplit(url)
    named = parse_qs(split.query).get("db", [""])[0]
    last = "" if split.scheme == "unix" else split.path.rpartition("/")[2]
    return int(named or (last if last.isdigit() else 0))
