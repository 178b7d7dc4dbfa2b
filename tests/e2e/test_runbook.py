"""The runbook's healthy way, typed in from the page: bring-up checklist and operational verification."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.pages import blocks
from tests.support.raw_ws import RawWs
from tests.support.runbook import PAGE, Desk, new_desk

RUN = [f"run.state.changed {state}" for state in (
    "planning", "running", "awaiting_guidance", "running", "completed", "closing", "closed",
)]  # fmt: skip
"""What becomes of the run, in order."""

THREADS = [
    "forum.thread.opened",
    "forum.thread.opened",
    "forum.control.signal",
    "forum.state.changed",
    "forum.control.signal",
    "forum.state.changed",
    "forum.control.signal",
    "forum.control.signal",
    "forum.post.added",
    "forum.state.changed",
    "forum.thread.closed",
]
"""What happens on the question's thread and on the agent's control thread, in order."""

RECEIPTS = ("forum.post.delivered", "forum.post.read")
"""What the agent's shell may have had time for before the run was closed."""


@pytest.fixture
def desk(pyz: Path, tmp_path: Path) -> Iterator[Desk]:
    """A project folder with a git repository; the artifact and Debian's Redis on PATH; ports of our own."""
    made = new_desk(pyz, tmp_path)
    yield made
    made.close()


def test_the_page_as_a_script(desk: Desk) -> None:
    """Every command of the healthy way succeeds in the page's order, and shows what the page says it shows."""
    shown: list[str] = []
    with desk.terminal() as terminal:
        for block in blocks(PAGE):
            if block.how.startswith("terminal="):
                desk.open(block)
            elif block.how == "run":
                shown.append(terminal.run(block.text)[1])
    policy, checks, begun, asking, signals, answered, closed, health, status, redis, database, everything, backup = (
        shown
    )
    assert policy.startswith(".metawsm/policy.json")
    assert [fact["status"] for fact in _values(checks)[:1]] == ["ok"]
    assert _values(checks)[1] == {"stats": [], "sla": {"waiting_count": 0, "breached_count": 0}}
    assert re.search(r"^run-\S+  running, bootstrap round 1 of METAWSM-002$", begun, re.MULTILINE)
    _check_asking(asking)
    states = re.findall(r"^fctrl-run-\S+-agent  (\w+),", signals, re.MULTILINE)
    assert states == ["waiting_human", "answered", "answered", "answered"]
    assert "answered, normal, 2 posts: Question" in answered
    assert [line.split()[1] for line in closed.splitlines() if line.startswith("run-")] == ["closed,", "closed,"]
    assert re.search(r"^}\nok\ntrue\n\d\nhealthy +yes$", health, re.MULTILINE)  # the newest may be on its way
    _check_status(status)
    _check_redis(redis)
    _check_database(database)
    _check_everything(everything)
    _check_backup(backup)
    _check_streams(desk)
    _check_outside(desk)


def _values(text: str) -> list[Any]:
    """The JSON values in a text that holds nothing else."""
    values, place, decoder = [], 0, json.JSONDecoder()
    while place < len(text.rstrip()):
        value, place = decoder.raw_decode(text, place)
        values.append(value)
        place += len(text[place:]) - len(text[place:].lstrip())
    return values


def _check_asking(text: str) -> None:
    """The question is told, listed and shown with its body, each time under the same id."""
    asked, head, row, title, facts, *post = text.splitlines()
    thread_id = asked.split()[0]
    assert re.fullmatch(r"fthr-[0-9a-f-]{36}", thread_id)
    assert head.split()[:2] == ["THREAD", "STATE"]
    assert row.split()[:3] == [thread_id, "new", "normal"]
    assert title == "Question"
    assert facts.startswith(f"{thread_id}  new  normal  METAWSM-002")
    assert post[-1] == "    Need guidance"


