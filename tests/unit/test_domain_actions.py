"""What may be done to a thread, and the facts that follow."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from metawsm.domain import actions
from metawsm.domain.envelope import SYSTEM, Actor
from metawsm.domain.errors import IllegalTransition, InvalidFields, NotAllowed, ThreadClosed
from metawsm.domain.events import (
    Assigned,
    ControlSignal,
    Fact,
    PostAdded,
    PostDelivered,
    PostRead,
    PriorityChanged,
    StateChanged,
)
from metawsm.domain.events import ThreadClosed as ThreadClosedFact
from metawsm.domain.thread import Thread
from tests.support.domain_story import AGENT, HUMAN, OPERATOR, Story


def signal(kind: str, **members: str) -> dict[str, str]:
    """A checked control signal."""
    return {"control_type": kind, **members}


def control() -> Story:
    """A control thread with two open guidance requests."""
    story = Story(thread_id="fctrl-run-bob")
    for question in ("one", "two"):
        story.tell(AGENT, actions.signal(story.thread, AGENT, signal("guidance_request", question=question)))
    return story


def test_an_answer_is_post_and_state() -> None:
    """First the post of kind answer, then the state; a second answer only adds its post."""
    story = Story()
    facts = actions.answer(story.thread, HUMAN, "yes")
    assert facts == [PostAdded("yes", "answer"), StateChanged("new", "answered", None)]
    story.tell(HUMAN, facts)
    assert actions.answer(story.thread, HUMAN, "more") == [PostAdded("more", "answer")]


def test_agents_do_not_answer() -> None:
    """Only a human or an operator answers."""
    with pytest.raises(NotAllowed):
        actions.answer(Story().thread, AGENT, "yes")


def test_an_agents_post_on_an_answered_thread_asks_again() -> None:
    """It moves the thread to waiting_operator; a human's post moves nothing."""
    story = Story()
    story.tell(HUMAN, actions.answer(story.thread, HUMAN, "yes"))
    assert actions.post(story.thread, HUMAN, "p") == [PostAdded("p", "post")]
    moved = StateChanged("answered", "waiting_operator", "the agent wrote again")
    assert actions.post(story.thread, AGENT, "but") == [PostAdded("but", "post"), moved]


