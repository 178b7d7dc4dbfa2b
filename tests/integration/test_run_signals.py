"""Signals on control threads and answers from any surface reach their run, through the real reactions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs
import pytest

from metawsm.api.openapi import openapi
from metawsm.bus.dispatch import Outcome
from metawsm.daemon.read_models import now
from metawsm.messages.json_text import to_json
from metawsm.storage.run_pages import run_detail
from tests.support.json_schema import faults
from tests.support.run_lab import AGENT, OPERATOR, RunLab

CONTROL = "fctrl-run-7-agent"
REPORT: dict[str, Any] = {
    "run_id": "run-7", "ticket": "MET-1", "agent_name": "agent", "payload": {"control_type": "completion"},
}  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunLab]:
    """A database with the run run-7, at work."""
    lab = RunLab(tmp_path)
    lab.started()
    yield lab
    lab.close()


def signal(lab: RunLab, kind: str, agent: str = "agent", ticket: str = "MET-1", **members: str) -> Outcome:
    """Send a control signal, as its agent or, for an answer, as the operator; the run follows."""
    payload = {"control_type": kind, **members}
    body: dict[str, Any] = {"run_id": "run-7", "ticket": ticket, "agent_name": agent, "payload": payload}
    outcome = lab.do("signal", by=OPERATOR if kind == "guidance_answer" else AGENT, **body)
    lab.settle()
    return outcome


def ask(lab: RunLab, question: str = "v1 or v2?", **who: str) -> None:
    """Ask for guidance."""
    assert signal(lab, "guidance_request", question=question, **who).kind == "applied"


def act(lab: RunLab, name: str, **body: Any) -> None:
    """A person acts on the control thread, as on any thread."""
    assert lab.do(name, CONTROL, **body).kind == "applied"
    lab.settle()


def test_a_request_holds_the_run_and_an_answer_releases_it(lab: RunLab) -> None:
    """The signal's events lead to the run's; the chain of causes is kept."""
    ask(lab)
    assert (lab.run().state, lab.run().agents[0].open_requests) == ("awaiting_guidance", 1)
    assert lab.run().agents[0].control_thread == CONTROL
    chain = "SELECT correlation_id, actor_type FROM forum_events WHERE event_type = ?"
    (asked,) = lab.rows(chain, "forum.control.signal")
    (told,) = lab.rows(chain, "run.guidance.changed")
    assert told == (asked[0], "system")
    signal(lab, "guidance_answer", answer="v2")
    assert lab.run().state == "running"


def begun_anew(lab: RunLab) -> None:
    """The agent's program is started once more, in a round of its own."""
    assert lab.do("restart_run", "run-7").kind == "applied"
    while lab.run().busy is not None:
        lab.end_step()
    lab.settle()


def test_an_agent_that_was_begun_anew_asks_the_same_once(lab: RunLab) -> None:
    """One answer is enough; what was asked before stays open until then; other words are a new question."""
    ask(lab)
    begun_anew(lab)
    assert lab.run().agents[0].open_requests == 1
    ask(lab)
    assert lab.run().agents[0].open_requests == 1
    ask(lab, "v1, or v2 now?")
    assert signal(lab, "guidance_request", question="v1 or v2?", context="all of it").kind == "applied"
    assert lab.run().agents[0].open_requests == 3
    for _ in range(3):
        signal(lab, "guidance_answer", answer="v2")
    assert lab.run().state == "running"
    ask(lab)
    assert lab.run().state == "awaiting_guidance"


def test_one_session_may_ask_the_same_twice(lab: RunLab) -> None:
    """Each is a request with an answer of its own, also of a session that was begun anew."""
    begun_anew(lab)
    ask(lab)
    ask(lab)
    assert lab.run().agents[0].open_requests == 2


@pytest.mark.parametrize("by", [OPERATOR, attrs.evolve(OPERATOR, type="human")], ids=["operator", "human"])
def test_a_plain_answer_on_the_thread_releases_it_too(lab: RunLab, by: Any) -> None:
    """Whoever answers there, by whatever surface; a plain post is no answer."""
    ask(lab)
    act(lab, "add_post", body="let me think")
    assert lab.run().state == "awaiting_guidance"
    assert lab.do("answer_thread", CONTROL, by, body="v2").kind == "applied"
    lab.settle()
    assert lab.run().state == "running"


