"""Files that an agent has put in the place of others: pipes, folders, links, and files without end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from metawsm.bus.outside import Exit
from metawsm.domain.errors import Obstructed, OutsideError
from metawsm.effects import file_lock, regular_file
from metawsm.effects.agent_program import takes_text
from metawsm.effects.git import GitProgram
from metawsm.effects.launcher import STATUS, PaneLauncher
from metawsm.effects.ticket_docs import MOST_ENTRIES, TicketDocs
from metawsm.effects.workspace import MOST_INSIDE, WorktreeWorkspaces
from metawsm.effects.wsm import WsmWorkspaces
from tests.support import repositories, sources
from tests.support.repositories import repository

DOCS = TicketDocs()
TODAY, AT = date(2026, 5, 4), datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
SECONDS = 40
Put = Callable[[Path], object]


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    """A read that waits for somebody to write would wait for ever."""

    def end(*_: object) -> None:
        raise AssertionError(f"it does not come back within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Documents with the ticket MET-1."""
    DOCS.ensure(tmp_path / "ttmp", "MET-1", "Fix the login", ["core"], TODAY)
    return tmp_path / "ttmp"


def huge(file: Path) -> None:
    """A file without end that takes no room on the disk."""
    file.touch()
    os.truncate(file, 3 << 30)


def socket_file(file: Path) -> None:
    """Where a program has listened."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(file))


STRANGE: list[Put] = [os.mkfifo, os.mkdir, huge, socket_file, lambda file: file.symlink_to("/etc/hostname")]
IDS = ["pipe", "folder", "huge", "socket", "link"]


@pytest.mark.parametrize("put", STRANGE, ids=IDS)
def test_a_file_that_was_replaced_is_named(tmp_path: Path, put: Put) -> None:
    """At once and with little memory; what a file of the usual kind holds is read, a missing one is missing."""
    file = tmp_path / "page"
    with pytest.raises(FileNotFoundError):
        regular_file.read(file)
    put(file)
    with pytest.raises(Obstructed, match=f"{file} is no file of at most 1 MiB: .*move it away"):
        regular_file.read(file)
    os.rename(file, tmp_path / "away")
    file.write_bytes(b"a\xff" + b"x" * (regular_file.MOST_BYTES - 2))
    assert regular_file.read(file)[:3] == "a\ufffdx"


@pytest.mark.parametrize("put", STRANGE[:3], ids=IDS[:3])
@pytest.mark.parametrize(
    ("page", "act"),
    [
        ("reference/99-operator-feedback.md", lambda root: DOCS.append_feedback(root, "MET-1", AT, "Shorter.")),
        ("index.md", lambda root: DOCS.close(root, "MET-1", "x", TODAY)),
        ("changelog.md", lambda root: DOCS.append_changelog(root, "MET-1", "", "x", TODAY)),
    ],
)
def test_no_page_holds_up_what_is_done_to_documents(root: Path, put: Put, page: str, act: Put) -> None:
    """It is named; with the page put back all is well, also where a pipe has the name of its draft."""
    folder = root / "2026" / "05" / "04" / "MET-1--fix-the-login"
    before = (folder / page).read_bytes() if (folder / page).exists() else None
    (folder / page).unlink(missing_ok=True)
    put(folder / page)
    with pytest.raises(Obstructed, match=f"{folder / page} is no file"):
        act(root)
    os.rename(folder / page, root.parent / "away")
    if before is not None:
        (folder / page).write_bytes(before)
    os.mkfifo((folder / page).with_name(f".{Path(page).name}.new"))
    act(root)
    assert (folder / page).read_bytes() != before


@pytest.mark.parametrize("put", STRANGE, ids=IDS)
def test_what_is_no_status_file_tells_nothing(tmp_path: Path, put: Put) -> None:
    """Neither how the program ended nor that it did; the next start makes a new one."""
    launcher = PaneLauncher(tmp_path / "bin", ["true"], "/bin/sh")
    launcher.prepare(tmp_path / "start", ("true",))
    put(tmp_path / "start" / STATUS)
    assert launcher.exit(tmp_path / "start") == Exit()


@pytest.mark.parametrize(
    "put", [os.mkfifo, huge, lambda file: file.write_bytes(b"\xff")], ids=["pipe", "huge", "bytes"]
)
def test_the_wrapper_is_put_back(tmp_path: Path, put: Put) -> None:
    """Whatever stands in its place."""
    launcher = PaneLauncher(tmp_path / "bin", ["true"], "/bin/sh")
    launcher.search_path()
    (tmp_path / "bin" / "metawsm").unlink()
    put(tmp_path / "bin" / "metawsm")
    launcher.search_path()
    assert (tmp_path / "bin" / "metawsm").read_text() == '#!/bin/sh\nexec true "$@"\n'


def test_a_program_that_is_a_pipe_takes_no_text(tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "agent", 0o755)
    (tmp_path / "agent").chmod(0o755)
    assert not takes_text("python3", str(tmp_path / "agent"), "")


@pytest.mark.parametrize("put", [os.mkfifo, huge], ids=["pipe", "huge"])
def test_a_pointer_that_is_none_is_somebodys_file(tmp_path: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder beside the checkouts stays; in the place of a checkout it bars, and goes by force."""
    repositories.own_settings(monkeypatch, tmp_path)
    repository(tmp_path / "code" / "api")
    workspaces = WorktreeWorkspaces(GitProgram(), tmp_path / "ws", [tmp_path / "code"])
    made = workspaces.create("met-1", ["api"], "task/x", "main")
    (made.path / "zzz").mkdir()
    put(made.path / "zzz" / ".git")
    found = workspaces.find("met-1")
    assert found is not None and found.checkouts["api"] == made.checkouts["api"]
    (made.path / "api" / ".git").unlink()
    os.mkfifo(made.path / "api" / ".git")
    with pytest.raises(Obstructed, match="api is no worktree of"):
        workspaces.delete("met-1")
    workspaces.delete("met-1", force=True)
    assert [path.name for path in made.path.iterdir()] == ["zzz"]


