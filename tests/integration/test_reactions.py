"""Reactions to events: once for each event, from their first start on, through crashes, faults and full disks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from metawsm.bus.letters import Person
from metawsm.bus.reactions import Reaction, ReactionFailed, SubscriberSpec
from metawsm.bus.replay import Replayer
from metawsm.domain.errors import IllegalTransition
from metawsm.domain.events import PostAdded, StateChanged
from tests.support.run_lab import RunLab, until

React = Callable[[Reaction], None]


def echo(reaction: Reaction) -> None:
    """Every post is followed by a change of priority."""
    head = reaction.event.envelope
    reaction.send("set_priority", {"thread_id": head.thread_id, "priority": "high"})


def spec(react: React = echo) -> SubscriberSpec:
    """A reaction to posts, named echo."""
    return SubscriberSpec("echo", frozenset({PostAdded.TYPE}), react)


def bound_to_fail(*bodies: str) -> React:
    """A reaction that cannot cope with posts of these bodies."""

    def react(reaction: Reaction) -> None:
        fact: Any = reaction.event.fact
        echo(reaction)
        if fact.body in bodies:
            raise RuntimeError(f"cannot cope with {fact.body}")

    return react


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[[SubscriberSpec], RunLab]]:
    """Start a process with one reaction over the same database; the one before is ended."""
    labs: list[RunLab] = []

    def start(reaction: SubscriberSpec) -> RunLab:
        if labs:
            labs[-1].close()
        labs.append(RunLab(tmp_path, boot=f"boot-{len(labs)}", reactions=[reaction]))
        return labs[-1]

    yield start
    labs[-1].close()


def post(lab: RunLab, *bodies: str) -> None:
    """Posts on the thread fthr-1, which is opened if it has to be."""
    if not lab.rows("SELECT 1 FROM forum_threads"):
        lab.do("open_thread", ticket="M", title="t", body="b", thread_id="fthr-1", run_id="run-1")
    for body in bodies:
        lab.submit("add_post", {"body": body}, "fthr-1")
    lab.pump()


def reacted(lab: RunLab) -> list[str]:
    """The posts that were reacted to, in the order of the reactions."""
    return [
        str(body)
        for (body,) in lab.rows(
            "SELECT e.payload_json ->> 'body' FROM forum_outbox o"
            " JOIN forum_events e ON o.message_id = 'set_priority:' || e.event_id ORDER BY o.id"
        )
    ]


def letters(lab: RunLab) -> list[tuple[Any, ...]]:
    """The dead letters: status, handler, attempts, error."""
    return lab.rows("SELECT status, handler, attempts, error FROM dead_letters ORDER BY id")


def test_each_event_once_in_order(begin: Any) -> None:
    """However often it is prompted, and in jobs of however many."""
    lab = begin(spec())
    post(lab, *(f"p{number}" for number in range(120)))
    for loop in lab.loops * 3:
        loop.prompt()
    lab.settle()
    assert reacted(lab) == [f"p{number}" for number in range(120)]
    assert len(lab.sent) == 120


def test_events_of_no_run_concern_nobody(begin: Any) -> None:
    """The cursor moves past them."""
    lab = begin(spec())
    lab.do("open_thread", ticket="M", title="t", body="b", thread_id="fthr-1")
    post(lab, "nobody's")
    lab.settle()
    assert reacted(lab) == []
    assert lab.rows("SELECT sequence FROM subscriber_cursors") == lab.rows("SELECT max(sequence) FROM forum_events")


def test_history_is_not_reacted_to(begin: Any) -> None:
    """A reaction that is new begins where the log ends at its first start."""
    lab = begin(SubscriberSpec("another", frozenset({StateChanged.TYPE}), echo))
    post(lab, "old")
    lab = begin(SubscriberSpec("late", frozenset({PostAdded.TYPE}), echo))
    lab.settle()
    assert reacted(lab) == []
    post(lab, "new")
    lab.settle()
    assert reacted(lab) == ["new"]


def test_what_happened_while_it_was_down_is_caught_up(begin: Any) -> None:
    """A process that ended before its reaction had its turn: the next one reacts, once."""
    lab = begin(spec())
    post(lab, "first")
    lab.settle()
    lab.silent = True
    post(lab, "second", "third")
    assert reacted(lab) == ["first"]
    lab = begin(spec())
    lab.settle()
    assert reacted(lab) == ["first", "second", "third"]
    lab = begin(spec())
    lab.settle()
    assert len(reacted(lab)) == 3


def test_an_event_that_fails_three_times_is_passed_over(begin: Any) -> None:
    """Its neighbours, before it in the same job and behind it, are reacted to; its own half of a reaction is not."""
    lab = begin(spec(bound_to_fail("bad", "worse")))
    post(lab, "a", "b", "bad", "c", "worse", "d")
    lab.settle()
    assert reacted(lab) == ["a", "b", "c", "d"]
    error = "RuntimeError('cannot cope with {}')"
    assert letters(lab) == [("open", "echo", 3, error.format("bad")), ("open", "echo", 3, error.format("worse"))]
    (place,) = lab.rows("SELECT reason, consumer_group, topic, message_id LIKE 'fevt-%', traceback LIKE '%Traceback%'"
                        " FROM dead_letters WHERE id = 1")  # fmt: skip
    assert place == ("reaction_failed", "metawsm-forum.echo", "metawsm-forum", 1, 1)
    assert lab.loops[0].fault is None


def test_a_fault_that_passes_is_no_letter(begin: Any) -> None:
    """The second attempt is the last that is needed."""
    failures = ["first"]

    def react(reaction: Reaction) -> None:
        if failures:
            raise RuntimeError(failures.pop())
        echo(reaction)

    lab = begin(spec(react))
    post(lab, "a", "b")
    lab.settle()
    assert (reacted(lab), letters(lab)) == (["a", "b"], [])


def test_an_event_that_nobody_can_read_stops_nobody(begin: Any) -> None:
    """It becomes a letter like one that a reaction cannot cope with."""
    lab = begin(spec())
    lab.silent = True
    post(lab, "a", "b")
    lab.writer.run(
        lambda db: db.execute("UPDATE forum_events SET event_version = 99 WHERE payload_json ->> 'body' = 'a'")
    )
    lab.settle()
    assert reacted(lab) == ["b"]
    assert "version 99 is not known" in letters(lab)[0][3]


def test_a_letter_that_cannot_be_stored_loses_nothing(begin: Any) -> None:
    """The letter and the step past its event are one commit: until it can be made, the event is not passed over."""
    lab = begin(spec(bound_to_fail("bad")))
    lab.writer.run(lambda db: db.execute(
        "CREATE TRIGGER full BEFORE INSERT ON dead_letters BEGIN SELECT raise(FAIL, 'no room'); END"
    ))  # fmt: skip
    post(lab, "bad", "a")
    until(lambda: lab.loops[0].fault)
    lab.pump()
    until(lambda: _tried_to_bury(lab), 10)
    assert reacted(lab) == [] and letters(lab) == []
    lab.writer.run(lambda db: db.execute("DROP TRIGGER full"))
    lab.settle()
    assert reacted(lab) == ["a"]
    assert [letter[:2] for letter in letters(lab)] == [("open", "echo")]


def _tried_to_bury(lab: RunLab) -> bool:
    return lab.loops[0]._attempts != {} and max(lab.loops[0]._attempts.values()) >= 3


def test_a_broken_database_is_no_fault_of_the_event(begin: Any) -> None:
    """An outage is waited for, however long: it makes no letter."""
    broken = [True]

    def react(reaction: Reaction) -> None:
        if broken:
            raise apsw.FullError("database or disk is full")
        echo(reaction)

    lab = begin(spec(react))
    post(lab, "a")
    until(lambda: lab.loops[0].fault)
    with pytest.raises(AssertionError):
        until(lambda: letters(lab), 1.5)
    broken.clear()
    lab.settle()
    assert reacted(lab) == ["a"]


def replayer(lab: RunLab) -> Replayer:
    """What replays the lab's letters."""
    return Replayer(lab.receiver, lab.outbox, lab.letters, lab.tools, lab.reactors)