DEEDS: dict[str, Callable[[Thread], list[Fact]]] = {
    "post": lambda thread: actions.post(thread, HUMAN, "b"),
    "answer": lambda thread: actions.answer(thread, HUMAN, "b"),
    "assign": lambda thread: actions.assign(thread, "human", "kb", None),
    "priority": lambda thread: actions.set_priority(thread, "high"),
    "signal": lambda thread: actions.signal(thread, AGENT, signal("completion")),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_closed_thread_takes_nothing(deed: str) -> None:
    """Everything but reopening is refused, with the way out in the message."""
    story = Story()
    story.tell(HUMAN, actions.close(story.thread, "done"))
    with pytest.raises(ThreadClosed, match="reopen"):
        DEEDS[deed](story.thread)


def test_what_changes_nothing_is_no_fact() -> None:
    """To the same state, priority or assignee, and closing twice."""
    story = Story()
    assert actions.change_state(story.thread, AGENT, "new", None) == []
    assert actions.set_priority(story.thread, "normal") == []
    assert actions.assign(story.thread, "human", "", None) == []
    story.tell(HUMAN, actions.assign(story.thread, "human", "kb", None))
    assert actions.assign(story.thread, "human", "kb", "again") == []
    story.tell(HUMAN, actions.close(story.thread, None))
    assert actions.close(story.thread, None) == []


def test_closing_is_one_fact_by_whatever_route() -> None:
    """By action or by state, closing is ThreadClosed alone."""
    thread = Story().thread
    assert actions.close(thread, "r") == actions.change_state(thread, AGENT, "closed", "r")
    assert actions.close(thread, "r") == [ThreadClosedFact("new", "r")]


def test_assigning_names_both_sides() -> None:
    """From whom to whom; an empty name is nobody."""
    story = Story()
    facts = actions.assign(story.thread, "human", "kb", "please")
    assert facts == [Assigned("", "", "human", "kb", "please")]
    story.tell(OPERATOR, facts)
    assert actions.assign(story.thread, "human", "", None) == [Assigned("human", "kb", "", "", None)]
    assert actions.set_priority(story.thread, "high") == [PriorityChanged("normal", "high")]


def test_requests_are_answered_oldest_first() -> None:
    """The thread is answered only when no request is open."""
    story = control()
    first, second = story.thread.open_requests or ()
    facts = actions.answer(story.thread, HUMAN, "to one")
    assert facts == [PostAdded("to one", "answer", answers=first)]
    assert story.tell(HUMAN, facts).open_requests == (second,)
    assert story.thread.state == "waiting_human"
    story.tell(HUMAN, actions.signal(story.thread, HUMAN, signal("guidance_answer", answer="to two")))
    assert (story.thread.open_requests, story.thread.state, story.thread.waiting_since) == ((), "answered", None)


def test_a_receipt_moves_the_place_alone() -> None:
    """Whoever has read or got an answer: the thread stands where it stood, with a later event of the system."""
    story = Story()
    before = story.tell(HUMAN, actions.answer(story.thread, HUMAN, "v2"))
    facts = [*actions.read(["fevt-2.post"], "bob"), PostDelivered("fevt-2.post", "agent", "bob", "line")]
    assert facts[0] == PostRead("fevt-2.post", "agent", "bob")
    for fact in facts:
        after = story.tell(SYSTEM, [fact])
        place = after.last_event_sequence, after.updated_at
        assert after == attrs.evolve(before, last_event_sequence=place[0], updated_at=place[1])
    assert story.thread.last_event_sequence == before.last_event_sequence + 2


@pytest.mark.parametrize(
    ("actor", "error"), [(HUMAN, NotAllowed), (OPERATOR, NotAllowed), (SYSTEM, NotAllowed),
                         (Actor("agent"), InvalidFields), (Actor("agent", ""), InvalidFields)],
)  # fmt: skip
def test_only_a_named_agent_reads(actor: Actor, error: type[Exception]) -> None:
    """People and the system read no answers, and somebody must have read them."""
    assert actions.reader(AGENT) == "bob"
    with pytest.raises(error):
        actions.reader(actor)


def test_an_answer_may_name_its_request() -> None:
    """The named request is settled; one that is not open is a faulty field."""
    story = control()
    first, second = story.thread.open_requests or ()
    story.tell(OPERATOR, actions.answer(story.thread, OPERATOR, "to two", second))
    assert story.thread.open_requests == (first,)
    with pytest.raises(InvalidFields):
        actions.answer(story.thread, OPERATOR, "again", second)


def test_guidance_answers_need_a_request_and_a_responder() -> None:
    """Without an open request there is nothing to answer, and agents do not answer."""
    story = control()
    with pytest.raises(NotAllowed):
        actions.signal(story.thread, AGENT, signal("guidance_answer", answer="a"))
    for _ in range(2):
        story.tell(HUMAN, actions.answer(story.thread, HUMAN, "a"))
    with pytest.raises(IllegalTransition):
        actions.signal(story.thread, HUMAN, signal("guidance_answer", answer="a"))


def test_open_requests_cannot_be_waved_away() -> None:
    """A state change to answered is refused while requests are open."""
    with pytest.raises(IllegalTransition, match="2 guidance request"):
        actions.change_state(control().thread, HUMAN, "answered", None)


def test_a_control_thread_without_requests_waits_for_nobody() -> None:
    """A completion as the first signal leaves the thread answered, without a running clock."""
    story = Story(thread_id="fctrl-run-bob")
    facts = actions.signal(story.thread, AGENT, signal("completion", summary="done"))
    assert [type(fact) for fact in facts] == [ControlSignal, StateChanged]
    assert story.tell(AGENT, facts).waiting_since is None


def test_a_request_after_a_plain_post_waits() -> None:
    """A responder's post stops the clock; the agent's next request starts it again though one was open already."""
    story = control()
    assert story.tell(HUMAN, actions.post(story.thread, HUMAN, "looking")).waiting_since is None
    asked = story.tell(AGENT, actions.signal(story.thread, AGENT, signal("guidance_request", question="and?")))
    assert asked.waiting_since == asked.updated_at


def test_a_mistaken_answered_does_not_silence_the_asker() -> None:
    """Without an answer the asker still waits when the thread leaves `answered` again."""
    story = Story()
    assert story.tell(OPERATOR, actions.change_state(story.thread, OPERATOR, "answered", None)).waiting_since is None
    back = story.tell(OPERATOR, actions.change_state(story.thread, OPERATOR, "waiting_operator", None))
    assert back.waiting_since == back.updated_at


def test_triage_of_an_answered_question_waits_for_nobody() -> None:
    """Where a responder spoke last, a state that asks for nothing by itself has no clock."""
    story = Story()
    story.tell(HUMAN, actions.post(story.thread, HUMAN, "v2"))
    assert story.tell(HUMAN, actions.change_state(story.thread, HUMAN, "waiting_human", None)).waiting_since
    assert story.tell(HUMAN, actions.change_state(story.thread, HUMAN, "triaged", None)).waiting_since is None


def test_a_plain_post_answers_no_request() -> None:
    """On a control thread a human's post leaves the requests open."""
    story = control()
    story.tell(HUMAN, actions.post(story.thread, HUMAN, "hm"))
    assert len(story.thread.open_requests or ()) == 2
    assert story.thread.state == "waiting_human"
