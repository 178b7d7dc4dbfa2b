"""Who waits is released by an answer, whoever gives it wherever; and by nothing else. A real daemon, real sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import SLEEPER, done
from tests.support.runs_lab import BRIEF, PERSON, Lab


class Asking:
    """A run of one agent that sleeps; what the agent would say, the test says with the agent's credentials."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.run_id = lab.bootstrap()
        lab.until(self.run_id, "running")
        self.thread = ""

    def signal(self, kind: str, **told: str) -> Any:
        """A signal of the agent; the thread then."""
        body = {"run_id": self.run_id, "ticket": "MET-1", "agent_name": "bob"}
        reply = self.lab.daemon.request(
            "POST", "/forum/control/signal", body | {"payload": {"control_type": kind, **told}}, anonymous=True
        )
        assert reply.status == 200, reply.text
        return reply.body["thread"]

    def ask(self, question: str = "v1 or v2?") -> str:
        """A request for guidance, until the run waits; the post's id."""
        self.thread = self.signal("guidance_request", question=question)["thread_id"]
        self.lab.until(self.run_id, "awaiting_guidance")
        return str(eventually(lambda: next(a["post_id"] for a in self.questions() if a["question"] == question)))

    def questions(self) -> list[Any]:
        """The open ones."""
        return list(self.lab.run(self.run_id)["guidance"])

    def post(self, verb: str, anonymous: bool = False, **body: Any) -> Any:
        """Something that is done to the thread; the reply."""
        who = {} if anonymous else PERSON
        return self.lab.daemon.request("POST", f"/forum/threads/{self.thread}/{verb}", who | body, anonymous=anonymous)

    def still_waits(self) -> None:
        """What was done has been followed, and the run waits."""
        types = "'forum.control.signal', 'forum.post.added', 'forum.state.changed', 'forum.thread.closed'"
        events = f"SELECT max(sequence) FROM forum_events WHERE event_type IN ({types})"
        behind = f"SELECT 1 FROM subscriber_cursors WHERE subscriber = 'run_signals' AND sequence < ({events})"
        eventually(lambda: self.lab.rows(behind) == [])
        assert self.lab.run(self.run_id)["state"] == "awaiting_guidance"


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    """A run whose agent is about to ask."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as lab:
        yield Asking(lab)


def typed(*verb: str) -> Callable[[Asking], None]:
    """An answer from a shell."""

    def give(asking: Asking) -> None:
        words = [word.format(run=asking.run_id, thread=asking.thread) for word in verb]
        said = asking.lab.metawsm("forum", *words)
        assert said.returncode == 0, said.stderr

    return give


def posted(verb: str, **body: Any) -> Callable[[Asking], None]:
    """An answer over REST."""

    def give(asking: Asking) -> None:
        assert asking.post(verb, **body).status in (200, 201)

    return give


SIGNAL = ("signal", "--run-id", "{run}", "--ticket", "MET-1", "--agent-name", "bob", "--type", "guidance_answer")
SURFACES: dict[str, Callable[[Asking], None]] = {
    "forum signal": typed(*SIGNAL, "--answer", "v2"),
    "forum answer": typed("answer", "--thread-id", "{thread}", "--body", "v2"),
    "the answer action": posted("answer", body="v2"),
    "a post of kind answer": posted("posts", body="v2", kind="answer"),
    "an operator": posted("answer", body="v2", actor_type="operator", actor_name="op"),
    "closing the thread": posted("close", reason="never mind"),
}


def test_each_surface_releases_the_run(asking: Asking) -> None:
    """Whichever way the answer comes, the run goes on, and its thread says answered."""
    for surface, give in SURFACES.items():
        asking.ask(f"{surface}?")
        give(asking)
        run = asking.lab.until(asking.run_id, "running")
        thread = asking.lab.daemon.request("GET", f"/forum/threads/{asking.thread}").body["thread"]
        assert (thread["state"], run["guidance"]) == ("closed" if "closing" in surface else "answered", []), surface


def test_nothing_else_releases_it(asking: Asking) -> None:
    """A plain post, a state, an assignment, another agent's words: the run waits on."""
    asking.ask()
    refused = asking.post("state", to_state="answered")
    assert (refused.status, refused.error["code"]) == (409, "illegal_transition")
    assert "answer them instead" in refused.error["message"]
    assert asking.post("posts", body="I am thinking about it").status == 200
    assert asking.post("state", to_state="triaged").status == 200
    assert asking.post("assign", assignee_type="human", assignee_name="kb").status == 200
    assert asking.post("answer", anonymous=True, body="v3").status == 403
    answer = {"control_type": "guidance_answer", "answer": "v3"}
    body = {"run_id": asking.run_id, "ticket": "MET-1", "agent_name": "bob", "payload": answer}
    assert asking.lab.daemon.request("POST", "/forum/control/signal", body, anonymous=True).status == 403
    for refused in (asking.post("close", anonymous=True), asking.post("state", anonymous=True, to_state="closed")):
        assert (refused.status, refused.error["code"]) == (403, "not_allowed")
    asking.still_waits()
    posted("answer", body="v2")(asking)
    asking.lab.until(asking.run_id, "running")


