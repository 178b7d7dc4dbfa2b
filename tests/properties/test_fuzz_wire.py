"""Everything that reads messages, fed with anything: a value, or Undecodable; nothing else, and at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metawsm.bus.ports import Message
from metawsm.domain import events
from metawsm.domain.envelope import Envelope
from metawsm.domain.errors import Undecodable
from metawsm.domain.events import Fact
from metawsm.messages.codec import command_json, envelope_from, envelope_of, fact_of, payload_of, read_command
from metawsm.messages.json_text import to_json
from metawsm.streams.wire import METADATA, PAYLOAD, UUID, decode, encode

T = TypeVar("T")
GOLDEN = Path(__file__).resolve().parent.parent / "golden"
SAMPLES = [path.read_bytes() for path in sorted(GOLDEN.glob("*/*.json"))]
FACTS = [(fact.TYPE, fact.VERSION) for fact in events.ALL]

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(["forum", "new"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
members = st.sampled_from([name for cls in (Envelope, *events.ALL) for name in cls.__annotations__])
objects = st.dictionaries(members | st.text(max_size=10), anything, max_size=6)


def read(reader: Callable[..., T], *given_: Any) -> T | None:
    """What the reader makes of it; None for the one error that is allowed, which must say something."""
    try:
        return reader(*given_)
    except Undecodable as error:
        assert error.message.strip()
        return None


@st.composite
def hurt(draw: st.DrawFn, whole: bytes) -> bytes:
    """These bytes with a stretch of them cut out, replaced or doubled."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 8)))
    middle = draw(
        st.binary(max_size=6) | st.sampled_from([b"", whole[start:end] * 2, b"[" * 5000, b"\\ud800", b"1e999"])
    )
    return whole[:start] + middle + whole[end:]


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from([UUID, METADATA, PAYLOAD, b"x"]), st.binary(max_size=200)))
@example({UUID: b"u", METADATA: b"\xde\xff\xff"})
@example({UUID: b"u", METADATA: b"\xdf\xff\xff\xff\xff"})
@example({UUID: b"u", METADATA: b"\x81\xa1a\xd9\xff"})
@example({UUID: b"u", METADATA: b"\x81\xc7\x0c\xff" + b"\xff" * 12})
@example({UUID: b"u", METADATA: b"\x81\xd6\xff\x00\x00\x00\x00\xa1a"})
def test_any_fields_are_a_message_or_undecodable(fields: dict[bytes, bytes]) -> None:
    """A stream entry of any bytes gives a message whose parts have the promised types, and which can be sent on."""
    message = read(decode, fields)
    if message is not None:
        assert type(message.uuid) is str and type(message.payload) is bytes
        assert all(type(part) is str for pair in message.metadata.items() for part in pair)
        assert decode(encode(message)) == message


@settings(max_examples=150)
@given(st.data())
def test_a_hurt_entry_is_a_message_or_undecodable(data: st.DataObject) -> None:
    """A good entry with some bytes of its metadata wrong does no harm."""
    packed = msgpack.packb({"name": "forum.commands.open_thread", "origin": "db-1/1", "message_id": "fcmd-1"})
    fields = {UUID: data.draw(hurt(b"fcmd-1")), METADATA: data.draw(hurt(packed)), PAYLOAD: b"{}"}
    message = read(decode, fields)
    assert message is None or isinstance(message, Message)


@settings(max_examples=150)
@given(st.data())
def test_any_bytes_are_a_command_or_undecodable(data: st.DataObject) -> None:
    """Golden commands and events with some bytes wrong, and any other bytes: two objects, or Undecodable."""
    text = data.draw(st.binary(max_size=100) | hurt(data.draw(st.sampled_from(SAMPLES))))
    found = read(read_command, text)
    if found is not None:
        envelope, payload = found
        assert type(envelope) is dict and type(payload) is dict
        read(envelope_from, envelope)


@pytest.mark.parametrize(
    "text", [b"[" * 1_000_000, b'{"a":' * 500_000, b"9" * 5_000_000, b'"' + b"\\u0000" * 800_000, b"{}" * 2_000_000]
)
def test_large_nonsense_is_undecodable_at_once(text: bytes) -> None:
    """Megabytes of nesting, digits or escapes neither crash nor hang."""
    assert read(read_command, text) is None


@settings(max_examples=150)
@given(objects)
def test_any_object_is_an_envelope_or_undecodable(value: dict[str, Any]) -> None:
    """Members of any name and type: what is read can be written again."""
    envelope = read(envelope_from, value)
    if envelope is not None:
        assert isinstance(envelope, Envelope)
        assert json.loads(command_json(envelope, {}))["envelope"] == json.loads(to_json(envelope_of(envelope)))


@settings(max_examples=250)
@given(
    st.sampled_from([each for each, _ in FACTS]) | st.text(max_size=20),
    st.integers(-(2**70), 2**70) | st.integers(0, 2),
    objects,
)
@example("forum.thread.opened", 0, {})
@example("forum.thread.opened", -1, {})
def test_any_payload_is_a_fact_or_undecodable(kind: str, version: int, payload: dict[str, Any]) -> None:
    """A payload of any members, of any type and version, also one that never was."""
    fact = read(fact_of, kind, version, payload)
    if fact is not None:
        assert isinstance(fact, Fact)
        assert fact_of(kind, fact.VERSION, payload_of(fact)) == fact


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(anything, st.booleans())
def test_any_value_as_a_payload(value: Any, wrapped: bool) -> None:
    """JSON of any shape where a command should be."""
    text = json.dumps({"envelope": value, "payload": value} if wrapped else value)
    found = read(read_command, text)
    assert (found is not None) == (wrapped and isinstance(value, dict))