def test_a_replay_reacts_to_that_event_once(begin: Any) -> None:
    """After the mend; the letter ends in the commit of the reaction, and a second replay does nothing."""
    lab = begin(spec(bound_to_fail("bad")))
    post(lab, "bad", "a")
    lab.settle()
    lab = begin(spec(echo))
    lab.settle()
    assert reacted(lab) == ["a"]
    first, second = (lab.writer.run(lambda db: replayer(lab).replay(db, 1, Person("operator"))) for _ in range(2))
    assert (first.done, [queued.topic for queued in first.sent]) == (True, ["forum.commands.set_priority"])
    assert (second.done, second.sent) == (False, ())
    assert (reacted(lab), letters(lab)[0][0]) == (["a", "bad"], "replayed")
    (cursor,) = lab.rows("SELECT sequence FROM subscriber_cursors")
    lab.settle()
    assert cursor >= (3,) and reacted(lab) == ["a", "bad"]


def test_a_replay_that_fails_again_changes_nothing(begin: Any) -> None:
    """The letter stays open, and what the reaction had begun is undone; nor is there one without its reaction."""
    lab = begin(spec(bound_to_fail("bad")))
    post(lab, "bad")
    lab.settle()
    with pytest.raises(ReactionFailed, match="cannot cope"):
        lab.writer.run(lambda db: replayer(lab).replay(db, 1, Person("operator")))
    assert (reacted(lab), letters(lab)[0][0]) == ([], "open")
    lab = begin(SubscriberSpec("another", frozenset({PostAdded.TYPE}), echo))
    with pytest.raises(IllegalTransition, match="has no reaction 'echo'"):
        lab.writer.run(lambda db: replayer(lab).replay(db, 1, Person("operator")))
    assert json.dumps(letters(lab)[0][0]) == '"open"'
