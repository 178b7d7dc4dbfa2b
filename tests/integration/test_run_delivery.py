"""An answer reaches an agent that does not listen: as a line typed into its idle pane, or as the text itself."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.runs_lab import Lab

# It asks, and then reads what comes on its terminal, line by line, without ever looking for an answer by itself.
DEAF = r"""#!/bin/sh
metawsm forum signal --type guidance_request --question "v1 or v2?" >/dev/null
echo ready
while read -r line; do
    printf '%s\n' "$line" >>LINES
    case $line in "metawsm forum inbox") metawsm forum inbox >>LINES ;; esac
done
"""


def lab_of(folder: Path, delivery: str, script: str = DEAF) -> Lab:
    """A project whose agent gets its answers in this way."""
    agent = script.replace("LINES", str(folder / "lines"))
    return Lab(folder, agents={"bob": agent}, policy={"agent_profiles": [profile(folder, delivery)]})


def profile(folder: Path, delivery: str) -> dict[str, Any]:
    """The agent's profile."""
    options = {"command": f"exec '{folder}/agent-bob'"}
    return {"name": "p-bob", "runner": "shell", "delivery": delivery, "runner_options": options}


def receipts(lab: Lab, run_id: str) -> list[Any]:
    """What is known of the answers on the agent's control thread."""
    thread = lab.run(run_id)["agents"][0]["control_thread"]
    posts = lab.daemon.request("GET", f"/forum/threads/{thread}").body["posts"]
    return [receipt for post in posts for receipt in post.get("receipts", [])]


def test_a_line_is_typed_and_the_answer_read(tmp_path: Path) -> None:
    """The constant line arrives once; the agent reads its inbox; delivered and read are known."""
    with lab_of(tmp_path, "line") as lab:
        run_id = lab.start()
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id, text="v2; touch /tmp/never\x1b[2J")
        eventually(lambda: [r["read_at"] for r in receipts(lab, run_id)], timeout=30, interval=0.2)
        assert [r["delivered_how"] for r in receipts(lab, run_id)] == ["line"]
        lines = (tmp_path / "lines").read_text()
        assert lines.splitlines()[0] == "metawsm forum inbox"
        assert "v2; touch /tmp/never" in lines
        assert "\x1b" not in lines


def test_a_text_is_pasted_where_the_profile_says_so(tmp_path: Path) -> None:
    """The answer itself, without its control characters; it is delivered, and nobody says that it was read."""
    with lab_of(tmp_path, "paste", PYTHON) as lab:
        run_id = lab.start()
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id, text="use v2\x1b[2J\x07 now")
        eventually(lambda: receipts(lab, run_id), timeout=30, interval=0.2)
        eventually(lambda: "use v2" in (tmp_path / "lines").read_text(), timeout=10)
        assert (tmp_path / "lines").read_text() == "use v2 now\n"
        assert [sorted(r) for r in receipts(lab, run_id)] == [
            ["delivered_at", "delivered_how", "reader_name", "reader_type"]
        ]


PYTHON = r"""#!/usr/bin/env python3
import subprocess, sys
subprocess.run(["metawsm", "forum", "signal", "--type", "guidance_request", "--question", "v1 or v2?"], check=True)
for line in sys.stdin:
    with open("LINES", "a") as out:
        out.write(line)
"""


def test_nothing_is_pasted_into_a_shell(tmp_path: Path) -> None:
    """A shell would run it: the constant line is typed instead."""
    with lab_of(tmp_path, "paste") as lab:
        run_id = lab.start()
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id, text="rm -rf everything")
        eventually(lambda: receipts(lab, run_id), timeout=30, interval=0.2)
        assert [r["delivered_how"] for r in receipts(lab, run_id)] == ["line"]
        eventually((tmp_path / "lines").read_text, timeout=10)
        assert (tmp_path / "lines").read_text().splitlines()[0] == "metawsm forum inbox"


@pytest.mark.parametrize("delivery", ["none", "line"])
def test_an_agent_that_listens_is_left_alone(tmp_path: Path, delivery: str) -> None:
    """Who waits has read the answer before anything is typed; and with `none` nothing is typed at all."""
    script = DEAF.replace("echo ready", "metawsm forum wait >/dev/null") if delivery == "line" else DEAF
    with lab_of(tmp_path, delivery, script) as lab:
        run_id = lab.start()
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id)
        jobs = "SELECT status FROM jobs WHERE kind = 'deliver_answer'"
        eventually(lambda: lab.rows(jobs) == [("done",)], timeout=30, interval=0.2)
        assert not (tmp_path / "lines").exists()


def test_nothing_is_pasted_into_a_program_that_has_a_shell_inside(tmp_path: Path) -> None:
    """The profile's own program is in front, and would hand the text on to a shell."""
    options = {"command": "exec script -q /dev/null"}
    policy = {"agent_profiles": [{"name": "p-bob", "runner": "shell", "delivery": "paste", "runner_options": options}]}
    with Lab(tmp_path, agents={"bob": "#!/bin/sh\n"}, policy=policy) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        ask(lab, run_id)
        lab.answer(run_id, text=f"touch {tmp_path}/pasted")
        eventually(lambda: receipts(lab, run_id), timeout=30, interval=0.2)
        assert receipts(lab, run_id)[0]["delivered_how"] == "line"
        assert not (tmp_path / "pasted").exists()
        lab.post(f"/runs/{run_id}/stop")
        lab.until(run_id, "stopped")  # it would outlive its terminal


