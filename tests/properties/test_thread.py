"""Whatever people do to a thread, in whatever order: what must hold of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metawsm.domain import actions
from metawsm.domain.envelope import Actor
from metawsm.domain.errors import Rejected
from metawsm.domain.events import ControlSignal, Event, PostAdded, StateChanged, ThreadClosed, ThreadOpened
from metawsm.domain.states import PRIORITIES, RESPONDERS, STATES, TRANSITIONS
from metawsm.domain.thread import evolve
from metawsm.messages.codec import fact_of, payload_of
from metawsm.messages.thread_rows import from_row, to_row
from tests.support.domain_story import AGENT, HUMAN, OPERATOR, Story, minute

ACTORS = st.sampled_from([AGENT, HUMAN, OPERATOR, Actor("agent", "other"), Actor("human", "other")])
DEEDS = st.one_of(
    st.tuples(st.just("post"), ACTORS),
    st.tuples(st.just("answer"), ACTORS),
    st.tuples(st.just("state"), ACTORS, st.sampled_from(STATES)),
    st.tuples(st.just("priority"), ACTORS, st.sampled_from(PRIORITIES)),
    st.tuples(st.just("assign"), ACTORS, st.sampled_from(["", "kb", "op"])),
    st.tuples(st.just("close"), ACTORS),
    st.tuples(st.just("signal"), ACTORS, st.sampled_from(["guidance_request", "guidance_answer", "completion"])),
)


def do(story: Story, deed: tuple[Any, ...]) -> None:
    """Do it if it is allowed."""
    thread, (name, actor, *rest) = story.thread, deed
    try:
        match name:
            case "post":
                facts = actions.post(thread, actor, "b")
            case "answer":
                facts = actions.answer(thread, actor, "b")
            case "state":
                facts = actions.change_state(thread, actor, rest[0], None)
            case "priority":
                facts = actions.set_priority(thread, rest[0])
            case "assign":
                facts = actions.assign(thread, "human", rest[0], None)
            case "close":
                facts = actions.close(thread, None)
            case _:
                facts = (
                    actions.signal(thread, actor, {"control_type": rest[0]}) if thread.open_requests is not None else []
                )
    except Rejected:
        return
    story.tell(actor, facts)


def told(asker: Actor, deeds: list[tuple[Any, ...]], thread_id: str = "fthr-1") -> Story:
    """A story of these deeds."""
    story = Story(asker, thread_id)
    for deed in deeds:
        do(story, deed)
    return story


STORIES = st.builds(told, st.sampled_from([AGENT, HUMAN]), st.lists(DEEDS, max_size=25))
CONTROL = st.builds(told, st.just(AGENT), st.lists(DEEDS, max_size=25), st.just("fctrl-run-bob"))


def waits_since(story: Story) -> str | None:
    """The clock by its words in the contract, section 8: found by looking back from the end, not by following along.

    `answered` waits for nobody until the asker writes again.
    """
    state, entry = _last_entry(story)
    words = list(_words(story))
    responded = max((place for place, asks in words if not asks), default=-1)
    asked = [place for place, asks in words if asks and place > responded]
    if state == "answered":
        asked = [place for place in asked if place > entry]
    if state == "closed" or (not asked and (state not in ("new", "waiting_human") or responded > entry)):
        return None
    return story.events[max(entry, min(asked, default=entry))].envelope.occurred_at


def _last_entry(story: Story) -> tuple[str, int]:
    """The state at the end, and the place of the event that led into it."""
    entries = {ThreadOpened: "new", ThreadClosed: "closed"}
    for place, event in reversed(list(enumerate(story.events))):
        if isinstance(event.fact, StateChanged):
            return event.fact.to_state, place
        if type(event.fact) in entries:
            return entries[type(event.fact)], place
    raise AssertionError("a story begins with an opening")


def _words(story: Story) -> Iterator[tuple[int, bool]]:
    """The place of everything said, and whether the asker (or somebody on that side) said it."""
    opener = story.events[0].envelope
    for place, event in enumerate(story.events):
        actor = event.envelope.actor
        if isinstance(event.fact, ThreadOpened):
            yield place, True
        elif isinstance(event.fact, PostAdded):
            other = actor.type in RESPONDERS and (actor.type, actor.name) != (opener.actor_type, opener.actor_name)
            yield place, not (other or event.fact.kind == "answer")


@given(STORIES)
@settings(max_examples=300, deadline=None)
def test_the_clock_says_what_the_contract_says(story: Story) -> None:
    """It runs since the later of the state's entry and the asker's first word after a responder, or not at all."""
    assert story.thread.waiting_since == waits_since(story)


@given(st.one_of(STORIES, CONTROL))
@settings(max_examples=300, deadline=None)
def test_what_always_holds(story: Story) -> None:
    """Legal moves only, posts counted, sequences at the end, the closing time there exactly when closed."""
    thread = story.thread
    state = "new"
    for event in story.events[1:]:
        if isinstance(event.fact, StateChanged | ThreadClosed):
            new = "closed" if isinstance(event.fact, ThreadClosed) else event.fact.to_state
            assert event.fact.from_state == state
            assert new in TRANSITIONS[state]
            state = new
    assert thread.state == state
    assert thread.posts_count == 1 + sum(isinstance(event.fact, PostAdded | ControlSignal) for event in story.events)
    assert thread.last_event_sequence == thread.version_sequence == len(story.events)
    assert thread.updated_at == minute(len(story.events))
    assert (thread.closed_at is not None) == (thread.state == "closed")
    if thread.open_requests:
        assert thread.state != "answered"


@given(st.one_of(STORIES, CONTROL))
@settings(max_examples=200, deadline=None)
def test_events_written_and_read_tell_the_same(story: Story) -> None:
    """Every fact survives its written form, every thread its row, and retelling gives the same thread."""
    thread = None
    for event in story.events:
        again = fact_of(event.fact.TYPE, event.fact.VERSION, payload_of(event.fact))
        assert again == event.fact
        thread = evolve(thread, Event(event.sequence, event.envelope, again))
        assert from_row(to_row(thread)) == thread
    assert thread == story.thread