def test_a_crowded_workspace_bars(tmp_path: Path) -> None:
    """Nothing is looked for among thousands of folders that the run does not need."""
    workspaces = WorktreeWorkspaces(GitProgram(), tmp_path, [])
    for number in range(MOST_INSIDE + 1):
        (tmp_path / "met-1" / str(number)).mkdir(parents=True)
    with pytest.raises(Obstructed, match=f"{tmp_path / 'met-1'} has more than {MOST_INSIDE} entries"):
        workspaces.delete("met-1", force=True)


def test_a_search_without_end_is_given_up(root: Path) -> None:
    """Folders and files count alike."""
    for number in range(MOST_ENTRIES):
        os.mknod(root / "2026" / "05" / f"x{number}")
    with pytest.raises(Obstructed, match=f"{root} has more than {MOST_ENTRIES} files and folders"):
        DOCS.find(root, "MET-1")


CROWDED = """
from gevent import monkey
monkey.patch_all()
import sys
from pathlib import Path
import gevent
from metawsm.effects.git import GitProgram
from metawsm.effects.launcher import PaneLauncher
from metawsm.effects.ticket_docs import TicketDocs
from metawsm.effects.workspace import WorktreeWorkspaces

turns = 0

def others():
    global turns
    while True:
        gevent.sleep(0.001)
        turns += 1

root = Path(sys.argv[1])
place = root / sys.argv[2]
place.mkdir(parents=True)
for number in range(5000):
    (place / str(number)).mkdir()
gevent.spawn(others)
gevent.sleep(0)
before = turns
eval(sys.argv[3])
print(turns - before)
"""
SOURCE = "TicketDocs().ensure(root / 'a', 'MET-1', 'x', [], __import__('datetime').date(2026, 1, 1))"


@pytest.mark.parametrize(
    ("place", "act"),
    [
        ("ttmp/2026", "TicketDocs().find(root / 'ttmp', 'MET-1')"),
        ("agents/run-1/bob-1", "PaneLauncher(root, []).forget(root / 'agents')"),
        ("b/2026/01/01/MET-1--x", f"{SOURCE}, TicketDocs().seed(root / 'a', root / 'b', 'MET-1')"),
        ("ws/.metawsm", "WorktreeWorkspaces(GitProgram(), root, []).delete('ws')"),
    ],
)
def test_others_have_their_turn_while_a_crowded_folder_is_dealt_with(tmp_path: Path, place: str, act: str) -> None:
    """In the serving process, whose one thread everybody shares."""
    argv = [sys.executable, "-c", CROWDED, str(tmp_path), place, act]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=sources.ROOT)
    assert int(done.stdout) > 8


def test_notes_of_wsm_that_are_a_pipe_bar(tmp_path: Path) -> None:
    """They are not waited for."""
    os.mkfifo(tmp_path / "registry.json")
    with pytest.raises(Obstructed, match=r"registry\.json is no file"):
        WsmWorkspaces(GitProgram(), tmp_path).create("met-1", ["api"], "task/x", "main")


def test_a_lock_that_is_a_pipe_is_a_lock(tmp_path: Path) -> None:
    """It is not waited for either; a link in its place leads nowhere."""
    os.mkfifo(tmp_path / "lock")
    with file_lock.held(tmp_path / "lock", 1):
        pass
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutsideError, match="cannot be made"), file_lock.held(tmp_path / "lock", 1):
        pass
    assert not (tmp_path / "elsewhere").exists()
