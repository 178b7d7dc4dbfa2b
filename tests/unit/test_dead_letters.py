"""The table of dead letters: repetitions, bounds, pages, what a rebuild ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from metawsm.bus.letters import LetterFilter, Person
from metawsm.bus.ports import Delivery
from metawsm.bus.receive import DeadLetter, letter_of
from metawsm.domain.errors import Malformed
from metawsm.storage.connection import Connection, open_writer
from metawsm.storage.dead_letters import LARGE_TOGETHER, LARGEST_PAYLOAD, PAYLOAD_HEAD, DeadLetterTable
from metawsm.storage.letter_pages import count_letters, letters_page, whole_letter
from metawsm.storage.migrations import migrate
from metawsm.storage.schema_steps import STEPS

TABLE = DeadLetterTable()
LETTER = DeadLetter("malformed", "receive", "g", "t", "1-0", "2026-01-01T00:00:00.000000Z", error="e", payload=b"{}")
FAILED = evolve(LETTER, reason="handler_failed", command_id="fcmd-1", entry_id="2-0", attempts=3, traceback="old")
KB = Person("human", "kb")
LATER, LAST = "2026-01-02T00:00:00.000000Z", "2026-01-03T00:00:00.000000Z"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    """A database with the newest schema."""
    connection = open_writer(tmp_path / "db")
    migrate(connection, STEPS)
    yield connection
    connection.close()


def row(db: Connection, letter: int, *columns: str) -> tuple[object, ...]:
    """Columns of a letter."""
    found = TABLE.find(db, letter)
    assert found is not None
    return tuple(getattr(found, column) for column in columns)


def test_a_command_opens_its_letter_again_under_another_entry(db: Connection) -> None:
    """The same command failing again is the same letter, whatever entry brought it, and says what failed last."""
    TABLE.insert(db, FAILED)
    TABLE.end(db, 1, "replayed", KB, LATER)
    TABLE.insert(db, evolve(FAILED, entry_id="9-0", traceback="new", failed_at=LAST))
    assert count_letters(db, LetterFilter()) == 1
    assert row(db, 1, "status", "attempts", "traceback", "last_failed_at") == ("open", 6, "new", LAST)
    assert row(db, 1, "first_failed_at", "ended_at", "ended_by_name") == (LETTER.failed_at, None, None)


def test_an_entry_only_counts(db: Connection) -> None:
    """An entry delivered once more leaves its letter as a person ended it."""
    TABLE.insert(db, LETTER)
    TABLE.end(db, 1, "discarded", KB, LATER)
    TABLE.insert(db, evolve(LETTER, failed_at=LAST))
    assert row(db, 1, "status", "attempts", "last_failed_at", "ended_by_name") == ("discarded", 2, LAST, "kb")


def test_an_ended_letter_does_not_end_twice(db: Connection) -> None:
    """The first end stays."""
    TABLE.insert(db, LETTER)
    TABLE.end(db, 1, "discarded", KB, LATER)
    TABLE.end(db, 1, "replayed", Person("operator"), LAST, "fcmd-2")
    assert row(db, 1, "status", "ended_at", "ended_by_type", "command_id") == ("discarded", LATER, "human", None)


def test_a_payload_that_no_command_has_is_cut(db: Connection) -> None:
    """Of a huge payload the head is kept, without half a character."""
    TABLE.insert(db, evolve(LETTER, payload=b"x" * LARGEST_PAYLOAD))
    TABLE.insert(db, evolve(LETTER, entry_id="2-0", payload=("x" + "ü" * LARGEST_PAYLOAD).encode()))
    assert [row(db, letter, "cut") for letter in (1, 2)] == [(False,), (True,)]
    (payload,) = row(db, 2, "payload")
    assert isinstance(payload, bytes)
    assert PAYLOAD_HEAD - 4 < len(payload) <= PAYLOAD_HEAD and payload.decode().endswith("ü")


def test_hostile_texts_are_kept_and_bounded(db: Connection) -> None:
    """Lone surrogates and endless texts do not keep a letter from being stored."""
    long = "a" * 200_000
    TABLE.insert(db, evolve(LETTER, error=f"\ud800{long}", traceback=long, message_id=long, metadata={"k": long}))
    error, trace, message, metadata = row(db, 1, "error", "traceback", "message_id", "metadata_json")
    assert str(error).startswith("\\ud800aaa") and len(str(error)) < 5000
    assert len(str(trace)) < 66_000 and len(str(message)) < 600 and metadata is None


def test_old_open_ones_are_cut_and_never_deleted(db: Connection) -> None:
    """Beyond the newest few, open letters lose what is large, a bounded number at a time; ended ones are let alone."""
    for number in range(6):
        TABLE.insert(db, evolve(LETTER, entry_id=f"{number}-0", traceback="t"))
    TABLE.end(db, 1, "discarded", KB, LATER)
    assert [TABLE.cut(db, 2, keep=2) for _ in range(3)] == [2, 1, 0]
    assert [row(db, letter, "cut", "payload")[0] for letter in range(1, 7)] == [False, True, True, True, False, False]
    assert row(db, 2, "payload", "traceback", "error") == (None, None, "e")
    assert TABLE.count_cut(db) == 3
    assert TABLE.open_by_reason(db) == {"malformed": 5}
    assert [TABLE.prune(db, LAST, 10), TABLE.prune(db, LAST, 10)] == [1, 0]
    assert count_letters(db, LetterFilter(status="open")) == 5


def test_large_ones_are_cut_sooner(db: Connection) -> None:
    """Of letters that are large, by payload, metadata or traceback, only the newest few stay whole; a few in a job."""
    large = evolve(LETTER, payload=b"x" * 16_000, metadata={"k": "v" * 200}, traceback="t" * 200)
    for number in range(20):
        TABLE.insert(db, evolve(large if number % 2 else LETTER, entry_id=f"{number}-0"))
    TABLE.end(db, 20, "discarded", KB, LATER)
    assert [TABLE.cut(db, 5, keep_large=2) for _ in range(3)] == [5, 2, 0]
    assert [letter for letter in range(1, 21) if row(db, letter, "cut") == (True,)] == [2, 4, 6, 8, 10, 12, 14]
    assert row(db, 14, "payload", "metadata_json", "traceback", "error") == (None, None, None, "e")
    assert [TABLE.cut(db, 5, keep=1, keep_large=1) for _ in range(4)] == [5, 5, 1, 0]
    for number in range(20, 20 + LARGE_TOGETHER + 1):
        TABLE.insert(db, evolve(large, entry_id=f"{number}-0"))
    assert TABLE.cut(db, 100, keep_large=0) == LARGE_TOGETHER


def test_the_fields_of_what_is_no_message_are_bounded(db: Connection) -> None:
    """Whatever the fields hold, the letter keeps a part of them, and the payload is not among them."""
    for number, raw in enumerate(
        (
            {b"payload": b"{}", b"foo": b"bar"},
            {b"payload": b"{}"},
            {b"\x01" * 100_000: b"\xff" * 100_000, b"late": b""},
            {b"%d" % name: b"" for name in range(50_000)},
        )
    ):
        delivery = Delivery("t", "g", f"{number}-0", fault="no uuid", raw=raw)
        TABLE.insert(db, letter_of(delivery, "malformed", "receive", "no uuid", LATER))
    told = [whole_letter(letter) for number in range(1, 5) if (letter := TABLE.find(db, number))]
    first, none, long, many = (
        {name: text for name, text in letter["metadata"].items() if not name.endswith("_poisoned")} for letter in told
    )
    assert (told[0]["payload"], first, none) == ("{}", {"foo": "bar"}, {})
    assert [name[:2] for name in long] == ["\x01\x01"]
    assert 500 < len(many) < 2_000


def test_letters_are_pruned_from_their_end_on(db: Connection) -> None:
    """What ended later than the given time stays, whenever it failed."""
    TABLE.insert(db, LETTER)
    TABLE.end(db, 1, "discarded", KB, LATER)
    assert TABLE.prune(db, LATER, 10) == 0


def test_a_rebuild_ends_failures_before_it(db: Connection) -> None:
    """Only read models' letters that failed before it began and whose event it reached; a later failure stays."""
    failed = evolve(LETTER, reason="projection_failed", handler="p")
    for number, at in ((5, LATER), (10, LATER), (11, LATER), (6, LAST)):
        TABLE.insert(db, evolve(failed, entry_id=f"{number}-0", failed_at=at))
    TABLE.insert(db, evolve(LETTER, entry_id="7-0"))
    assert TABLE.mended(db, 10, LAST, LAST, 100) == 2
    assert [row(db, letter, "status") for letter in range(1, 6)] == [
        ("replayed",), ("replayed",), ("open",), ("open",), ("open",)
    ]  # fmt: skip
    TABLE.insert(db, evolve(failed, entry_id="5-0", failed_at=LAST))
    assert row(db, 1, "status") == ("open",)


