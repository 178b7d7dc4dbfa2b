"""Golden samples: what was written once is read for ever, and written the same today.

One sample at least for each (type, version) of events and commands, as text on the wire. A sample is never edited: a
new version gets new samples, and the old ones go on being read.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from metawsm.bus.dispatch import read_message
from metawsm.bus.ports import Message
from metawsm.commands import ALL as COMMANDS
from metawsm.domain import events
from metawsm.messages.codec import (
    EVENT_COLUMNS,
    UPCASTS,
    command_json,
    envelope_from,
    event_of_row,
    payload_of,
    read_command,
    wire_event,
    wire_event_of_row,
)
from metawsm.messages.json_text import to_json
from metawsm.streams import wire

HERE = Path(__file__).parent
EVENTS = sorted((HERE / "events").glob("*.json"))
SENT = sorted((HERE / "commands").glob("*.json"))
WIRE = sorted((HERE / "wire").glob("*.json"))
SPECS = {(spec.event_type, spec.version): spec for spec in COMMANDS}


def text_of(path: Path) -> str:
    """The sample without the line end of the file."""
    return path.read_text(encoding="utf-8").removesuffix("\n")


def named(path: Path) -> tuple[str, int]:
    """Type and version that the sample's name says: `<type>.v<version>[.<variant>].json`."""
    kind, _, rest = path.name.partition(".v")
    return kind, int(rest.partition(".")[0])


def row_of(sample: dict[str, Any]) -> list[Any]:
    """The sample as a row of `forum_events`."""
    head = {"sequence": sample["sequence"], **sample["envelope"], "payload_json": sample["payload_json"]}
    return [head.get(name.strip()) for name in EVENT_COLUMNS.split(",")]


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: path.stem)
def test_events_are_read_and_written_the_same(path: Path) -> None:
    """Each event's text is read into its fact and becomes the same text again (old versions: they are read)."""
    sample = json.loads(text_of(path))
    envelope = sample["envelope"]
    assert (envelope["event_type"], envelope["event_version"]) == named(path)
    assert json.loads(sample["payload_json"]) == sample["payload"]
    row = row_of(sample)
    assert wire_event_of_row(row) == text_of(path)
    event = event_of_row(row)
    if named(path) == (event.fact.TYPE, event.fact.VERSION):
        assert wire_event(event.sequence, event.envelope, to_json(payload_of(event.fact))) == text_of(path)


@pytest.mark.parametrize("path", SENT, ids=lambda path: path.stem)
def test_commands_are_read_and_written_the_same(path: Path) -> None:
    """Each command's text is read into envelope and message, and becomes the same text again."""
    members, body = read_command(text_of(path))
    envelope = envelope_from(members)
    assert (envelope.event_type, envelope.event_version) == named(path)
    message = read_message(SPECS[named(path)], body, getattr(envelope, SPECS[named(path)].subject))[0]
    assert type(message) is SPECS[named(path)].message
    assert command_json(envelope, body) == text_of(path)


@pytest.mark.parametrize("path", WIRE, ids=lambda path: path.stem)
def test_stream_entries_are_read_and_written_the_same(path: Path) -> None:
    """Each message becomes the bytes of its sample, and the bytes become the message."""
    sample = json.loads(text_of(path))
    message = Message(sample["uuid"], sample["metadata"], sample["payload"].encode())
    fields = {name.encode(): bytes.fromhex(value) for name, value in sample["fields"].items()}
    assert wire.encode(message) == fields
    assert wire.decode(fields) == message


def test_every_event_has_a_sample() -> None:
    """Each (type, version) that is written today, and each that is upcast, has a sample."""
    wanted = {(fact.TYPE, fact.VERSION) for fact in events.ALL} | set(UPCASTS)
    assert {named(path) for path in EVENTS} == wanted


def test_every_command_has_a_sample() -> None:
    """Each (type, version) of a command has a sample, and no sample is of a command that is gone."""
    assert {named(path) for path in SENT} == set(SPECS)