def test_two_answers_in_one_batch(lab: RunLab) -> None:
    """Both reactions find the thread as the second answer left it; the run moves once."""
    ask(lab)
    ask(lab, "and which port?")
    assert lab.run().agents[0].open_requests == 2
    for answer in ("v2", "8080"):
        lab.submit("answer_thread", {"body": answer}, CONTROL)
    lab.settle()
    assert (lab.run().state, lab.run().agents[0].open_requests) == ("running", 0)
    follows = lab.rows("SELECT count(*) FROM forum_outbox WHERE topic = 'forum.commands.follow_control'")
    assert follows == [(4,)]
    moves = lab.rows("SELECT count(*) FROM forum_events WHERE event_type = 'run.state.changed'")
    assert moves == [(4,)]  # planning, running, awaiting_guidance, running


def test_a_person_closes_the_control_thread_while_a_request_is_open(lab: RunLab) -> None:
    """Nobody will answer there: the run goes on. When it is opened again, the request still waits, and so the run."""
    ask(lab)
    act(lab, "close_thread", reason="never mind")
    assert (lab.run().state, lab.run().agents[0].open_requests) == ("running", 0)
    shown = lab.read(lambda db: run_detail(db, "run-7", escalation_minutes=30, limits=lab.tools.runs.operator,
                                           stale=900, now=lab.tools.now(), due=lab.tools.now()))  # fmt: skip
    assert shown is not None and shown["guidance"] == []
    act(lab, "change_state", to_state="triaged")
    assert (lab.run().state, lab.run().agents[0].open_requests) == ("awaiting_guidance", 1)
    act(lab, "answer_thread", body="v2")
    assert lab.run().state == "running"


def test_guidance_while_steps_are_under_way(lab: RunLab) -> None:
    """An agent that is already at work asks while another action goes on; the run waits when that has ended."""
    assert lab.do("restart_run", "run-7").kind == "applied"
    ask(lab)
    assert lab.run().state == "awaiting_guidance" and lab.run().busy is not None
    lab.end_step()
    assert lab.run().state == "awaiting_guidance" and lab.run().busy is None
    lab.do("stop_run", "run-7")
    lab.end_step()
    assert lab.run().state == "stopped"
    signal(lab, "guidance_answer", answer="v2")
    assert (lab.run().state, lab.run().agents[0].open_requests) == ("stopped", 0)


def test_completion_completes_and_a_new_round_forgets_it(lab: RunLab) -> None:
    """A report of before the restart that is heard of after it does not count."""
    lab.silent = True
    lab.do("signal", by=AGENT, **REPORT)
    assert lab.do("restart_run", "run-7").kind == "applied"
    while lab.run().busy is not None:
        lab.end_step()
    lab.settle()
    assert lab.rows("SELECT count(*) FROM forum_outbox WHERE topic = 'forum.commands.follow_control'") == [(1,)]
    assert (lab.run().state, lab.run().agents[0].completed) == ("running", False)
    signal(lab, "completion")
    assert lab.run().state == "completed"


def test_agents_of_several_tickets_have_their_own_threads(tmp_path: Path) -> None:
    """The run waits while either of them does; each signal names its own agent."""
    lab = RunLab(tmp_path)
    lab.started(tickets=["MET-1", "MET-2"])
    assert [agent.name for agent in lab.run().agents] == ["agent-met-1", "agent-met-2"]
    for number in ("1", "2"):
        ask(lab, agent=f"agent-met-{number}", ticket=f"MET-{number}")
    assert [agent.control_thread for agent in lab.run().agents] == [f"{CONTROL}-met-1", f"{CONTROL}-met-2"]
    signal(lab, "guidance_answer", "agent-met-1", "MET-1", answer="v2")
    assert lab.run().state == "awaiting_guidance"
    signal(lab, "guidance_answer", "agent-met-2", "MET-2", answer="v2")
    assert lab.run().state == "running"
    lab.close()


def test_signals_of_nobody_in_the_run_are_refused(lab: RunLab) -> None:
    """A run that is here knows its agents and their tickets: no thread is opened, and the names are told."""
    unknown = signal(lab, "completion", agent="agnt")
    foreign = signal(lab, "completion", ticket="MET-9")
    answer = signal(lab, "guidance_answer", agent="agnt", answer="v2")
    assert {outcome.kind for outcome in (unknown, foreign, answer)} == {"rejected"}
    assert [outcome.code for outcome in (unknown, foreign)] == ["invalid_fields"] * 2
    assert unknown.faults == {"agent_name": ["must be one of: agent"]}
    assert foreign.faults == {"ticket": ["must be MET-1, the ticket of agent agent"]}
    assert lab.rows("SELECT count(*) FROM forum_threads") == [(0,)]
    ask(lab)
    assert signal(lab, "completion", ticket="MET-9").faults == foreign.faults