def test_several_open_requests(asking: Asking) -> None:
    """The oldest first, unless the answer names one; the run waits until none is left."""
    ids = [asking.ask(f"question {number}") for number in (1, 2, 3)]
    typed(*SIGNAL, "--answer", "to 3", "--answers", ids[2])(asking)
    assert [asked["post_id"] for asked in asking.questions()] == ids[:2]
    posted("answer", body="to 1")(asking)
    assert [asked["post_id"] for asked in asking.questions()] == ids[1:2]
    asking.still_waits()
    posted("answer", body="to 2")(asking)
    asking.lab.until(asking.run_id, "running")
    late = asking.lab.metawsm("forum", *(word.format(run=asking.run_id) for word in SIGNAL), "--answer", "x")
    assert late.returncode == 4 and "no guidance request is open" in late.stderr


def report(asking: Asking) -> None:
    """Completion and validation."""
    asking.signal("completion", summary="done")
    asking.signal("validation", status="passed", done_criteria=BRIEF["done_criteria"])


def test_a_request_after_completion(asking: Asking) -> None:
    """It opens the run again; answered, it is completed as it was."""
    report(asking)
    asking.lab.until(asking.run_id, "completed")
    asking.ask("One more thing?")
    refused = asking.lab.daemon.request("POST", f"/runs/{asking.run_id}/close", PERSON)
    assert refused.status == 409
    posted("answer", body="No.")(asking)
    asking.lab.until(asking.run_id, "completed")


def test_rounds(asking: Asking) -> None:
    """After restart and after iterate, earlier reports do not count; a question of before is still open."""
    report(asking)
    asking.lab.until(asking.run_id, "completed")
    for number, (verb, body) in enumerate((("restart", {}), ("iterate", {"feedback": "Again."})), 2):
        run = done(asking.lab, asking.run_id, verb, **body)
        assert (run["state"], run["round"]) == ("running", number)
        assert [(a["completed"], a.get("validation")) for a in run["agents"]] == [(False, None)]
        asking.signal("completion")
        asking.signal("validation", status="failed", done_criteria=BRIEF["done_criteria"])
        eventually(lambda: asking.lab.run(asking.run_id)["agents"][0].get("validation") == "failed")
        assert asking.lab.run(asking.run_id)["state"] == "running"
        asking.signal("validation", status="passed", done_criteria=BRIEF["done_criteria"])
        asking.lab.until(asking.run_id, "completed")
    asking.ask("Still there?")
    done(asking.lab, asking.run_id, "restart")
    assert [asked["question"] for asked in asking.questions()] == ["Still there?"]
    assert asking.lab.run(asking.run_id)["state"] == "awaiting_guidance"
    asking.lab.answer(asking.run_id)
    asking.lab.until(asking.run_id, "running")


def test_stop_while_it_waits(asking: Asking) -> None:
    """The question stays open; resumed, the run waits again, and goes on with the answer."""
    asking.ask()
    asking.lab.post(f"/runs/{asking.run_id}/stop")
    asking.lab.until(asking.run_id, "stopped")
    asking.lab.post(f"/runs/{asking.run_id}/resume")
    asking.lab.until(asking.run_id, "awaiting_guidance")
    asking.lab.answer(asking.run_id)
    asking.lab.until(asking.run_id, "running")
