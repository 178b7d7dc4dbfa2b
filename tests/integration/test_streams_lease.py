"""The owner key: one namespace, one database, one live instance."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from metawsm.domain.errors import Refused, Unavailable
from metawsm.streams.connection import endpoint
from metawsm.streams.lease import KEY, Lease, Owner, holder_at
from tests.support.redis_servers import ServerHandle

pytest_plugins = ("tests.support.redis_fixtures",)

MINE = Owner("db-a", "/srv/a/.metawsm/metawsm.db", "boot-1", "here", 11)
OTHERS = Owner("db-b", "/srv/b/.metawsm/metawsm.db", "boot-9", "here", 99)


def lease(broker: ServerHandle, owner: Owner) -> Lease:
    """A lease of `owner` on that server."""
    return Lease(broker.url, owner)


def holder(broker: ServerHandle) -> Owner | None:
    """Who holds the namespace of that server."""
    return holder_at(endpoint(broker.url))


def test_taken_renewed_and_given_back(broker: ServerHandle) -> None:
    """The key names its owner, lives for 15 seconds, is prolonged, and is gone after release."""
    mine = lease(broker, MINE)
    mine.acquire()
    assert holder(broker) == MINE
    with broker.client() as client:
        assert 14_000 < client.pttl(KEY) <= 15_000
        client.pexpire(KEY, 1000)
        mine.renew()
        assert client.pttl(KEY) > 14_000
    mine.release()
    assert holder(broker) is None


def test_another_database_is_refused_with_both_names_and_the_change(broker: ServerHandle) -> None:
    """The error names both databases and the url to set; the holder keeps the namespace."""
    lease(broker, OTHERS).acquire()
    mine = lease(broker, MINE)
    with pytest.raises(Refused) as caught:
        mine.acquire()
    for part in ("db-a", "db-b", MINE.database_path, OTHERS.database_path, "boot-1", "boot-9", f"{broker.url}?db=1"):
        assert part in caught.value.message
    mine.release()
    assert holder(broker) == OTHERS


@pytest.mark.parametrize(
    ("other", "change"),
    [
        (
            evolve(MINE, database_path="/copy/metawsm.db", instance_id="b"),
            "give this project a database number of its own",
        ),
        (evolve(MINE, host="there", instance_id="b"), "stop the other instance"),
    ],
)
def test_a_second_live_instance_is_refused(broker: ServerHandle, other: Owner, change: str) -> None:
    """A copied project folder, or the same path on another machine, does not get in beside the first."""
    lease(broker, MINE).acquire()
    with pytest.raises(Refused, match=f"boot-1.*; {change}"):
        lease(broker, other).acquire()


def test_the_next_instance_after_a_crash_takes_over_at_once(broker: ServerHandle) -> None:
    """On the same database file and host the earlier instance must be dead: no waiting for its lease."""
    lease(broker, MINE).acquire()
    successor = lease(broker, evolve(MINE, instance_id="boot-2", pid=12))
    successor.acquire()
    assert holder(broker) == evolve(MINE, instance_id="boot-2", pid=12)
    with pytest.raises(Refused):
        lease(broker, MINE).renew()


def test_after_a_flush_the_lease_is_taken_anew(broker: ServerHandle) -> None:
    """An emptied server has no owner; the next renewal is one, unless somebody was faster."""
    mine = lease(broker, MINE)
    mine.acquire()
    broker.client().flushall()
    mine.renew()
    assert holder(broker) == MINE
    broker.client().flushall()
    lease(broker, OTHERS).acquire()
    with pytest.raises(Refused, match="db-b"):
        mine.renew()


def test_renewal_works_without_memory(broker: ServerHandle) -> None:
    """At the memory limit what is held is kept."""
    mine = lease(broker, MINE)
    mine.acquire()
    with broker.client() as client:
        client.config_set("maxmemory", "1")
        client.pexpire(KEY, 1000)
        mine.renew()
        assert client.pttl(KEY) > 14_000


def test_a_key_of_something_else_is_refused(broker: ServerHandle) -> None:
    """What another program wrote there is shown and left alone."""
    broker.client().set(KEY, "hands off")
    with pytest.raises(Refused, match=r"something unknown \(hands off"):
        lease(broker, MINE).acquire()


def test_an_unreachable_server_is_unavailable(start_broker: Callable[..., ServerHandle]) -> None:
    """No answer is not a refusal."""
    broker = start_broker()
    mine = lease(broker, MINE)
    broker.kill()
    with pytest.raises(Unavailable):
        mine.acquire()