def test_pages_lead_through_all_letters_once(db: Connection) -> None:
    """The newest first, by cursor, while further letters come in; a cursor is good for its own question only."""
    for number in range(7):
        TABLE.insert(db, evolve(LETTER, entry_id=f"{number}-0"))
    seen: list[int] = []
    cursor = None
    while True:
        page = letters_page(db, LetterFilter(topic="t"), 3, cursor)
        seen += [letter["id"] for letter in page["dead_letters"]]
        cursor = page.get("next_cursor")
        TABLE.insert(db, evolve(LETTER, entry_id=f"new-{len(seen)}"))
        if cursor is None:
            break
        with pytest.raises(Malformed):
            letters_page(db, LetterFilter(topic="other"), 3, cursor)
    assert seen == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (LetterFilter(reason="handler_failed"), [2]),
        (LetterFilter(status="open", handler="receive"), [1, 2]),
        (LetterFilter(message_id="fcmd-1"), [2]),
        (LetterFilter(thread_id="fthr-1"), [2]),
        (LetterFilter(since=LATER), [2]),
        (LetterFilter(until=LATER), [1, 2]),
        (LetterFilter(without=("malformed",)), [2]),
        (LetterFilter(above=1, upto=1), []),
        (LetterFilter(topic="%"), []),
    ],
)
def test_filters(db: Connection, wanted: LetterFilter, ids: list[int]) -> None:
    """Each filter finds what it names."""
    TABLE.insert(db, LETTER)
    TABLE.insert(db, evolve(FAILED, failed_at=LATER, thread_id="fthr-1"))
    assert sorted(letter["id"] for letter in letters_page(db, wanted, 10, None)["dead_letters"]) == ids
    assert count_letters(db, wanted) == len(ids)


