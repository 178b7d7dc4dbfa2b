"""Commands on runs from acceptance to outcome: lanes, keys, other programs, and what the program tells itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metawsm.bus.dispatch import CommandRow
from metawsm.bus.ports import Db
from metawsm.bus.receive import DeadLetter
from metawsm.domain.errors import InvalidFields, KeyReused
from metawsm.domain.run_states import RUN_STATES
from metawsm.storage.run_pages import runs_page
from tests.support.run_lab import AGENT, START, RunLab

ACTIONS: dict[str, dict[str, Any]] = {
    "resume_run": {}, "stop_run": {}, "restart_run": {}, "iterate_run": {"feedback": "shorter"}, "merge_run": {},
    "close_run": {}, "cleanup_run": {},
}  # fmt: skip
INTERNAL: dict[str, dict[str, Any]] = {
    "record_step": {"run_id": "run-7", "step": 1, "state": "done", "attempts": 1},
    "record_agents": {"run_id": "run-7", "seen": {}},
    "follow_control": {"run_id": "run-7", "agent_name": "agent", "thread_id": "fctrl-x", "sequence": 1},
}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunLab]:
    """A database that trusts other programs."""
    lab = RunLab(tmp_path, trusted=True)
    yield lab
    lab.close()


def test_a_run_is_rows_events_and_a_job(lab: RunLab) -> None:
    """All in the commit that handles the command; its events name the run and no thread."""
    outcome = lab.do("start_run", **START)
    assert (outcome.kind, outcome.status) == ("applied", 201)
    assert outcome.body is not None and outcome.body["run"]["state"] == "planning"
    assert outcome.last_sequence == lab.run().last_event_sequence == 3
    events = lab.rows("SELECT event_type, run_id, thread_id, ticket, actor_name, actor_known_by FROM forum_events")
    assert [row[0] for row in events] == ["run.created", "run.state.changed", "step.state.changed"]
    assert {row[1:] for row in events} == {("run-7", None, "MET-1", "op", "token")}
    assert lab.rows("SELECT kind, job_key, lane, status, run_id FROM jobs") == [
        ("find_repositories", "step:run-7:1", "run-7", "pending", "run-7")
    ]
    assert lab.rows("SELECT DISTINCT message_key FROM forum_outbox") == [("run-7",)]


def test_a_run_without_an_id_gets_one(lab: RunLab) -> None:
    """It is collision-free, and its workspaces carry the end of it."""
    outcome = lab.do("start_run", tickets=["MET-1"], repos=["app"])
    run = (outcome.body or {})["run"]
    assert run["run_id"].startswith("run-0")
    assert run["workspaces"][0]["name"] == f"met-1-{run['run_id'][-8:]}"


def test_runs_that_are_not_over(lab: RunLab) -> None:
    """`active` finds every run that somebody may have to look after, failed, paused and completed ones among them."""
    for number, state in enumerate(RUN_STATES):
        lab.do("start_run", **START | {"run_id": f"run-{number}"})
        lab.writer.run(partial(_bring, run_id=f"run-{number}", state=state))
    found = lab.read(lambda db: runs_page(db, "MET-1", None, True, 50, None))["runs"]
    assert {run["state"] for run in found} == {*RUN_STATES} - {"stopped", "closed"}


def _bring(db: Db, run_id: str, state: str) -> None:
    db.execute("UPDATE runs SET state = ? WHERE run_id = ?", (state, run_id))


def test_agents_do_not_command_runs(lab: RunLab) -> None:
    """Runs start programs: whoever is an agent is refused each of the commands, and nothing is written."""
    lab.do("start_run", **START)
    before = lab.rows("SELECT count(*) FROM forum_events")
    assert lab.do("start_run", by=AGENT, **START).code == "not_allowed"
    for name, body in ACTIONS.items():
        assert lab.do(name, "run-7", by=AGENT, **body).code == "not_allowed"
    assert lab.rows("SELECT count(*) FROM forum_events") == before


def test_refusals_are_outcomes(lab: RunLab) -> None:
    """A taken id, a run that is not there, a state that does not allow it, an agent that the policy does not have."""
    for name, body in ACTIONS.items():
        assert lab.do(name, "run-7", **body).code == "not_found"
    lab.do("start_run", **START)
    assert lab.do("start_run", **START).code == "already_exists"
    assert lab.do("merge_run", "run-7").code == "illegal_transition"
    refused = lab.do("start_run", tickets=["M"], repos=["app"], agents=["eve"])
    assert (refused.code, refused.faults) == ("invalid_fields", {"agents": ["no agent 'eve'; known are: agent"]})


def test_the_workspace_of_another_run_is_not_cleaned_up(lab: RunLab) -> None:
    """The run that works in it is named, until it is over; sessions alone may be ended at any time."""
    lab.do("start_run", **START)
    place = lab.run().workspaces[0].name
    reuse: dict[str, Any] = {"tickets": ["MET-2"], "repos": ["app"], "strategy": "reuse", "source": place}
    lab.do("start_run", **reuse, run_id="run-8")
    for force, dry in ((False, False), (True, False), (False, True)):
        refused = lab.do("cleanup_run", "run-7", force=force, dry_run=dry)
        assert (refused.code, f"run run-8 works in workspace {place}" in refused.message) == (
            "illegal_transition", True,
        )  # fmt: skip
    assert lab.do("cleanup_run", "run-8", dry_run=True).kind == "applied"  # it removes none
    assert lab.do("cleanup_run", "run-7", keep_workspaces=True).kind == "applied"
    lab.writer.run(partial(_bring, run_id="run-8", state="stopped"))
    assert lab.do("cleanup_run", "run-7").kind == "applied"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tickets": [], "repos": ["a"]}, "tickets"), ({"tickets": ["T"]}, "repos"),
        ({"tickets": ["T", "T"], "repos": ["a"]}, "tickets"), ({"tickets": ["a b"], "repos": ["a"]}, "tickets"),
        ({"tickets": ["T"], "repos": ["a"], "doc_home_repo": "b"}, "doc_home_repo"),
        ({"tickets": ["T"], "repos": ["a"], "strategy": "fork"}, "source"),
        ({"tickets": ["T"], "repos": ["a"], "base": "--upload-pack=x"}, "base"),
        ({"tickets": ["T"], "repos": ["a"], "mode": "bootstrap", "goal": "g", "scope": " "}, "scope"),
        ({"tickets": ["T"], "repos": ["a"], "run_id": "a/b"}, "run_id"),
        ({"tickets": ["T"], "repos": ["a"], "paused": "yes"}, "paused"),
    ],
)  # fmt: skip
def test_faults_of_fields_are_named_before_anything_is_stored(lab: RunLab, body: dict[str, Any], field: str) -> None:
    """Missing, twice, against the grammar, or not fitting each other."""
    with pytest.raises(InvalidFields) as refused:
        lab.submit("start_run", body)
    assert field in refused.value.fields
    assert lab.rows("SELECT count(*) FROM forum_outbox") == [(0,)]


def test_a_dry_run_tells_and_does_nothing(lab: RunLab) -> None:
    """The steps that would be taken, for a new run and for each action that is allowed."""
    told = lab.do("start_run", dry_run=True, **START).body or {}
    assert [step["kind"] for step in told["plan"]] == [
        "find_repositories", "create_workspace", "prepare_docs", "start_session",
    ]  # fmt: skip
    assert told["run"]["state"] == "planning"
    assert lab.rows("SELECT count(*) FROM runs") + lab.rows("SELECT count(*) FROM forum_events") == [(0,), (0,)]
    lab.do("start_run", **START)
    events = lab.rows("SELECT count(*) FROM forum_events")
    stopped = lab.do("stop_run", "run-7", dry_run=True).body or {}
    assert [step["name"] for step in stopped["plan"]] == ["end agent"]
    resumed = lab.do("resume_run", "run-7", dry_run=True).body or {}
    assert resumed["plan"] == []
    assert lab.rows("SELECT count(*) FROM forum_events") == events and lab.run().state == "planning"


def test_a_paused_run_plans_its_resume(lab: RunLab) -> None:
    """A dry resume shows the plan that waits."""
    lab.do("start_run", paused=True, **START)
    assert lab.rows("SELECT count(*) FROM jobs") == [(0,)]
    told = lab.do("resume_run", "run-7", dry_run=True).body or {}
    assert len(told["plan"]) == 4
    assert lab.do("resume_run", "run-7").kind == "applied"
    assert lab.rows("SELECT count(*) FROM jobs") == [(1,)]


def test_idempotency_keys(lab: RunLab) -> None:
    """The same wish again is the same command; another one under its key is refused."""
    first = lab.submit("start_run", START, key="k")
    again = lab.submit("start_run", START, key="k")
    assert (again.command_id, again.queued) == (first.command_id, None)
    (done,) = lab.pump()
    known = lab.submit("start_run", START, key="k").outcome
    assert known is not None and (known.kind, known.body) == ("applied", done.outcome.body)
    with pytest.raises(KeyReused):
        lab.submit("start_run", {**START, "tickets": ["MET-2"]}, key="k")


def test_commands_of_a_run_are_one_lane(lab: RunLab) -> None:
    """Whoever sent them, by whatever way, they are handled in the order of their acceptance."""
    lab.submit("start_run", START)
    row = lab.receive("stop_run", {}, run_id="run-7", actor_type="operator")
    lab.submit("resume_run", {}, "run-7")
    lab.tell("record_step", "job:step:run-7:1", **INTERNAL["record_step"])
    assert isinstance(row, CommandRow) and row.key == "run-7"
    keys = lab.rows("SELECT message_key, topic FROM forum_outbox ORDER BY id")
    assert keys == [
        ("run-7", f"forum.commands.{name}") for name in ("start_run", "stop_run", "resume_run", "record_step")
    ]
    handled = lab.pump()
    assert [each.row.id for each in handled] == [1, 2, 3, 4]
    assert [each.outcome.code for each in handled] == ["", "", "illegal_transition", ""]


def test_other_programs_command_runs_where_they_are_trusted(lab: RunLab) -> None:
    """The run's id may stand in envelope or body, or be left to us."""
    body = {"tickets": ["MET-1"], "repos": ["app"]}
    for entry, more, head in (
        ("1-0", {}, {"run_id": "run-a"}), ("2-0", {"run_id": "run-b"}, {}), ("3-0", {}, {}),
    ):  # fmt: skip
        row = lab.receive("start_run", {**body, **more}, entry, actor_type="operator", **head)
        assert isinstance(row, CommandRow)
        assert row.key == (head | more).get("run_id", row.key) and row.key.startswith("run-")
    assert [each.outcome.kind for each in lab.pump()] == ["applied"] * 3
    assert lab.run("run-a").created_by_type == "operator"
    lab.receive("stop_run", {"run_id": "run-a"}, "4-0", actor_type="human")
    lab.pump()
    assert lab.run("run-a").state == "stopping"