def _check_status(text: str) -> None:
    """The run is closed and says what it was; its events stand below, to the closing."""
    assert re.search(r"^Status:   closed for ", text, re.MULTILINE)
    assert "  done criteria: tests pass\n" in text
    assert _happened(text.partition("\n#")[2])[0] == RUN


def _happened(text: str) -> tuple[list[str], list[str]]:
    """The states of the run, and the events of threads but those of receipts, in lines of `watch`."""
    lines = re.findall(r"(run\.state\.changed|forum\.\S+) [^\n]*?(?:-> (\w+)[^\n]*)?$", text, re.MULTILINE)
    run = [f"{name} {state}" for name, state in lines if name.startswith("run.")]
    return run, [name for name, _ in lines if name.startswith("forum.") and name not in RECEIPTS]


def _check_redis(text: str) -> None:
    """One entry went through the command's stream; our group on the feed has read all events."""
    lines = text.splitlines()
    assert lines[lines.index("entries-added") + 1] == "1"
    assert '"title":"Question"' in text
    group = lines[lines.index("metawsm-forum.projections") :]
    assert int(group[group.index("entries-read") + 1]) > len(RUN + THREADS)
    assert group[group.index("lag") + 1] == "0"


def _check_database(text: str) -> None:
    """Everything is done, the log lists the newest events, each read model has had all, and jobs have ended."""
    lines = text.splitlines()
    done = re.fullmatch(r"done\|(\d+)", lines[0])
    events = [line.split("|") for line in lines if re.match(r"\d+\|[a-z.]+\|", line)]
    assert done is not None and len(events) == 20
    head = int(events[0][0])
    assert int(done[1]) > head
    names = ["agent_inbox", "search", "thread_stats", "thread_views"]
    assert [line for line in lines if line.split("|")[0] in names] == [f"{name}|{head}" for name in names]
    assert {line.split("|")[0] for line in lines[lines.index(f"thread_views|{head}") + 1 :]} <= {"done", "pending"}


def _check_everything(text: str) -> None:
    """The whole log is there, and the read models were made anew from all of it."""
    assert _happened(text) == (RUN, THREADS)
    last = re.findall(r"^#(\d+) ", text, re.MULTILINE)[-1]
    assert text.endswith(f"rebuilt from {last} events\n")


def _check_backup(text: str) -> None:
    """The backup that was made, with all events, is the one that is listed and the one that is found whole."""
    made = re.search(r"^2 threads, 7 posts, (\d+) events; .*\nin (\S+)$", text, re.MULTILINE)
    row = re.search(r"^(metawsm-\S+-e1-s(\d+)-\w+\.db) .* backup ", text, re.MULTILINE)
    assert made is not None
    assert row is not None
    assert row[2] == made[1]
    assert f"\n{made[2]}/{row[1]} is whole\n" in text
    assert f"\nevents             {made[1]}\n" in text


def _check_streams(desk: Desk) -> None:
    """`watch` has shown every event live, and a WebSocket client of another make gets the same ones."""
    log = desk.opened["watch"]
    eventually(lambda: _happened(log.written()) == (RUN, THREADS), timeout=10)
    with RawWs(int(desk.env["PORT"]), "/api/v1/forum/stream?cursor=0", Host="localhost") as client:
        hello = json.loads(client.receive_text())
        frame = json.loads(client.receive_text())
    head = hello["head_sequence"]
    assert hello["type"] == "hello"
    assert [event["sequence"] for event in frame["events"]] == list(range(1, head + 1))
    shown = [line.split()[2] for line in log.written().splitlines()]
    assert [event["envelope"]["event_type"] for event in frame["events"]] == shown


def _check_outside(desk: Desk) -> None:
    """The ticket's documents are merged, and neither a session nor a workspace is left."""
    (index,) = (desk.folder / "metawsm" / "ttmp").rglob("METAWSM-002--*/index.md")
    assert "Status: complete" in index.read_text()
    assert desk.tmux("list-sessions") == ""
    assert list((desk.folder / ".metawsm" / "workspaces").iterdir()) == []
