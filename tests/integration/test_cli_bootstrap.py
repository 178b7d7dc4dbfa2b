"""The brief of a bootstrap run: from flags, from a pipe, or asked on a terminal."""

from __future__ import annotations

import os
import pty
import subprocess

from tests.integration.test_cli import says_json
from tests.support.run_plays import runs
from tests.support.scripted_server import scripted
from tests.support.shell import COMMAND, environment, json_body, shell
from tests.support.shown_run import ShownRun

PLAN = ["--ticket", "MET-1", "--repos", "api,web"]
BRIEF = {"goal": "One schema", "scope": "events", "done_criteria": "tests pass", "constraints": "none"}
BUSY = ShownRun().detail()


def flags(brief: dict[str, str]) -> list[str]:
    """The brief on the command line."""
    return [part for name, value in brief.items() for part in (f"--{name.replace('_', '-')}", value)]


def test_a_brief_without_a_terminal_names_every_flag() -> None:
    """Merge intent is never asked for; nothing is sent."""
    with scripted(runs(BUSY)) as server:
        done = shell(["bootstrap", *PLAN, "--goal", " "], METAWSM_SERVER=server.url)
    assert done.returncode == 2
    assert "give --goal, --scope, --done-criteria, --constraints, or answer on a terminal" in done.stderr
    assert server.requests == []


def test_a_brief_from_flags_and_stdin() -> None:
    """One of the texts may come through a pipe, two may not."""
    given = flags(BRIEF | {"scope": "-"})
    with scripted(runs(BUSY | {"steps": []})) as server:
        done = shell(["bootstrap", *PLAN, *given], stdin=b"a\nb\n", METAWSM_SERVER=server.url)
        twice = shell(["bootstrap", *PLAN, *given, "--goal", "-"], METAWSM_SERVER=server.url)
    assert done.returncode == 0, done.stderr
    body = json_body(server.requests[0])
    assert body["mode"] == "bootstrap"
    assert {name: body[name] for name in BRIEF} == BRIEF | {"scope": "a\nb"}
    assert body["merge_intent"] == "default"
    assert twice.returncode == 2 and "only one of --goal, --scope" in twice.stderr


def asked(typed: str, *arguments: str, **env: str) -> tuple[int, str]:
    """Exit code and output of `bootstrap` on a terminal on which somebody types."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "bootstrap", *PLAN, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment(**env)
    )
    os.close(slave)
    os.write(master, typed.encode(errors="surrogateescape"))
    try:
        code = process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    shown = os.read(master, 65536).decode(errors="replace")
    os.close(master)
    return code, shown.replace("\r", "")


def test_what_is_missing_is_asked_on_a_terminal() -> None:
    """Heading and question for each; a blank answer, and one that is no text, is asked for again."""
    with scripted(runs(BUSY | {"steps": []})) as server:
        code, shown = asked(
            "\n  \n\udcff\nevents, all\ntests pass\nnone\n", "--goal", "One schema", METAWSM_SERVER=server.url
        )
    assert code == 0, shown
    assert (shown.count("an answer is needed"), shown.count("that is not UTF-8; once more")) == (2, 1)
    assert "Scope: What belongs to it, and what does not?" in shown
    assert "Goal:" not in shown and "Merge Intent" not in shown
    first, body = (json_body(request) for request in server.requests)
    assert (first["dry_run"], body.get("dry_run"), body["goal"]) == (True, None, "One schema")
    assert (body["scope"], body["done_criteria"], body["constraints"]) == ("events, all", "tests pass", "none")


def test_an_end_of_input_begins_nothing() -> None:
    """Ctrl-D in the middle is an error that says what was not answered."""
    with scripted(runs(BUSY)) as server:
        code, shown = asked("One schema\n\x04", METAWSM_SERVER=server.url)
    assert code == 2
    assert "incomplete intake: no answer for Scope; nothing was begun" in shown
    assert [json_body(request)["dry_run"] for request in server.requests] == [True]


def test_nobody_is_asked_for_a_brief_that_cannot_be_sent() -> None:
    """The daemon is asked first: without one, and where it refuses, no question is put."""
    code, shown = asked("", METAWSM_SERVER="http://127.0.0.1:1")
    assert (code, "Goal:" in shown) == (6, False), shown
    message = (
        "without a token you act as agent, not as operator: send `Authorization: Bearer <token>` with the one line"
    )
    refusal = {"error": {"code": "not_allowed", "message": message}}
    with scripted(says_json(403, refusal)) as server:
        code, shown = asked("", METAWSM_SERVER=server.url)
    assert (code, "Goal:" in shown) == (5, False), shown
    first, second = shown.splitlines()
    assert first == "metawsm: without a token you act as agent, not as operator"
    assert "METAWSM_TOKEN_FILE" in second and "Authorization" not in shown
