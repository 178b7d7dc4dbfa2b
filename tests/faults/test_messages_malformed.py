"""Entries that are no message, and messages that are no command: a dead letter with its reason, and on."""

from __future__ import annotations

import random
import time
from typing import Any

import msgpack
import pytest

from tests.support.at_rest import check_at_rest
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.watermill import OPEN, UUID, entry, letters, nothing_pending, outcome, publish, threads

pytest_plugins = ("tests.support.disturbed",)
TOPIC = "forum.commands.open_thread"
MEGABYTES = 10_000_000


# reason, words of the error -> the entry
BAD: dict[str, tuple[str, str, dict[bytes, bytes]]] = {
    "no uuid": ("malformed", "is missing", {b"payload": b"{}"}),
    "no field of ours": ("malformed", "is missing", {b"x": b"y"}),
    "uuid not UTF-8": ("malformed", "not UTF-8", {UUID: b"\xff", b"payload": b"{}"}),
    "bad MessagePack": ("malformed", "not MessagePack", {UUID: b"u", b"metadata": b"\xc1", b"payload": b"{}"}),
    "metadata cut short": ("malformed", "not MessagePack", {UUID: b"u", b"metadata": b"\x82\xa1a"}),
    "metadata is a list": ("malformed", "not a map", {UUID: b"u", b"metadata": b"\x91\xa1a"}),
    "int in metadata": ("malformed", "not a string but int", {UUID: b"u", b"metadata": msgpack.packb({"a": 1})}),
    "10 MB of bad MessagePack": ("malformed", "not MessagePack", {UUID: b"u", b"metadata": b"\x91" * MEGABYTES}),
    "no payload": ("undecodable", "not JSON", {UUID: b"u-0"}),
    "broken JSON": ("undecodable", "not JSON", {UUID: b"u-1", b"payload": b"{"}),
    "deep JSON": ("undecodable", "not JSON", {UUID: b"u-2", b"payload": b"[" * 100_000}),
    "a number of 10 MB": ("undecodable", "not JSON", {UUID: b"u-3", b"payload": b"9" * MEGABYTES}),
    "not UTF-8": ("undecodable", "not JSON", {UUID: b"u-4", b"payload": b'{"envelope": {"event_id": "\xff"}}'}),
    "no object": ("undecodable", "not a JSON object", {UUID: b"u-5", b"payload": b"[]"}),
    "no envelope": ("undecodable", "envelope", {UUID: b"u-6", b"payload": b'{"payload": {}}'}),
    "unknown type": ("undecodable", "dance", entry("dance", OPEN, "u-7")),
    "another topic's type": ("undecodable", "belong", entry("add_post", OPEN, "u-8", thread_id="fthr-1")),
    "type is no string": ("undecodable", "event_type", entry("open_thread", OPEN, "u-9", event_type=5)),
    "unknown version": ("undecodable", "version 99", entry("open_thread", OPEN, "u-10", event_version=99)),
    "version is a list": ("undecodable", "version [1]", entry("open_thread", OPEN, "u-11", event_version=[1])),
    "version is a truth": ("undecodable", "version True", entry("open_thread", OPEN, "u-12", event_version=True)),
    "surrogate as identity": ("undecodable", "identity", entry("open_thread", OPEN, "u-13", event_id="\ud800")),
    "long identity": ("undecodable", "256", entry("open_thread", OPEN, "u-14", event_id="x" * 1000)),
    "no actor": ("undecodable", "actor_type", entry("open_thread", OPEN, "u-15", actor_type=None)),
    "surrogate in a name": ("invalid_fields", "actor_name", entry("open_thread", OPEN, "u-16", actor_name="\ud800")),
    "long correlation": ("invalid_fields", "corr", entry("open_thread", OPEN, "u-17", correlation_id="x" * 1000)),
    "bad thread id": ("invalid_fields", "thread_id", entry("open_thread", OPEN, "u-18", thread_id="../../etc")),
    "thread id is a list": ("invalid_fields", "thread_id", entry("open_thread", OPEN | {"thread_id": []}, "u-19")),
    "missing field": ("invalid_fields", "title", entry("open_thread", {"ticket": "MET-1"}, "u-20")),
    "unknown field": ("invalid_fields", "colour", entry("open_thread", OPEN | {"colour": "red"}, "u-21")),
    "bad ticket": ("invalid_fields", "ticket", entry("open_thread", OPEN | {"ticket": "../x"}, "u-22")),
    "10 MB body": ("invalid_fields", "body", entry("open_thread", OPEN | {"body": "x" * MEGABYTES}, "u-23")),
    "NUL": ("invalid_fields", "body", entry("open_thread", OPEN | {"body": "a\x00b"}, "u-24")),
    "surrogate": ("invalid_fields", "body", entry("open_thread", OPEN | {"body": "\ud800"}, "u-25")),
}  # fmt: skip


