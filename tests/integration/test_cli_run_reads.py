"""Looking at runs from the shell: status, watch; and letting held jobs go."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.test_cli import first_line
from tests.integration.test_client_feed import HELLO, stays, text, upgraded
from tests.support.run_plays import runs, told
from tests.support.scripted_server import scripted
from tests.support.shell import shell
from tests.support.shown_run import ShownRun

BUSY = ShownRun(mode="run").detail()


def test_status_lists_what_is_not_over() -> None:
    """Without a selector it is a table, or the same runs as JSON; --all asks for all, also in an agent's pane."""
    row = {"run_id": "run-1", "state": "running", "state_since": "2026-01-01T00:00:00.000000Z", "mode": "run",
           "round": 1, "tickets": ["MET-1", "MET-2"], "agents_count": 2, "open_requests": 0}  # fmt: skip
    lost = row | {"run_id": "run-0", "state": "failed"}
    with scripted(told({"runs": [row, lost]})) as server:
        done = shell(["status"], METAWSM_SERVER=server.url)
        as_json = shell(["status", "--json"], METAWSM_SERVER=server.url)
    with scripted(told({"runs": [row], "next_cursor": "abc"})) as other:
        page = shell(["status"], METAWSM_SERVER=other.url)
        shell(["status", "--all"], METAWSM_SERVER=other.url, METAWSM_RUN_ID="run-1", METAWSM_TICKET="MET-1")
    assert [first_line(request) for request in (*server.requests, *other.requests)] == [
        "GET /api/v1/runs?active=true",
        "GET /api/v1/runs?active=true",
        "GET /api/v1/runs?active=true",
        "GET /api/v1/runs?ticket=MET-1",
    ]
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["run-1", "running"], ["run-0", "failed"]]
    assert [run["run_id"] for run in json.loads(as_json.stdout)["runs"]] == ["run-1", "run-0"]
    assert "MET-1, MET-2" in page.stdout and "--cursor abc" in page.stderr


def test_status_without_any_run_to_look_after() -> None:
    """It says where the others are."""
    with scripted(told({"runs": []})) as server:
        done = shell(["status"], METAWSM_SERVER=server.url)
    assert (done.stdout, done.stderr) == ("", "no run is going on; --all lists those that were stopped or closed\n")


def test_status_of_a_ticket_names_its_other_runs() -> None:
    """The newest is shown, and in one line those that are not over."""

    pages = ([("run-1", "running")], [("run-1", "running"), ("run-8", "planning"), ("run-9", "failed")])
    newest, others = ({"runs": [{"run_id": name, "state": state} for name, state in page]} for page in pages)
    with scripted(told(newest, {"run": BUSY}, others)) as server:
        done = shell(["status", "--ticket", "MET-1"], METAWSM_SERVER=server.url)
    assert done.stdout.startswith("Run:      run-1")
    assert done.stderr == "other runs of MET-1: run-8 (planning), run-9 (failed); show one with --run-id\n"


def test_status_as_json_is_the_answer() -> None:
    """Programs get the object as it came."""
    with scripted(runs(BUSY)) as server:
        done = shell(["status", "--run-id", "run-1", "--json"], METAWSM_SERVER=server.url)
    assert json.loads(done.stdout) == {"run": BUSY}


def moved(sequence: int, state: str) -> dict[str, Any]:
    """An event that brings the run into a state."""
    envelope = {"event_type": "run.state.changed", "run_id": "run-1", "ticket": "MET-1", "actor_type": "system"}
    return {"sequence": sequence, "envelope": envelope, "payload": {"from_state": "x", "to_state": state}}


def news(*events: dict[str, Any]) -> bytes:
    """A frame of events."""
    return text({"type": "forum.events", "events": list(events), "next_cursor": events[-1]["sequence"]})


@pytest.mark.parametrize(
    ("states", "arguments", "code"),
    [
        (["running", "completed", "closing"], [], 0),
        (["running", "awaiting_guidance", "failed", "planning"], [], 1),
        (["stopping", "stopped", "planning"], [], 1),
        (["running", "completed", "closing", "closed", "x"], ["--until", "closed"], 0),
        (["running", "failed", "planning"], ["--until", "closed"], 1),
        (["running", "awaiting_guidance", "running"], ["--until", "awaiting_guidance"], 0),
    ],
)
def test_watch_ends_with_the_run(states: list[str], arguments: list[str], code: int) -> None:
    """It prints up to the event that ends it, and its exit code says how it ended."""
    run = BUSY | {"last_event_sequence": 10}
    frames = [news(moved(sequence, state)) for sequence, state in enumerate(states, 11)]
    with scripted(runs(run), upgraded(stays(text(HELLO), *frames))) as server:
        done = shell(["watch", "--run-id", "run-1", *arguments], METAWSM_SERVER=server.url)
    assert done.returncode == code, done.stderr
    assert [line.split(" -> ")[1] for line in done.stdout.splitlines()] == states[:-1]
    assert "run-1" not in done.stdout


@pytest.mark.parametrize(
    ("state", "arguments", "code"),
    [("completed", [], 0), ("stopped", [], 1), ("running", ["--until", "running"], 0), ("closed", ["--until", "x"], 2),
     ("closed", ["--until", "running"], 1)],
)  # fmt: skip
def test_watch_of_a_run_that_is_there_already(state: str, arguments: list[str], code: int) -> None:
    """Nothing will come, so it does not wait."""
    with scripted(runs(BUSY | {"state": state})) as server:
        done = shell(["watch", "--run-id", "run-1", *arguments], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stdout) == (code, "")


@pytest.mark.parametrize("state", ["paused", "awaiting_guidance"])
def test_watch_of_a_run_that_waits_for_somebody_says_for_what(state: str) -> None:
    """Else one would look at it for a long time."""
    run = BUSY | {"state": state, "next": ["metawsm.pyz resume --run-id run-1"]}
    frames = news(moved(run["last_event_sequence"] + 1, "completed"))
    with scripted(runs(run), upgraded(stays(text(HELLO), frames))) as server:
        done = shell(["watch", "--run-id", "run-1"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, ["next: metawsm.pyz resume --run-id run-1"])


def test_watch_from_the_beginning_goes_up_to_the_end() -> None:
    """A state that the run has left does not end it; its newest event does, when nothing will come after it."""
    run = BUSY | {"state": "completed", "last_event_sequence": 13}
    frames = news(*(moved(n, state) for n, state in ((11, "failed"), (12, "planning"), (13, "completed"))))
    with scripted(runs(run), upgraded(stays(text(HELLO), frames))) as server:
        done = shell(["watch", "--run-id", "run-1", "--cursor", "0", "--json"], METAWSM_SERVER=server.url)
    assert done.returncode == 0
    assert [json.loads(line)["sequence"] for line in done.stdout.splitlines()] == [11, 12, 13]


def test_jobs_release_says_how_many() -> None:
    """A count, for people and for programs."""
    with scripted(told({"released": 1})) as server:
        done = shell(["jobs", "release"], METAWSM_SERVER=server.url)
        as_json = shell(["jobs", "release", "--json"], METAWSM_SERVER=server.url)
    assert first_line(server.requests[0]) == "POST /api/v1/jobs/release"
    assert (done.stdout, json.loads(as_json.stdout)) == ("1 job released\n", {"released": 1})