def test_other_programs_are_not_trusted_by_default(tmp_path: Path) -> None:
    """Their human is refused in the handler, their agent by the rule about runs."""
    lab = RunLab(tmp_path)
    for entry, actor in (("1-0", "human"), ("2-0", "agent")):
        lab.receive("start_run", START, entry, actor_type=actor)
    assert [each.outcome.code for each in lab.pump()] == ["not_allowed"] * 2
    lab.close()


@pytest.mark.parametrize("name", INTERNAL)
def test_commands_of_the_program_to_itself_are_taken_from_nobody(lab: RunLab, name: str) -> None:
    """Not even from a trusted publisher: they tell what only the program can know."""
    lab.do("start_run", **START)
    letter = lab.receive(name, INTERNAL[name], actor_type="operator", run_id="run-7")
    assert isinstance(letter, DeadLetter) and letter.reason == "undecodable"
    assert lab.pump() == []


@pytest.mark.parametrize("identity", ["job:step:run-7:1", "seen:run-7:x", "sla:x", "follow_control:fevt-1"])
def test_nobody_takes_the_identity_of_a_command_to_come(lab: RunLab, identity: str) -> None:
    """Whoever could, would keep an outcome from being told, and the run would wait for ever."""
    letter = lab.receive("stop_run", {}, run_id="run-7", actor_type="operator", event_id=identity)
    assert isinstance(letter, DeadLetter) and "its own commands" in str(letter.error)
    row = lab.receive("stop_run", {}, "2-0", run_id="run-7", actor_type="operator", event_id="urn:step:1")
    assert isinstance(row, CommandRow)