def test_signals_without_a_run_are_the_forum_s_alone(lab: RunLab) -> None:
    """Of a run that is not here nothing follows."""
    assert lab.do("signal", by=AGENT, **{**REPORT, "run_id": "run-8"}).kind == "applied"
    lab.settle()
    assert lab.run().state == "running"
    failed = lab.rows("SELECT count(*) FROM forum_outbox WHERE outcome = 'rejected' OR status = 'failed'")
    assert failed + lab.rows("SELECT count(*) FROM dead_letters") == [(0,), (0,)]


def test_events_of_a_run_fit_the_documents(lab: RunLab) -> None:
    """Each event that a run has by then fits its schema, which one list of all states would not."""
    ask(lab)
    begun_anew(lab)
    document = openapi(lab.catalogue)
    told = lab.rows("SELECT event_type, payload_json FROM forum_events WHERE run_id IS NOT NULL")
    assert {"run.created", "run.state.changed", "step.state.changed", "agent.state.changed"} < {
        name for name, _ in told
    }
    for name, payload in told:
        schema = document["components"]["schemas"][f"event.{name.removeprefix('forum.')}"]["properties"]["payload"]
        assert list(faults(schema, json.loads(payload), document)) == [], name


def test_what_a_run_shows_is_described(lab: RunLab) -> None:
    """Each member of `GET /runs/{id}`, with a question open, fits the OpenAPI document."""
    ask(lab)
    document = openapi(lab.catalogue)
    schemas = document["components"]["schemas"]
    parts = [schemas["Run"], schemas["RunDetail"]["allOf"][1]]
    whole = {"type": "object", "properties": parts[0]["properties"] | parts[1]["properties"]}
    shown = lab.read(lambda db: run_detail(db, "run-7", escalation_minutes=30, limits=lab.tools.runs.operator,
                                           stale=900, now=lab.tools.now(), due=lab.tools.now()))  # fmt: skip
    assert list(faults(whole, json.loads(to_json(shown)), document)) == []


def test_control_threads_close_with_the_run(lab: RunLab) -> None:
    """By the program, with the reason; a thread of the run that is none of its control threads stays open."""
    ask(lab)
    act(lab, "answer_thread", body="v2")
    lab.do("open_thread", ticket="MET-1", title="t", body="b", run_id="run-7", thread_id="fthr-1")
    signal(lab, "completion")
    assert lab.do("close_run", "run-7").kind == "applied"
    while lab.run().busy is not None:
        lab.end_step()
    lab.settle()
    assert lab.run().state == "closed"
    assert lab.rows("SELECT thread_id, state FROM forum_threads ORDER BY thread_id") == [
        (CONTROL, "closed"), ("fthr-1", "new"),
    ]  # fmt: skip
    (closed,) = lab.rows("SELECT actor_type, payload_json FROM forum_events WHERE event_type = 'forum.thread.closed'")
    assert closed[0] == "system" and "run run-7 is closed" in closed[1]


JOBS = "SELECT payload_json, not_before FROM jobs WHERE kind = 'deliver_answer' ORDER BY id"


def deliver(lab: RunLab, how: str) -> None:
    """An answer is given, and was brought to the agent in this way."""
    ask(lab)
    signal(lab, "guidance_answer", answer="v2")
    ((payload, _),) = lab.rows(JOBS)
    told = json.loads(payload)
    body = {"thread_id": told["thread_id"], "post_id": told["post_id"], "how": how, "reader_name": "agent"}
    lab.tell("record_delivery", "job:deliver", **body)
    lab.settle()


def test_a_line_that_was_typed_is_typed_once_more(lab: RunLab) -> None:
    """A minute later, unless the agent has read the answer by then; after that nobody insists."""
    deliver(lab, "line")
    (first, _), (again, at) = lab.rows(JOBS)
    assert json.loads(again) == json.loads(first) | {"as_line": True}
    assert (datetime.fromisoformat(at) - datetime.fromisoformat(now())).total_seconds() == pytest.approx(60, abs=5)
    post = json.loads(first)["post_id"]
    told = {"thread_id": CONTROL, "post_id": post, "how": "line", "reader_name": "agent"}
    lab.tell("record_delivery", "job:again", **told)
    lab.settle()
    assert len(lab.rows(JOBS)) == 2


def test_a_text_that_was_pasted_is_not_repeated(lab: RunLab) -> None:
    """It stands before the agent as it is."""
    deliver(lab, "paste")
    assert len(lab.rows(JOBS)) == 1
