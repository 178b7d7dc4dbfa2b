"""The verbs of runs as processes of their own, against a server that plays what the domain would answer."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from metawsm.cli.run_outcome import MERGE_STEP
from metawsm.domain import run_actions
from metawsm.domain.run_plan import MERGE_BRANCH
from tests.integration.test_cli import error, first_line, says_json
from tests.integration.test_client_feed import HELLO, stays, text, upgraded
from tests.support.eventually import eventually
from tests.support.run_plays import Play, runs, told
from tests.support.scripted_server import scripted
from tests.support.shell import json_body, shell, start
from tests.support.shown_run import ShownRun

START = ["run", "--ticket", "MET-1", "--repos", "api,web"]
NEWS = text({"type": "forum.events", "events": [], "next_cursor": 11})
BUSY = ShownRun(mode="run").detail()


def started(error: str | None = None) -> list[dict[str, Any]]:
    """A run at each look, from its first step to its last, which may fail."""
    story = ShownRun(mode="run")
    looks = [story.detail()]
    while story.run.busy is not None:
        last = story.run.busy.index == len(story.run.steps)
        story.end(*(("failed", error) if last and error else ()))
        looks.append(story.detail())
    return looks


def test_run_sends_what_its_flags_say() -> None:
    """Flags become fields, what was not given is left out, and an operator acts with a key."""
    more = [
        "--repos",
        "docs",
        "--base-branch",
        "dev",
        "--source",
        "w",
        "--strategy",
        "fork",
        "--agent",
        "a",
        "--paused",
    ]
    with scripted(runs(ShownRun(mode="run", paused=True).detail())) as server:
        done = shell([*START, *more, "--server", server.url], METAWSM_RUN_ID="run-of-the-pane")
    assert done.returncode == 0, done.stderr
    assert first_line(server.requests[0]) == "POST /api/v1/runs"
    assert json_body(server.requests[0]) == {
        "mode": "run", "tickets": ["MET-1"], "repos": ["api", "web", "docs"], "base": "dev", "source": "w",
        "strategy": "fork", "agents": ["a"], "paused": True, "actor_type": "operator",
    }  # fmt: skip


def test_the_steps_are_told_until_the_agents_run() -> None:
    """Each step as it begins and ends on stderr; one line about the run on stdout."""
    looks = started()
    with scripted(runs(*looks), upgraded(stays(text(HELLO), *[NEWS] * len(looks)))) as server:
        done = shell(START, METAWSM_SERVER=server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "run-1  running, run round 1 of MET-1\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "[1/4] find api, web ..."
    assert [line.split(": ")[0] for line in lines if ": done in " in line] == [
        "[1/4] find api, web",
        "[2/4] create workspace met-1-1",
        "[3/4] documents of MET-1 in met-1-1",
        "[4/4] session of agent",
    ]
    assert lines[-2:] == ["next: metawsm.pyz watch --run-id run-1", "next: metawsm.pyz stop --run-id run-1"]
    assert "run_id=run-1&cursor=" in first_line(server.requests[1])


def test_a_step_that_fails_ends_it_with_1() -> None:
    """The tool's own words, where the run stands, and what to do."""
    looks = started(error="tmux: \x1b[31mno server\ntry again")
    with scripted(runs(*looks), upgraded(stays(text(HELLO), *[NEWS] * len(looks)))) as server:
        done = shell([*START, "--json"], METAWSM_SERVER=server.url)
    assert done.returncode == 1
    assert "[4/4] session of agent: failed:\n    tmux: no server\n    try again\n" in done.stderr
    assert "metawsm: step 4 (session of agent) is failed; run run-1 is failed\n" in done.stderr
    assert "next: metawsm.pyz resume --run-id run-1" in done.stderr
    assert json.loads(done.stdout) == {"run": looks[-1]}


