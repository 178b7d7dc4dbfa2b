"""The page on scaling: another program reads events and sends commands with nothing but Redis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from metawsm.client.http import Client
from tests.support.eventually import eventually
from tests.support.pages import blocks
from tests.support.runbook import Desk, new_desk

PAGE = "docs/scaling.md"


@pytest.fixture
def desk(pyz: Path, tmp_path: Path) -> Iterator[Desk]:
    """A project folder with a daemon and a Redis."""
    made = new_desk(pyz, tmp_path)
    made.start("redis", "daemon")
    yield made
    made.close()


def test_reading_along_and_sending(desk: Desk) -> None:
    """The group gets the event that was there; the command is done once, though it is sent twice."""
    read, send = (block.text for block in blocks(PAGE) if block.how == "run")
    client = Client(f"http://127.0.0.1:{desk.env['PORT']}", None)
    client.call("POST", "/forum/threads", None, {"ticket": "MET-1", "title": "First", "body": "b"})
    with desk.terminal() as terminal:
        told = terminal.run(read)[1]
        assert "1-0" in told.split()
        assert '"event_type":"forum.thread.opened"' in told
        terminal.run(send * 2)

    def command() -> str:
        status: str = client.call("GET", "/forum/commands/reports-1")[1]["command"]["status"]
        return status

    def titles() -> list[str]:
        return [thread["title"] for thread in client.call("GET", "/forum/threads")[1]["threads"]]

    eventually(lambda: command() == "applied")
    eventually(lambda: len(titles()) == 2)  # a command is applied some milliseconds before lists show what it did
    assert titles() == ["From another program", "First"]