def test_each_faulty_entry_leaves_a_letter_and_harms_no_neighbour(daemon: Daemon, client: Any) -> None:
    """Each faulty entry has one dead letter that says what is wrong; the good ones between them are all applied."""
    publish(client, "open_thread", OPEN | {"title": "first"}, "good-first")
    for name, (_, _, fields) in BAD.items():
        client.xadd(TOPIC, fields)
        publish(client, "open_thread", OPEN | {"title": name}, f"good-{name}")
    assert outcome(daemon, "good-first")["status"] == "applied"
    eventually(lambda: len(letters(daemon)) >= len(BAD), timeout=30)
    found = letters(daemon)
    for (name, (reason, words, _)), (why, told) in zip(BAD.items(), found, strict=True):
        assert (why, words in told) == (reason, True), (name, why, told[:300])
    eventually(lambda: {thread["title"] for thread in threads(daemon)} == {"first", *BAD}, timeout=15)
    eventually(lambda: nothing_pending(client))
    health = daemon.request("GET", "/health")
    assert (health.status, health.body["status"]) == (200, "attention")
    assert "Traceback" not in daemon.log.read_text()


def test_an_answer_does_not_wait_for_a_flood_of_large_faulty_entries(daemon: Daemon, client: Any) -> None:
    """While forty faulty entries of 10 MB and more arrive, requests about threads go on to be answered."""
    slowest = 0.0
    for number in range(40):
        client.xadd(TOPIC, {UUID: b"u-%d" % number, b"payload": b"[" * MEGABYTES})
        began = time.monotonic()
        reply = daemon.request("POST", "/forum/threads?wait=20", OPEN | {"actor_type": "agent"})
        slowest = max(slowest, time.monotonic() - began)
        assert reply.status == 201
    eventually(lambda: len(letters(daemon)) == 40, timeout=15)
    assert slowest < 3


JUNK: list[Any] = [
    None, True, 0, -1, 2**70, 1.5, "", " ", "x" * 300, "\x00", "\ud800", "\u202e", [], [[]], {}, {"a": {}}, "human",
    "system", "fthr-1", "1", "null", "../..", ["x"],
]  # fmt: skip
HEADS = (
    "event_id", "event_type", "event_version", "thread_id", "actor_type", "actor_name", "correlation_id",
    "causation_id", "occurred_at", "run_id", "ticket", "agent_name", "unknown",
)  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "open_thread": OPEN | {"priority": "high", "options": ["a"], "run_id": "run-1", "agent_name": "bob"},
    "add_post": {"body": "b", "kind": "post", "expected_sequence": 1},
    "answer_thread": {"body": "b"},
    "assign_thread": {"assignee_type": "human", "assignee_name": "kb", "assignment_note": "n"},
    "change_state": {"to_state": "triaged", "reason": "r"},
    "set_priority": {"priority": "low"},
    "close_thread": {"reason": "r"},
    "mark_seen": {"viewer_type": "human", "viewer_id": "kb", "last_seen_event_sequence": 0},
    "read_answers": {"up_to_sequence": 1, "from_sequence": 0},
    "signal": {"run_id": "run-1", "ticket": "MET-1", "agent_name": "bob",
               "payload": {"control_type": "guidance_request", "question": "?"}},
}  # fmt: skip


def spoilt(dice: random.Random, number: int) -> tuple[str, dict[bytes, bytes]]:
    """A topic and an entry of it: a command with one to three of its members replaced, removed or added."""
    name = dice.choice(list(BODIES))
    head: dict[str, Any] = {"thread_id": "fthr-1"}
    body = dict(BODIES[name])
    for _ in range(dice.randrange(1, 4)):
        if dice.random() < 0.5:
            head[dice.choice(HEADS)] = dice.choice(JUNK)
        else:
            body[dice.choice([*body, "unknown", "thread_id"])] = dice.choice(JUNK)
    fields = entry(name, dice.choice([body, body, body, *JUNK]) if dice.random() < 0.1 else body, f"f-{number}", **head)
    if dice.random() < 0.2:
        hurt = bytearray(fields[b"payload"])
        hurt[dice.randrange(len(hurt))] = dice.randrange(256)
        fields[b"payload"] = bytes(hurt)
    return f"forum.commands.{name}", fields


def check_spoilt(daemon: Daemon, client: Any, count: int, seed: int) -> None:
    """Publish so many spoilt commands: each ends as a command with an outcome or as a letter that blames the sender."""
    dice = random.Random(seed)
    publish(client, "open_thread", OPEN, "start", thread_id="fthr-1")
    assert outcome(daemon, "start")["status"] == "applied"
    with client.pipeline(transaction=False) as pipe:
        for number in range(count):
            pipe.xadd(*spoilt(dice, number))
        pipe.execute()
    topics = [f"forum.commands.{name}" for name in BODIES]
    eventually(lambda: all(nothing_pending(client, topic) for topic in topics), timeout=60)
    found = letters(daemon)
    assert {reason for reason, _ in found} <= {"undecodable", "invalid_fields"}, [f for f in found if "bug" in f[0]]
    assert len(found) > count / 5
    check_at_rest(daemon)
    health = daemon.request("GET", "/health")
    assert (health.status, health.body["status"]) == (200, "attention")


def test_spoilt_commands_are_the_senders_fault(daemon: Daemon, client: Any) -> None:
    """Of 500 commands with members at random none is taken for a bug of ours, and none stops the loop."""
    check_spoilt(daemon, client, 500, 1)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_many_spoilt_commands_are_the_senders_fault(daemon: Daemon, client: Any, seed: int) -> None:
    """The same with 10,000."""
    check_spoilt(daemon, client, 10_000, seed)
