"""The README's tour, typed in from the page in a fresh copy of the checkout: from nothing to an answered question."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import redis_tcp
from tests.support.eventually import eventually
from tests.support.pages import Running, Terminal, blocks, path_with
from tests.support.shell import ROOT

THREAD = re.compile(r"fthr-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT"), ""),
    (re.compile(r"\d\d:\d\d:\d\d"), "<time>"),
    (re.compile(r" \d+s +"), " <age> "),
)
CHECKOUT = ("build.py", "metawsm", "metawsm_start", "requirements", "scripts")


def transcripts(how: str) -> list[tuple[str, str]]:
    """(command, output) of every step in the console blocks of one kind, in order."""
    text = "".join(block.text for block in blocks("README.md") if (block.language, block.how) == ("console", how))
    steps = [step.partition("\n") for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    return [(command, output) for command, _, output in steps]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the build is made of, in a folder of their own, without anything that was built."""
    for name in CHECKOUT:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy2(source, target)
    return tmp_path


@pytest.fixture
def env(checkout: Path) -> dict[str, str]:
    """The environment of both terminals: a port of our own, the bundled server, a cache that nothing has filled."""
    return {
        "PATH": path_with(),
        "METAWSM_SERVER": f"http://127.0.0.1:{redis_tcp.free_port()}",
        "METAWSM_FORUM_REDIS_URL": "embedded://",
        "METAWSM_CACHE": str(checkout / "build" / "cache"),
        "HOME": os.environ["HOME"],  # packages are installed, with the settings that are needed for it here
    }


@pytest.fixture
def daemon(checkout: Path, env: dict[str, str]) -> Iterator[Running]:
    """The first terminal of the tour. Only the address is ours instead of the default one."""
    [(command, promised)] = transcripts("daemon")
    address = env["METAWSM_SERVER"].removeprefix("http://")
    running = Running(f"{command} serve --addr {address}", checkout, env, checkout / "daemon.log")
    assert "serving http://127.0.0.1:3001, database .metawsm/metawsm.db" in promised
    try:
        expected = f"INFO metawsm: serving http://{address}, database .metawsm/metawsm.db"
        eventually(lambda: expected in running.written(), timeout=120)
        yield running
    finally:
        running.interrupt()


def test_from_a_clone_to_an_answered_question(daemon: Running, checkout: Path, env: dict[str, str]) -> None:
    """Every command of the tour works as typed, and shows what the page shows but for ids, times and ages."""
    assert daemon.written()
    [sample] = set(THREAD.findall("".join(output for _, output in transcripts("tour"))))
    thread_id = sample
    with Terminal(checkout, env) as terminal:
        for command, promised in transcripts("tour"):
            _, shown = terminal.run(command.replace(sample, thread_id))
            thread_id = next(iter(THREAD.findall(shown)), thread_id)
            assert _lasting(shown) == _lasting(promised.replace(sample, thread_id)), command


def _lasting(text: str) -> list[str]:
    """The lines without what differs from run to run."""
    for pattern, mark in VARYING:
        text = pattern.sub(mark, text)
    return [line.rstrip() for line in text.strip().splitlines()]