def test_what_the_program_tells_itself_is_stored_once(lab: RunLab) -> None:
    """A second telling is none; its outcome carries no answer, since nobody asked."""
    lab.do("start_run", **START)
    assert lab.tell("record_step", "job:step:run-7:1", **INTERNAL["record_step"]) is not None
    assert lab.tell("record_step", "job:step:run-7:1", **INTERNAL["record_step"]) is None
    lab.pump()
    assert lab.tell("record_step", "job:step:run-7:1", **INTERNAL["record_step"]) is None
    (row,) = lab.rows("SELECT outcome, outcome_json FROM forum_outbox WHERE message_id = 'job:step:run-7:1'")
    assert row[0] == "applied" and "body" not in row[1]


def test_a_run_may_be_called_like_a_thread(lab: RunLab) -> None:
    """Both live in one lane then, and neither is taken for the other."""
    asked: dict[str, Any] = {"ticket": "MET-1", "title": "t", "body": "b", "thread_id": "fthr-1", "actor_type": "agent"}
    lab.do("open_thread", **asked)
    assert lab.do("start_run", **{**START, "run_id": "fthr-1"}).kind == "applied"
    assert lab.do("add_post", "fthr-1", body="more").kind == "applied"
    assert lab.do("stop_run", "fthr-1").kind == "applied"
    assert lab.run("fthr-1").state == "stopping"
    assert lab.rows("SELECT posts_count FROM forum_threads") == [(2,)]


def test_a_look_at_an_earlier_life_of_an_agent_does_not_count(lab: RunLab) -> None:
    """An agent that began anew since the look is another one; what was seen of others is kept."""
    lab.started()
    since = lab.run().agents[0].state_since
    seen = {"agent": {"state": "failed", "reason": "exit code 3", "exit_code": 3, "state_since": since}}
    lab.do("restart_run", "run-7")
    while lab.run().busy is not None:
        lab.end_step()
    lab.tell("record_agents", "seen:1", run_id="run-7", seen={**seen, "nobody": seen["agent"]})
    lab.settle()
    assert (lab.run().state, lab.run().agents[0].state) == ("running", "running")
    now = lab.run().agents[0].state_since
    lab.tell("record_agents", "seen:2", run_id="run-7", seen={"agent": {**seen["agent"], "state_since": now}})
    lab.settle()
    agent = lab.run().agents[0]
    assert (lab.run().state, agent.state, agent.exit_code) == ("failed", "failed", 3)