def ask(lab: Lab, run_id: str) -> None:
    """What the agent asks, sent by somebody for it."""
    payload = {"control_type": "guidance_request", "question": "v1 or v2?"}
    lab.post("/forum/control/signal", run_id=run_id, ticket="MET-1", agent_name="bob", payload=payload)
    lab.until(run_id, "awaiting_guidance")


def test_a_text_that_may_be_there_already_is_not_pasted_again(tmp_path: Path) -> None:
    """The daemon dies when the text is on the screen: its next life tells with the line that there is an answer."""
    with lab_of(tmp_path, "paste", PYTHON) as lab:
        run_id = lab.start()
        lab.until(run_id, "awaiting_guidance")
        lab.answer(run_id, text="yes, delete it")
        (session,) = lab.sessions()
        screen = partial(lab.tmux, "capture-pane", "-p", "-t", f"={session}:")
        eventually(lambda: "yes, delete it" in screen().stdout, timeout=30, interval=0.005)
        lab.daemon.kill()
        lab.daemon.start()
        eventually(lambda: receipts(lab, run_id), timeout=30, interval=0.2)
        assert [r["delivered_how"] for r in receipts(lab, run_id)] == ["line"]
        lines = eventually((tmp_path / "lines").read_text, timeout=10).splitlines()
        assert lines.count("yes, delete it") <= 1
        assert [line for line in lines if line not in ("yes, delete it", "metawsm forum inbox")] == []


def test_what_was_answered_meanwhile_waits_for_the_next_session(tmp_path: Path) -> None:
    """The agent's session is gone when the answer comes: the one that is begun after it is told."""
    with lab_of(tmp_path, "line", WITHOUT_A_QUESTION) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        ask(lab, run_id)
        (session,) = lab.sessions()
        lab.tmux("kill-session", "-t", f"={session}")
        eventually(lambda: lab.run(run_id)["agents"][0]["state"] == "dead", timeout=60, interval=0.2)
        lab.answer(run_id, text="use v2")
        lab.post(f"/runs/{run_id}/resume")
        eventually(lambda: [r for r in receipts(lab, run_id) if "read_at" in r], timeout=60, interval=0.2)
        assert "use v2" in (tmp_path / "lines").read_text()


WITHOUT_A_QUESTION = DEAF.replace(
    'metawsm forum signal --type guidance_request --question "v1 or v2?" >/dev/null\n', ""
)


# Whoever sits at the terminal: each line that comes is written down.
TAKES = "#!/bin/sh\nwhile read -r line; do printf '%s\\n' \"$line\" >>'LINES'; done\n"
ASKS = '#!/bin/sh\nmetawsm forum signal --type guidance_request --question "v1 or v2?" >/dev/null\n'


def unseen_lab(folder: Path, script: str) -> Lab:
    """A lab whose daemon does not find out by itself what becomes of a session; TAKES is the shell for people."""
    takes = folder / "takes"
    takes.write_text(TAKES.replace("LINES", str(folder / "lines")))
    takes.chmod(0o755)
    policy = {"agent_profiles": [profile(folder, "line")], "health": {"check_seconds": 3600}}
    return Lab(folder, agents={"bob": script}, policy=policy, env={"SHELL": str(takes)})


def answered(lab: Lab, run_id: str) -> None:
    """Answer the agent, and wait until its answer has been dealt with."""
    lab.answer(run_id)
    jobs = "SELECT status FROM jobs WHERE kind = 'deliver_answer'"
    eventually(lambda: lab.rows(jobs) == [("done",)], timeout=30, interval=0.2)
    assert lab.run(run_id)["agents"][0]["state"] == "running"  # nothing but the delivery itself could know better


@pytest.mark.parametrize("mark", [None, "another run"])
def test_nothing_is_typed_into_a_session_of_somebody_else(tmp_path: Path, mark: str | None) -> None:
    """It has the name of the agent's session, and is a person's or another run's."""
    with unseen_lab(tmp_path, ASKS + "exec sleep 600\n") as lab:
        run_id = lab.start()
        session = lab.until(run_id, "awaiting_guidance")["agents"][0]["session"]
        # In one call: a server ends with its last session, and with it who comes at that moment.
        lab.tmux("kill-session", "-t", f"={session}", ";", "new-session", "-d", "-s", session, f"{tmp_path}/takes")
        if mark:
            lab.tmux("set-option", "-t", f"={session}:", "@metawsm", mark)
        assert lab.sessions() == [session]
        answered(lab, run_id)
        assert not (tmp_path / "lines").exists() and receipts(lab, run_id) == []


def test_nothing_is_typed_into_the_shell_that_an_agent_leaves(tmp_path: Path) -> None:
    """Its program has ended: what is in front is for people, and would run the line."""
    with unseen_lab(tmp_path, ASKS) as lab:
        run_id = lab.start()
        session = lab.until(run_id, "awaiting_guidance")["agents"][0]["session"]
        shown = ("capture-pane", "-p", "-t", f"={session}:")
        eventually(lambda: "the agent has ended" in lab.tmux(*shown).stdout, timeout=10)
        answered(lab, run_id)
        assert not (tmp_path / "lines").exists() and receipts(lab, run_id) == []
