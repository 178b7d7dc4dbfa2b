"""Looking at streams and groups, and trimming them without taking anything from our own groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metawsm.bus.ports import Ack, Message, Publication, Subscription
from metawsm.domain.errors import Unavailable
from metawsm.streams.transport import RedisTransport
from tests.support.redis_servers import ServerHandle

pytest_plugins = ("tests.support.redis_fixtures",)

Connect = Callable[..., RedisTransport]

OWN = Subscription("feed", "metawsm-forum", count=4)
SUBSCRIBER = Subscription("feed", "metawsm-forum.views", count=6, noack=True)
FOREIGN = Subscription("feed", "metawsm-forumist")


def fill(transport: RedisTransport, count: int = 10) -> None:
    """Publish feed entries 1-0 to <count>-0."""
    feed = [Publication("feed", Message(f"u{n}", {}, b"{}"), f"{n}-0") for n in range(1, count + 1)]
    assert not any(transport.exchange(feed, [], []).faults)


def first_id(broker: ServerHandle) -> str:
    """The oldest entry still there."""
    entries: Any = broker.client().xrange("feed", count=1)
    return entries[0][0].decode() if entries else ""


def test_a_topic_is_described(connect: Connect) -> None:
    """Length, pending, lag, consumers and positions of one stream through one group."""
    transport = connect()
    transport.ensure([OWN])
    fill(transport)
    transport.exchange([], [], [OWN])
    (info,) = transport.inspect([OWN])
    assert (info.topic, info.group, info.problem) == ("feed", "metawsm-forum", "")
    assert (info.stream_length, info.consumer_group_pending, info.consumer_group_lag, info.consumers) == (10, 4, 6, 1)
    assert (info.last_delivered_id, info.last_generated_id, info.oldest_pending_id) == ("4-0", "10-0", "1-0")
    assert 0 <= info.oldest_pending_idle_seconds < 5


def test_what_is_missing_or_sick_is_a_problem_not_an_error(broker: ServerHandle, connect: Connect) -> None:
    """No stream, no group, and a key of another type are told as such."""
    transport = connect()
    broker.client().set("text", "x")
    fill(transport, 1)
    problems = [each.problem for each in transport.inspect([Subscription("no", "g"), OWN, Subscription("text", "g")])]
    assert problems[:2] == ["the stream does not exist", "the group does not exist"]
    assert problems[2].startswith("WRONGTYPE")


def test_lag_after_deletions_and_trims(broker: ServerHandle, connect: Connect) -> None:
    """Where the server gives no number, a group that has seen the last entry has no lag, any other an unknown one."""
    transport = connect()
    transport.ensure([OWN, SUBSCRIBER])
    fill(transport)
    transport.exchange([], [], [SUBSCRIBER])
    with broker.client() as client:
        client.xdel("feed", "8-0")
        behind = transport.inspect([SUBSCRIBER])[0].consumer_group_lag
        assert behind is None or behind > 0
        client.xdel("feed", "7-0", "9-0", "10-0")
        assert transport.inspect([SUBSCRIBER])[0].consumer_group_lag == 0
        client.xtrim("feed", maxlen=0, approximate=False)
    assert [info.consumer_group_lag for info in transport.inspect([OWN, SUBSCRIBER])] == [0, 0]


def test_foreign_groups_are_told_from_ours(connect: Connect) -> None:
    """Ours are the prefix and what follows it with a dot; a name that only starts alike is foreign."""
    transport = connect()
    transport.ensure([OWN, SUBSCRIBER, FOREIGN])
    fill(transport)
    transport.exchange([], [], [FOREIGN])
    (foreign,) = transport.foreign_groups("feed", "metawsm-forum")
    assert (foreign.name, foreign.pending, foreign.lag, foreign.last_delivered_id) == (FOREIGN.group, 10, 0, "10-0")
    assert foreign.idle_seconds is not None
    assert transport.foreign_groups("nothing", "metawsm-forum") == []


def test_trim_stops_at_what_our_groups_have_not_got(broker: ServerHandle, connect: Connect) -> None:
    """Undelivered and unacknowledged entries of our groups stay, whatever age or length is asked for."""
    transport = connect()
    transport.ensure([OWN, SUBSCRIBER])
    fill(transport)
    delivered = transport.exchange([], [], [SUBSCRIBER, OWN]).deliveries
    own = [delivery.entry_id for delivery in delivered if delivery.group == OWN.group]
    assert transport.trim("feed", "metawsm-forum", min_id="100-0", max_len=0) == 0
    transport.exchange([], [Ack("feed", OWN.group, own[:2])], [])
    assert transport.trim("feed", "metawsm-forum", min_id="100-0") == 2
    assert first_id(broker) == "3-0"
    transport.exchange([], [Ack("feed", OWN.group, own[2:])], [])
    assert transport.trim("feed", "metawsm-forum", max_len=0) == 2
    assert first_id(broker) == "5-0"


def test_trim_to_a_length_and_to_an_age(broker: ServerHandle, connect: Connect) -> None:
    """Below the barrier exactly what was asked for goes; a foreign group does not hold it."""
    transport = connect()
    transport.ensure([OWN, FOREIGN])
    fill(transport, 10)
    while fresh := transport.exchange([], [], [OWN]).deliveries:
        transport.exchange([], [Ack("feed", OWN.group, [delivery.entry_id for delivery in fresh])], [])
    assert transport.trim("feed", "metawsm-forum", min_id="3-0", max_len=20) == 2
    assert transport.trim("feed", "metawsm-forum", min_id="1-0", max_len=5) == 3
    assert (broker.client().xlen("feed"), first_id(broker)) == (5, "6-0")
    assert transport.trim("missing", "metawsm-forum", min_id="9-0", max_len=1) == 0


@pytest.mark.parametrize("position", [f"5-{2**64 - 1}", f"{2**64 - 1}-{2**64 - 1}"])
def test_a_group_at_the_end_of_the_numbers_does_not_stop_the_trim(
    position: str, broker: ServerHandle, connect: Connect
) -> None:
    """There is no next second part of an id, or no next id at all: what is below is cut all the same."""
    transport = connect()
    transport.ensure([OWN])
    fill(transport)
    broker.client().xgroup_setid("feed", OWN.group, position)
    assert transport.trim("feed", "metawsm-forum", min_id="3-0", max_len=6) == 4
    assert first_id(broker) == "5-0"


def test_a_stream_without_groups_of_ours_is_trimmed_freely(broker: ServerHandle, connect: Connect) -> None:
    """Per-topic event streams are for others: length and age alone decide, and one call is enough for a long excess."""
    transport = connect()
    fill(transport, 2500)
    assert [transport.trim("feed", "metawsm-forum", max_len=100) for _ in range(2)] == [2400, 0]
    assert first_id(broker) == "2401-0"


def test_groups_outlive_an_emptied_stream(connect: Connect) -> None:
    """Each gets what it had not acknowledged once more and then what is new, also one that had read beyond."""
    transport = connect()
    beyond = Subscription("feed", "beyond", noack=True)
    transport.ensure([OWN, beyond])
    fill(transport, 6)
    delivered = transport.exchange([], [], [OWN]).deliveries
    transport.exchange([], [Ack("feed", OWN.group, [delivered[0].entry_id, delivered[1].entry_id])], [])
    transport.exchange([Publication("feed", Message("stray", {}, b"{}"))], [], [])
    while transport.exchange([], [], [beyond]).deliveries:
        pass
    transport.empty(["feed"], "6-0")
    assert transport.ensure([OWN, beyond]) == []
    fill(transport, 7)
    seen = transport.exchange([], [], [OWN, beyond]).deliveries
    assert [each.entry_id for each in seen if each.group == OWN.group] == ["3-0", "4-0", "5-0", "6-0"]
    assert [each.entry_id for each in seen if each.group == "beyond"] == ["7-0"]


def test_server_facts(broker: ServerHandle, connect: Connect) -> None:
    """Version, policy, persistence, role and process are read from the server."""
    transport = connect()
    facts = transport.server_facts()
    assert facts.version.startswith(broker.kind)
    assert (facts.role, facts.eviction_policy, facts.append_only) == ("master", "noeviction", False)
    assert facts.process_id == broker.process.pid
    assert facts.used_memory > 0


def test_streams_without_groups_can_be_made(broker: ServerHandle, connect: Connect) -> None:
    """Topics for others exist empty from the start; what is there already stays as it is."""
    transport = connect()
    fill(transport, 3)
    transport.ensure([OWN])
    broker.client().set("text", "x")
    transport.ensure_streams(["feed", "text", "fresh"])
    with broker.client() as client:
        assert (client.xlen("feed"), client.xlen("fresh")) == (3, 0)
        assert client.xinfo_groups("fresh") == []
        assert [group["name"] for group in client.xinfo_groups("feed")] == [b"metawsm-forum"]


def test_an_emptied_stream_can_be_filled_from_below(connect: Connect) -> None:
    """After FLUSHALL newer entries may be there first; emptied, the feed takes the older ones and delivers them all."""
    transport = connect()
    transport.exchange([Publication("feed", Message("u9", {}, b"{}"), "9-0")], [], [])
    transport.empty(["feed", "missing"], "3-0")
    assert transport.ensure([OWN]) == [OWN]
    fill(transport, 3)
    assert [delivery.entry_id for delivery in transport.exchange([], [], [OWN]).deliveries] == ["1-0", "2-0", "3-0"]


def test_a_key_of_another_type_is_left_alone_when_streams_are_emptied(broker: ServerHandle, connect: Connect) -> None:
    """It holds no entry of ours, and does not keep the others from being emptied."""
    transport = connect()
    fill(transport, 1)
    with broker.client() as client:
        client.set("text", "mine")
        transport.empty(["text", "feed"], "0-0")
        assert (client.get("text"), client.exists("feed")) == (b"mine", 0)


def test_a_fence_bars_what_changes_streams_and_what_is_read(broker: ServerHandle, connect: Connect) -> None:
    """Once the lease has run out nothing is sent; an answer that came while it ran out is not handed out."""
    answers: list[str] = []

    def fence() -> None:
        if answers and answers.pop() == "run out":
            raise Unavailable("run out")

    transport, read = connect(fence=fence), Subscription("feed", "g")
    fill(transport, 1)
    transport.ensure([read])
    barred: list[Callable[[], object]] = [
        lambda: transport.exchange([], [], [read]),
        lambda: transport.listen([read], 0.01),
        lambda: transport.pending(read),
        lambda: transport.claim_idle(read, 0.0),
        lambda: transport.empty(["feed"], "0-0"),
        lambda: transport.trim("feed", "g", max_len=0),
    ]
    for ask in barred:
        answers[:] = ["run out"]
        with pytest.raises(Unavailable, match="run out"):
            ask()
    with broker.client() as client:
        assert client.xinfo_groups("feed")[0]["entries-read"] in (0, None)
        answers[:] = ["run out", "held"]  # asked before it is sent, then again
        with pytest.raises(Unavailable, match="run out"):
            transport.exchange([], [], [read])
        assert client.xlen("feed") == 1
    assert len(transport.pending(read)) == 1
