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

EVENTS_OF_THE_PAGE = [
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
]


@pytest.fixture
def desk(pyz: Path, tmp_path: Path) -> Iterator[Desk]:
    """An empty project folder; the artifact and Debian's Redis on PATH; ports of our own."""
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
    policy, checks, asking, signals, answered, health, redis, database, everything, backup = shown
    assert policy.startswith(".metawsm/policy.json")
    assert [fact["status"] for fact in _values(checks)[:1]] == ["ok"]
    assert _values(checks)[1] == {"stats": [], "sla": {"waiting_count": 0, "breached_count": 0}}
    _check_asking(asking)
    assert re.findall(r"fctrl-run-id-agent  (\w+),", signals) == ["waiting_human", "answered", "answered", "answered"]
    assert "answered, normal, 2 posts: Question" in answered
    assert health.split("}\nok\ntrue\n0\n")[1].startswith("healthy          True")
    _check_redis(redis)
    _check_database(database)
    assert [line.split()[2] for line in everything.splitlines()[:10]] == EVENTS_OF_THE_PAGE
    assert everything.endswith("rebuilt from 10 events\n")
    _check_backup(backup)
    _check_streams(desk)


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


def _check_redis(text: str) -> None:
    """One entry went through the command's stream; our group on the feed has read all ten events."""
    lines = text.splitlines()
    assert lines[lines.index("entries-added") + 1] == "1"
    assert '"title":"Question"' in text
    group = lines[lines.index("metawsm-forum.projections") :]
    assert group[group.index("entries-read") + 1] == "10"
    assert group[group.index("lag") + 1] == "0"


def _check_database(text: str) -> None:
    """Six commands and ten events are done, the log lists the events, and each read model has had them all."""
    lines = text.splitlines()
    assert lines[0] == "done|16"
    assert [line.split("|")[1] for line in reversed(lines[1:11])] == EVENTS_OF_THE_PAGE
    assert sorted(lines[11:]) == ["agent_inbox|10", "search|10", "thread_stats|10", "thread_views|10"]


def _check_backup(text: str) -> None:
    """The backup that was made, with all ten events, is the one that is listed and the one that is found whole."""
    made = re.search(r"^2 threads, 7 posts, 10 events; .*\nin (\S+)$", text, re.MULTILINE)
    row = re.search(r"^(metawsm-\S+-e1-s10-\w+\.db) .* backup ", text, re.MULTILINE)
    assert made is not None
    assert row is not None
    assert f"\n{made[1]}/{row[1]} is whole\n" in text
    assert "\nevents             10\n" in text


def _check_streams(desk: Desk) -> None:
    """`watch` has shown every event live, and a WebSocket client of another make gets the same ones."""
    log = desk.opened["watch"]
    eventually(lambda: len(log.written().splitlines()) == 10, timeout=10)
    assert [line.split()[2] for line in log.written().splitlines()] == EVENTS_OF_THE_PAGE
    with RawWs(int(desk.env["PORT"]), "/api/v1/forum/stream?cursor=0", Host="localhost") as client:
        hello = json.loads(client.receive_text())
        frame = json.loads(client.receive_text())
    assert (hello["type"], hello["head_sequence"]) == ("hello", 10)
    assert [event["envelope"]["event_type"] for event in frame["events"]] == EVENTS_OF_THE_PAGE
    assert [event["sequence"] for event in frame["events"]] == list(range(1, 11))