def test_no_follow_returns_at_once() -> None:
    """What the daemon answered is all there is."""
    with scripted(runs(BUSY)) as server:
        done = shell([*START, "--no-follow"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run-1  planning, run round 1 of MET-1\n", "")
    assert len(server.requests) == 1


def test_an_interrupt_says_that_the_run_goes_on() -> None:
    """Ctrl-C ends the telling, not the run."""
    with scripted(runs(BUSY), upgraded(stays(text(HELLO)))) as server:
        process = start(START, METAWSM_SERVER=server.url)
        eventually(lambda: len(server.requests) == 3, timeout=20)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert b"metawsm.pyz watch --run-id run-1" in err


def test_blanks_between_repositories_are_told() -> None:
    """What was meant is shown, and nothing is sent."""
    with scripted(runs(BUSY)) as server:
        done = shell(["run", "--ticket", "MET-1", "--repos", "api web"], METAWSM_SERVER=server.url)
    assert (done.returncode, server.requests) == (2, [])
    assert "commas separate the names of --repos: api,web, not 'api web'" in done.stderr


def test_a_resume_that_changes_nothing_says_so() -> None:
    """Only where no step was brought about, and only for a resume."""
    calm = ShownRun(mode="run")
    calm.rest()
    with scripted(runs(calm.detail())) as server:
        done = shell(["resume", "--run-id", "run-1"], METAWSM_SERVER=server.url)
        stop = shell(["stop", "--run-id", "run-1"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "nothing to resume: no step was needed")
    assert done.stdout == "run-1  running, run round 1 of MET-1\n" and "nothing to" not in stop.stderr


def test_a_dry_run_is_a_table() -> None:
    """Step, kind and what: the steps that would be taken, also those that are tried again."""
    story = ShownRun()
    story.end()
    story.fail("no")
    story.do(run_actions.resume)
    with scripted(told({"run": story.detail(), "plan": []})) as server:
        done = shell(["resume", "--run-id", "run-1", "--dry-run"], METAWSM_SERVER=server.url)
        as_json = shell(["resume", "--run-id", "run-1", "--dry-run", "--json"], METAWSM_SERVER=server.url)
    assert json_body(server.requests[0]) == {"dry_run": True, "actor_type": "operator"}
    head, *rows = done.stdout.splitlines()
    assert head.split() == ["STEP", "KIND", "WHAT"]
    assert [row.split()[1] for row in rows] == ["create_workspace", "prepare_docs", "start_session"]
    assert "nothing was done; run run-1 would be planning" in done.stderr
    assert json.loads(as_json.stdout)["plan"] == []


def test_a_dry_merge_tells_what_would_be_merged() -> None:
    """The commits of each checkout as they were seen, and what is not committed and so would not be."""
    assert MERGE_STEP == MERGE_BRANCH
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.merge)
    seen = {"workspace": "met-1-1", "files": [], "more": 0, "measured_at": story.now}
    checkouts = [seen | {"repo": "api", "ahead": 1}, seen | {"repo": "web", "ahead": 3, "files": ["a", "b"]}]
    looks = ({"run": story.detail(), "plan": []}, {"run": story.detail(checkouts=checkouts)})
    with scripted(told(*looks)) as server:
        done = shell(["merge", "--run-id", "run-1", "--dry-run"], METAWSM_SERVER=server.url)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 4  # a head, the gates and two merges: the table is for programs, too
    assert done.stderr.splitlines()[-3:-1] == [
        "met-1-1/api clean, 1 commit ahead of main (seen 59m ago)",
        "met-1-1/web dirty files=2, 3 commits ahead of main (seen 59m ago)",
    ]


@pytest.mark.parametrize(
    ("arguments", "verb", "body"),
    [
        (["stop"], "stop", {}),
        (["restart", "--agent", "a", "--agent", "b"], "restart", {"agents": ["a", "b"]}),
        (["restart"], "restart", {}),
        (["iterate", "--feedback", "-"], "iterate", {"feedback": "from\nstdin"}),
        (["merge"], "merge", {}),
        (["close", "--entry", "done", "--no-merge"], "close", {"entry": "done", "no_merge": True}),
        (["cleanup", "--keep-workspaces", "--force"], "cleanup", {"keep_workspaces": True, "force": True}),
    ],
)
def test_every_verb_has_its_route(arguments: list[str], verb: str, body: dict[str, Any]) -> None:
    """The latest run of the ticket is looked up, then acted on."""
    page = {"runs": [{"run_id": "run-1"}]}
    with scripted(told(page, {"run": BUSY | {"steps": []}})) as server:
        done = shell(
            [*arguments, "--actor-name", "kb"], stdin=b"from\nstdin\n",
            METAWSM_TICKET="MET-1", METAWSM_SERVER=server.url,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [first_line(request) for request in server.requests] == [
        "GET /api/v1/runs?ticket=MET-1&limit=1",
        f"POST /api/v1/runs/run-1/{verb}",
    ]
    assert json_body(server.requests[1]) == body | {"actor_type": "operator", "actor_name": "kb"}


@pytest.mark.parametrize(
    ("arguments", "body", "code", "words"),
    [
        ([], {}, 2, "say which run: --run-id RUN, or --ticket TICKET"),
        (["--ticket", "MET-9"], {"runs": []}, 3, "ticket MET-9 has no run"),
        (["--ticket", "MET-9", "--run-id", "run-1"], {"run": BUSY}, 2, "run-1 is of ticket MET-1, not MET-9"),
        (["--run-id", "a/b"], {}, 7, "--run-id must be an id"),
    ],
)
def test_selectors_that_name_no_run(arguments: list[str], body: dict[str, Any], code: int, words: str) -> None:
    """Nothing is sent that changes anything."""
    with scripted(told(body)) as server:
        done = shell(["stop", *arguments], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert not any(request.startswith(b"POST") for request in server.requests)


def test_a_run_of_the_environment_must_be_of_the_ticket() -> None:
    """The error says which of both was typed, so that one knows what to leave out."""
    with scripted(told({"run": BUSY})) as server:
        done = shell(["stop", "--ticket", "MET-9"], METAWSM_SERVER=server.url, METAWSM_RUN_ID="run-1")
    assert done.returncode == 2
    assert "--run-id (from METAWSM_RUN_ID) and --ticket (given)" in done.stderr


def test_gates_found_by_the_closing_end_it_with_4() -> None:
    """The run is completed again; every gate stands on a line of its own, once, with its command."""
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.close, None, True)
    first = story.detail()
    gates = [{"text": "api is dirty", "mend": "git commit"}, {"text": "no docs", "mend": "put them back"}]
    story.end("failed", "api is dirty (mend: git commit); no docs (mend: put them back)", gates=gates)
    with scripted(runs(first, story.detail()), upgraded(stays(text(HELLO), NEWS))) as server:
        done = shell(["close", "--run-id", "run-1"], METAWSM_SERVER=server.url)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-5:] == [
        "metawsm: close blocked",
        "  - api is dirty",
        "    mend: git commit",
        "  - no docs",
        "    mend: put them back",
    ]
    assert (done.stdout + done.stderr).count("api is dirty") == 1
    assert done.stdout == "run-1  completed, bootstrap round 1 of MET-1: close blocked\n"
    assert "[1/4] gates: failed" in done.stderr.splitlines()


def test_a_refused_closing_ends_with_4() -> None:
    """The gates of the run itself come with the refusal."""
    gates = [{"text": "agent a: missing completion signal", "mend": "metawsm.pyz forum signal"}]
    with scripted(error(409, "close_blocked", "close blocked: ...", details={"gates": gates})) as server:
        done = shell(["close", "--run-id", "run-1"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.splitlines() == [
        "metawsm: close blocked",
        "  - agent a: missing completion signal",
        "    mend: metawsm.pyz forum signal",
    ]


def test_a_merge_after_a_closing_that_was_blocked_is_no_blocked_closing() -> None:
    """The run's reason is older than what is done now."""
    story = ShownRun()
    story.rest().complete()
    story.do(run_actions.close, None, True)
    story.fail("api is dirty (mend: git commit)")
    story.do(run_actions.merge)
    first = story.detail()
    story.rest()
    with scripted(runs(first, story.detail()), upgraded(stays(text(HELLO), NEWS))) as server:
        done = shell(["merge", "--run-id", "run-1"], METAWSM_SERVER=server.url)
    assert done.returncode == 0, done.stderr


def test_a_stop_is_done_though_the_step_it_found_has_failed() -> None:
    """Only the steps of the action itself decide."""
    story = ShownRun()
    story.end()
    story.do(run_actions.stop)
    first = story.detail()
    story.fail("interrupted")
    story.rest()
    with scripted(runs(first, story.detail()), upgraded(stays(text(HELLO), NEWS))) as server:
        done = shell(["stop", "--run-id", "run-1"], METAWSM_SERVER=server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("run-1  stopped,")


@pytest.mark.parametrize(
    ("play", "code", "words"),
    [
        (error(404, "not_found", "there is no run run-1"), 3, ["there is no run run-1"]),
        (error(409, "illegal_transition", "run run-1 is closed"), 4, ["is closed"]),
        (error(403, "not_allowed", "only a human or an operator commands runs, not actor_type agent"), 5,
         ["forum signal", "--actor-type operator"]),
        (error(422, "invalid_fields", "faulty", fields={"agents": ["no agent 'x'"]}), 7, ["--agent no agent 'x'"]),
        (says_json(202, {"command": {"id": "fcmd-7", "status": "queued"}}), 75, ["--command-id fcmd-7"]),
    ],
)  # fmt: skip
def test_every_refusal_has_its_exit_code(play: Play, code: int, words: list[str]) -> None:
    """What happened, and what to do."""
    with scripted(play) as server:
        done = shell(["restart", "--run-id", "run-1", "--agent", "x"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert all(word in done.stderr for word in words), done.stderr


def test_no_daemon_is_6() -> None:
    """The address, and how to start it."""
    done = shell(["status", "--run-id", "run-1"], METAWSM_SERVER="http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (6, "")
    assert "start it with `metawsm.pyz serve --addr 127.0.0.1:1`" in done.stderr