def test_a_letter_tells_its_payload_as_text_or_as_base64(db: Connection) -> None:
    """UTF-8 as it is, an empty one too; anything else as base64."""
    for number, payload in enumerate((b'{"\xc3\xbc": 1}', b"", b"\xff\x00", None)):
        TABLE.insert(db, evolve(LETTER, entry_id=f"{number}-0", payload=payload, metadata={"name": "x"}))
    told = [whole_letter(letter) for number in range(1, 5) if (letter := TABLE.find(db, number))]
    assert [(t.get("payload"), t.get("payload_base64")) for t in told] == [
        ('{"ü": 1}', None), ("", None), (None, "/wA="), (None, None)
    ]  # fmt: skip
    assert told[0]["metadata"]["name"] == "x" and "cut" not in told[0]
    assert {name: told[0]["metadata"][f"{name}_poisoned"] for name in ("reason", "topic", "handler", "subscriber")} == {
        "reason": LETTER.error or LETTER.reason, "topic": "t", "handler": LETTER.handler, "subscriber": LETTER.group,
    }  # fmt: skip


def test_letters_of_the_schema_before_know_their_command(tmp_path: Path) -> None:
    """The migration tells handlers' letters which command they are about."""
    connection = open_writer(tmp_path / "old")
    migrate(connection, STEPS[:2])
    connection.execute(
        "INSERT INTO dead_letters (reason, attempts, handler, consumer_group, topic, entry_id, message_id,"
        " first_failed_at, last_failed_at) VALUES ('handler_failed', 3, 'h', 'g', 't', '1-0', 'fcmd-1', ?1, ?1)",
        (LETTER.failed_at,),
    )
    migrate(connection, STEPS)
    assert row(connection, 1, "status", "command_id", "cut") == ("open", "fcmd-1", False)
    connection.close()
