"""The exchange with a real server: entry ids, faults of one key, refusals of the whole server, malformed entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from metawsm.bus.ports import Ack, Message, Publication, Subscription
from metawsm.domain.errors import Unavailable
from metawsm.streams.transport import RedisTransport
from metawsm.streams.wire import encode
from tests.support.redis_servers import ServerHandle

pytest_plugins = ("tests.support.redis_fixtures",)

Connect = Callable[..., RedisTransport]
Start = Callable[..., ServerHandle]


def on(topic: str, uuid: str, entry_id: str = "*", size: int = 2) -> Publication:
    """A publication of a message with that uuid."""
    return Publication(topic, Message(uuid, {"name": "forum.test"}, b"p" * size), entry_id)


def fields(uuid: str, metadata: dict[str, str], payload: bytes) -> Any:
    """The stream fields of a message that somebody else publishes."""
    return encode(Message(uuid, metadata, payload))


def test_repeating_a_fixed_id_is_success_and_does_not_duplicate(broker: ServerHandle, connect: Connect) -> None:
    """Publishing feed entries again, alone or among new ones, changes nothing and is no fault."""
    transport = connect()
    first = [on("feed", f"u{number}", f"{number}-0") for number in range(1, 6)]
    assert transport.exchange(first, [], []).faults == [None] * 5
    again = transport.exchange([*first, on("feed", "u6", "6-0")], [], [])
    assert again.faults == [None] * 6
    assert broker.client().xlen("feed") == 6
    assert transport.last_entry_id("feed") == "6-0"


def test_an_id_below_the_top_that_is_not_there_is_a_fault(connect: Connect) -> None:
    """A hole in the feed is told, not taken for an entry that was written before."""
    transport = connect()
    transport.exchange([on("feed", "u1", "1-0"), on("feed", "u3", "3-0")], [], [])
    (fault,) = transport.exchange([on("feed", "u2", "2-0")], [], []).faults
    assert fault == "MISSING entry feed 2-0 is not there and the top is 3-0"


def test_an_id_below_the_only_entry_is_a_fault(connect: Connect) -> None:
    """Where nothing was ever removed, what stands below the first entry was never there."""
    transport = connect()
    transport.exchange([on("feed", "u3", "3-0")], [], [])
    (fault,) = transport.exchange([on("feed", "u2", "2-0")], [], []).faults
    assert str(fault).startswith("MISSING")


def test_another_message_under_the_same_id_is_a_fault(connect: Connect) -> None:
    """After a restore another timeline may stand in the feed: it is named."""
    transport = connect()
    transport.exchange([on("feed", "theirs", "1-0")], [], [])
    (fault,) = transport.exchange([on("feed", "ours", "1-0")], [], []).faults
    assert fault == "TAKEN entry feed 1-0 is another message: theirs, not ours"


def test_an_entry_that_was_trimmed_away_needs_no_second_publication(broker: ServerHandle, connect: Connect) -> None:
    """Below the first entry of a trimmed stream a repeat is a success; above it a hole is still a fault."""
    transport = connect()
    transport.exchange([on("feed", f"u{number}", f"{number}-0") for number in (1, 2, 3, 4, 6)], [], [])
    broker.client().xtrim("feed", minid="4-0", approximate=False)
    faults = transport.exchange([on("feed", "u2", "2-0"), on("feed", "u5", "5-0")], [], []).faults
    assert faults[0] is None
    assert faults[1] is not None
    assert faults[1].startswith("MISSING")


def test_a_key_of_another_type_does_not_park_the_others(broker: ServerHandle, connect: Connect) -> None:
    """One sick stream is named in its fault and in sick_topics; publishing and reading the others goes on."""
    transport = connect()
    reads = [Subscription(topic, "g") for topic in ("good", "bad", "fine")]
    broker.client().set("bad", "a text")
    transport.ensure(reads)
    answer = transport.exchange([on(topic, topic) for topic in ("good", "bad", "fine")], [], reads)
    assert [bool(fault) for fault in answer.faults] == [False, True, False]
    assert str(answer.faults[1]).startswith("WRONGTYPE")
    assert [delivery.topic for delivery in answer.deliveries] == ["good", "fine"]
    assert transport.sick_topics["bad"].startswith("WRONGTYPE")
    broker.client().xadd("good", fields("theirs", {}, b""))
    assert [delivery.topic for delivery in transport.listen(reads, 1)] == ["good"]


def test_a_key_that_turns_sick_while_serving_is_left_out_and_taken_back(broker: ServerHandle, connect: Connect) -> None:
    """WRONGTYPE in the middle of the work: neighbours are read in the same exchange; once mended it is read again."""
    transport = connect()
    reads = [Subscription("good", "g"), Subscription("bad", "g")]
    transport.ensure(reads)
    with broker.client() as client:
        client.delete("bad")
        client.lpush("bad", "x")
        assert [d.topic for d in transport.exchange([on("good", "u1")], [], reads).deliveries] == ["good"]
        client.delete("bad")
    transport.ensure(reads)
    both = transport.exchange([on("bad", "u2"), on("good", "u3")], [], reads)
    assert both.faults == [None, None]
    assert sorted(delivery.topic for delivery in both.deliveries) == ["bad", "good"]


def test_only_sick_streams_to_listen_to_is_unavailable(broker: ServerHandle, connect: Connect) -> None:
    """A listener with nothing to wait for does not spin."""
    broker.client().set("bad", "a text")
    transport, read = connect(), Subscription("bad", "g")
    transport.ensure([read])
    with pytest.raises(Unavailable, match="no stream can be read"):
        transport.listen([read], 1)


def test_out_of_memory_refuses_all_publications_or_none(start_broker: Start) -> None:
    """At the memory limit nothing is published, so the feed gets no hole; acks and reads go on; then it recovers."""
    broker = start_broker("--maxmemory", "20mb", "--maxmemory-policy", "noeviction")
    transport, read = RedisTransport(broker.url, "c"), Subscription("commands", "g")
    transport.ensure([read])
    transport.exchange([on("commands", "u0"), on("feed", "u1", "1-0")], [], [])
    with broker.client() as client:
        client.config_set("maxmemory", "1mb")
        refused = transport.exchange([on("feed", "u2", "2-0"), on("events", "u2")], [], [read])
        assert [str(fault).partition(" ")[0] for fault in refused.faults] == ["OOM", "OOM"]
        assert [delivery.entry_id for delivery in refused.deliveries] != []
        acks = [Ack("commands", "g", [delivery.entry_id for delivery in refused.deliveries])]
        transport.exchange([on("feed", "u2", "2-0")], acks, [])
        assert not transport.pending(read)
        assert transport.last_entry_id("feed") == "1-0"
        assert client.exists("events") == 0
        client.config_set("maxmemory", "20mb")
    both = [on("feed", "u2", "2-0"), on("feed", "u3", "3-0")]
    assert transport.exchange(both, [], []).faults == [None, None]
    transport.close()


def test_memory_that_runs_out_in_the_middle_leaves_no_hole(start_broker: Start) -> None:
    """A large message that does not fit between two small ones that do: none of the three is published."""
    broker = start_broker()
    transport = RedisTransport(broker.url, "c")
    transport.server_facts()
    with broker.client() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 2_000_000)
    three = [on("feed", "u1", "1-0"), on("feed", "u2", "2-0", size=8_000_000), on("feed", "u3", "3-0")]
    assert [str(fault).partition(" ")[0] for fault in transport.exchange(three, [], []).faults] == ["OOM"] * 3
    assert transport.last_entry_id("feed") == "0-0"
    transport.close()


def test_a_stream_that_may_not_be_read_is_left_out(start_broker: Start) -> None:
    """Without permission to read one stream the others are read all the same, and the stream is named."""
    broker = start_broker()
    rules = ["on", ">secret", "~good*", "%W~bad*", "+@all"]
    broker.client().execute_command("ACL", "SETUSER", "limited", *rules)  # type: ignore[no-untyped-call]
    limited = RedisTransport(broker.url.replace("unix://", "unix://limited:secret@"), "c")
    reads = [Subscription("good", "g"), Subscription("bad", "g")]
    limited.ensure(reads)
    answer = limited.exchange([on("good", "a"), on("bad", "b")], [], reads)
    assert answer.faults == [None, None]
    assert [delivery.topic for delivery in answer.deliveries] == ["good"]
    assert limited.sick_topics["bad"].startswith("NOPERM")
    limited.close()


def test_a_forbidden_key_is_a_fault_of_its_own(start_broker: Start) -> None:
    """A user without permission for one stream still publishes to the others."""
    broker = start_broker()
    broker.client().acl_setuser("limited", enabled=True, passwords=["+secret"], keys=["good*"], categories=["+@all"])
    limited = RedisTransport(broker.url.replace("unix://", "unix://limited:secret@"), "c")
    read = Subscription("good", "g")
    limited.ensure([read])
    answer = limited.exchange([on("good1", "a"), on("other", "b"), on("good", "c")], [], [read])
    assert [str(fault).partition(" ")[0] for fault in answer.faults] == ["None", "NOPERM", "None"]
    assert [delivery.topic for delivery in answer.deliveries] == ["good"]
    limited.close()


def test_a_read_only_replica_is_unavailable(start_broker: Start) -> None:
    """Nothing can be written anywhere: the whole exchange fails, naming the reason."""
    broker = start_broker()
    broker.client().replicaof("127.0.0.1", "1")
    transport = RedisTransport(broker.url, "c")
    with pytest.raises(Unavailable, match="READONLY"):
        transport.exchange([on("feed", "u1", "1-0")], [], [])
    transport.close()


def test_malformed_entries_are_delivered_with_their_fault(broker: ServerHandle, connect: Connect) -> None:
    """What cannot be decoded arrives with the reason and its raw fields; its neighbours arrive intact."""
    transport, read = connect(), Subscription("mixed", "g")
    transport.ensure([read])
    with broker.client() as client:
        client.xadd("mixed", {"payload": "{}"})
        client.xadd("mixed", fields("good", {"a": "b"}, b"{}"))
        client.xadd("mixed", {"_watermill_message_uuid": "u", "metadata": b"\x81\xa1a\x01"})
        client.xadd("mixed", fields("large", {}, b"x" * 10_000_000))
    bad, good, number, large = transport.exchange([], [], [read]).deliveries
    assert (bad.message, bad.fault) == (None, "field _watermill_message_uuid is missing")
    assert bad.raw == {b"payload": b"{}"}
    assert number.fault == "metadata 'a' is not a string but int"
    assert good.message == Message("good", {"a": "b"}, b"{}")
    assert large.message is not None
    assert len(large.message.payload) == 10_000_000


def test_pending_entries_whose_body_is_gone_are_marked(broker: ServerHandle, connect: Connect) -> None:
    """An entry that was trimmed or deleted after its delivery comes back as trimmed."""
    transport, read = connect(), Subscription("gone", "g")
    transport.ensure([read])
    transport.exchange([on("gone", "a"), on("gone", "b"), on("gone", "c")], [], [])
    first, second, third = transport.exchange([], [], [read]).deliveries
    with broker.client() as client:
        client.xdel("gone", second.entry_id)
        client.xtrim("gone", minid=second.entry_id, approximate=False)
    found = {delivery.entry_id: delivery.trimmed for delivery in transport.pending(read)}
    assert found == {first.entry_id: True, second.entry_id: True, third.entry_id: False}


def test_entries_left_by_another_consumer_are_taken_over(connect: Connect) -> None:
    """What a consumer that went away had not acknowledged can be claimed after a while."""
    gone, transport, read = connect("gone"), connect("here"), Subscription("left", "g")
    transport.ensure([read])
    gone.exchange([on("left", "a"), on("left", "b")], [], [read])
    assert not transport.claim_idle(read, 60)
    taken = transport.claim_idle(read, 0)
    assert [delivery.message.uuid for delivery in taken if delivery.message] == ["a", "b"]
    assert len(transport.pending(read)) == 2


def test_reads_are_bounded_per_stream(connect: Connect) -> None:
    """No more than `count` entries of a stream come in one exchange."""
    transport = connect()
    reads = [Subscription("one", "g", count=3), Subscription("two", "g", count=3), Subscription("two", "h", count=5)]
    transport.ensure(reads)
    transport.exchange([on(topic, str(number)) for number in range(9) for topic in ("one", "two")], [], [])
    found = [(delivery.topic, delivery.group) for delivery in transport.exchange([], [], reads).deliveries]
    assert [found.count(key) for key in (("one", "g"), ("two", "g"), ("two", "h"))] == [3, 3, 5]


def test_one_listen_knows_one_group() -> None:
    """Mixing groups in one blocking read is a mistake of the caller, told as such."""
    transport = RedisTransport("unix:///nowhere", "c")
    with pytest.raises(ValueError, match="one group"):
        transport.listen([Subscription("a", "g"), Subscription("a", "h")], 1)
