"""The walkthrough of a run, as a person starts it: what it plays, what it refuses, and that nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.pages import path_with
from tests.support.runs_lab import git
from tests.support.services import program
from tests.support.shell import ROOT, environment

SCRIPT = ROOT / "docs" / "runs-walkthrough.sh"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(pyz: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the script in a folder of the test, its output in `told`; no socket of tmux is left in the end."""
    program("git")
    program("tmux")

    sockets = tempfile.mkdtemp(prefix="mwsm-")

    def begin(folder: Path, *arguments: str | Path, **more: str) -> subprocess.Popen[str]:
        env = (
            environment(
                PATH=path_with(), METAWSM_PYZ=str(pyz), METAWSM_SERVER="http://127.0.0.1:1", TMUX_TMPDIR=sockets
            )
            | more
        )
        del env["PYTHONPATH"]
        with (tmp_path / "told").open("w") as told:
            return subprocess.Popen([SCRIPT, *arguments], cwd=folder, env=env, stdout=told, stderr=told, text=True)

    yield begin
    assert list(Path(sockets).glob("*/*")) == []
    shutil.rmtree(sockets)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "empty folder"
    folder.mkdir()
    return folder


def left(place: Path) -> list[str]:
    """The processes that have the folder in their command line: the tmux server and the agent would."""
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(place) in line]


def daemon_lives(place: Path) -> bool:
    """Whether somebody answers for the folder's lock."""
    log = (place / "serve.log").read_text()
    return "stopped" not in log


def test_it_plays_a_run_to_its_end(start: Start, place: Path, tmp_path: Path) -> None:
    """The agent asks and is answered, both repositories have its work, and neither process nor workspace is left."""
    assert start(tmp_path, place).wait(120) == 0, (tmp_path / "told").read_text()
    told = (tmp_path / "told").read_text()
    shown = re.findall(r"^\$ metawsm\.pyz (\w+)", told, re.MULTILINE)
    assert shown == [
        "bootstrap", "watch", "status", "forum", "watch", "status", "merge", "merge", "close", "cleanup",
    ]  # fmt: skip
    assert "      Which greeting do you want for MET-1?\n" in told
    states = re.findall(r"^run-\S+  (\w+), bootstrap round 1 of MET-1", told, re.MULTILINE)
    assert states[-3:] == ["completed", "closed", "closed"] and "awaiting_guidance" in states
    for name in ("api", "web"):
        assert f"repos/{name}: Good morning\n" in told
        assert git(place / "repos" / name, "status", "--porcelain") == ""
    assert list((place / ".metawsm" / "workspaces").iterdir()) == []
    assert not daemon_lives(place)
    assert left(place) == []


def test_it_ends_what_it_has_started_when_it_is_stopped(start: Start, place: Path, tmp_path: Path) -> None:
    """Broken off in the middle, neither its daemon nor its agent goes on."""
    walk = start(place)
    eventually(lambda: "\nGuidance:" in (tmp_path / "told").read_text(), timeout=60)
    walk.send_signal(signal.SIGTERM)
    assert walk.wait(60) == 130
    assert not daemon_lives(place)
    assert left(place) == []


def test_it_touches_nothing_where_it_cannot_begin(start: Start, place: Path, tmp_path: Path) -> None:
    """A folder that is not empty, a machine without tmux, a program that is not there: said, and nothing made."""
    (place / "mine").touch()
    assert start(place).wait(60) == 1
    assert "is not empty; name an empty folder" in (tmp_path / "told").read_text()
    assert os.listdir(place) == ["mine"]
    (place / "mine").unlink()
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(program("git"))
    assert start(place, PATH=str(tools)).wait(60) == 1
    assert "needs tmux on PATH" in (tmp_path / "told").read_text()
    assert start(place, METAWSM_PYZ="/nowhere/metawsm.pyz").wait(60) == 1
    assert "no metawsm.pyz: build it" in (tmp_path / "told").read_text()
    assert os.listdir(place) == []
