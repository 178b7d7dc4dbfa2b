"""What runs inside a pane, in the real tmux, under the shells that may be /bin/sh."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from metawsm.bus.outside import Exit, shell_command
from metawsm.domain.errors import Obstructed
from metawsm.effects.launcher import STATUS, PaneLauncher
from metawsm.effects.tmux import TmuxProgram
from tests.support import tmux_server
from tests.support.eventually import eventually

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[TmuxProgram]:
    """A server of this test's own."""
    with tmux_server.socket(tmp_path) as socket:
        yield TmuxProgram(socket)


@pytest.fixture
def launcher(tmp_path: Path) -> PaneLauncher:
    """With a shell afterwards that has no prompt of this machine."""
    return PaneLauncher(
        tmp_path / "bin", [sys.executable, "-c", "import sys; print('called', sys.argv[1:])"], "/bin/sh"
    )


def _start(
    tmux: TmuxProgram, launcher: PaneLauncher, folder: Path, command: Sequence[str], prompt: str = "", shell: str = "sh"
) -> None:
    argv = launcher.prepare(folder, command, prompt)
    env = {"PATH": launcher.search_path()}
    tmux.start("a", folder.parent, env, [shutil.which(shell) or shell, *argv[1:]])


def _programs_of(session: int) -> list[str]:
    """The names of the living processes of a terminal session."""
    told = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().partition("(")[2].rpartition(")")
            if rest.split()[3] == str(session) and rest.split()[0] != "Z":
                told.append(name)
    return told


def _ended(launcher: PaneLauncher, folder: Path) -> Exit:
    eventually(lambda: launcher.exit(folder).ended is not None)
    return launcher.exit(folder)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("command", "code"),
    [(("true",), 0), (("sh", "-c", "exit 7"), 7), (("no-such-program",), 127), (("sh", "-c", "kill -9 $$"), 137)],
)
def test_the_exit_code_is_written_down(
    tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path, shell: str, command: tuple[str, ...], code: int
) -> None:
    """However the program ends; and the pane stays open with a shell that works."""
    _start(tmux, launcher, tmp_path / "start", command, shell=shell)
    end = _ended(launcher, tmp_path / "start")
    assert end.code == code
    assert end.started is not None
    assert end.ended is not None
    assert 0 <= end.ended - end.started < 5
    eventually(lambda: f"exit code {code}; this shell is for looking around" in tmux.capture("a", 50))
    eventually(lambda: tmux.capture("a", 50).endswith(("#", "$")))
    assert tmux.type_line("a", "echo still $((40 + 2))")
    assert eventually(lambda: "still 42" in tmux.capture("a", 50))


@pytest.mark.parametrize("shell", SHELLS)
def test_while_it_runs_the_agent_is_in_front(
    tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path, shell: str
) -> None:
    """Tmux names the agent's program; it is started and has not ended."""
    _start(tmux, launcher, tmp_path / "start", ("sleep", "100"), shell=shell)
    assert eventually(lambda: tmux_server.in_front(tmux, "a") == "sleep")
    seen = launcher.exit(tmp_path / "start")
    assert (seen.code, seen.ended) == (None, None)
    assert seen.started is not None


@pytest.mark.parametrize("shell", SHELLS)
def test_ctrl_c_ends_the_agent_alone(tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path, shell: str) -> None:
    """Its end is written down, not as a success; Ctrl-Z before it stops nothing."""
    _start(tmux, launcher, tmp_path / "start", ("sleep", "100"), shell=shell)
    eventually(lambda: tmux_server.in_front(tmux, "a") == "sleep")
    tmux._tell("send-keys", "-t", "=a:", "C-z")
    time.sleep(0.3)
    assert launcher.exit(tmp_path / "start").ended is None
    tmux._tell("send-keys", "-t", "=a:", "C-c")
    assert _ended(launcher, tmp_path / "start").code in {1, 130}
    assert tmux.has("a")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_killed_session_is_no_known_end(
    tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path, shell: str
) -> None:
    """Whoever killed it, the agent ends; it was started, and nobody can say how it would have ended."""
    _start(tmux, launcher, tmp_path / "start", ("sleep", "100"), shell=shell)
    eventually(lambda: tmux_server.in_front(tmux, "a") == "sleep")
    leader = tmux.panes()["a"].pid
    assert sorted(_programs_of(leader)) == sorted([shell, "sleep"])
    tmux._tell("kill-session", "-t", "=a")
    eventually(lambda: _programs_of(leader) == [])
    seen = launcher.exit(tmp_path / "start")
    assert (seen.code, seen.ended) == (None, None)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_the_agent_has_not_read_is_not_for_the_shell(
    tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path, shell: str
) -> None:
    """A text pasted into an agent that ends without reading it is thrown away, not run."""
    script = 'while [ ! -e "$0" ]; do sleep 0.05; done'
    _start(tmux, launcher, tmp_path / "start", ("sh", "-c", script, str(tmp_path / "go")), shell=shell)
    eventually(lambda: tmux_server.in_front(tmux, "a") == "sh" and launcher.exit(tmp_path / "start").started)
    assert tmux.paste("a", f"touch {tmp_path}/harm\ntouch {tmp_path}/harm2")
    (tmp_path / "go").touch()
    _ended(launcher, tmp_path / "start")
    eventually(lambda: tmux.capture("a", 50).endswith(("#", "$")))
    assert tmux.type_line("a", "echo a working shell")
    eventually(lambda: tmux.capture("a", 50).count("a working shell") == 2)
    assert list(tmp_path.glob("harm*")) == []


def test_a_prompt_arrives_whole_as_the_last_argument(tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path) -> None:
    """Longer than tmux takes, with everything a shell would read in it."""
    prompt = 'it\'s $(touch harm) `id` "q" \\ \n-n second;\n' + "ä" * 20_000
    script = "import sys; open('got', 'w').write(repr(sys.argv[1:]))"
    _start(tmux, launcher, tmp_path / "start", (sys.executable, "-c", script, "first"), prompt)
    assert _ended(launcher, tmp_path / "start").code == 0
    assert (tmp_path / "got").read_text() == repr(["first", prompt])
    with pytest.raises(Obstructed, match="more than the 100000 that fit"):
        launcher.prepare(tmp_path / "start", ("true",), "x" * 100_001)


def test_a_command_line_of_the_policy_is_for_a_shell(tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path) -> None:
    """With pipes and variables, as its writer expects."""
    _start(tmux, launcher, tmp_path / "start", shell_command('X=5; echo $((X * 2)) | cat >got; exit "$X"'))
    assert _ended(launcher, tmp_path / "start").code == 5
    assert (tmp_path / "got").read_text() == "10\n"


def test_metawsm_is_found_in_the_pane(
    tmux: TmuxProgram, launcher: PaneLauncher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name, with its arguments, by the agent and in the shell; nobody else can read or change the wrapper."""
    monkeypatch.setenv("METAWSM_TOKEN", "secret of the daemon")
    _start(tmux, launcher, tmp_path / "start", shell_command("metawsm a 'b c' >got; env >>got"))
    _ended(launcher, tmp_path / "start")
    assert (tmp_path / "got").read_text().splitlines()[0] == "called ['a', 'b c']"
    assert "secret of the daemon" not in (tmp_path / "got").read_text()
    assert (tmp_path / "bin" / "metawsm").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "bin").stat().st_mode & 0o777 == 0o700
    again = PaneLauncher(tmp_path / "bin", ["echo", "other; than"])
    again.search_path()
    assert "echo 'other; than'" in (tmp_path / "bin" / "metawsm").read_text()


def test_nothing_known_is_not_zero(launcher: PaneLauncher, tmp_path: Path) -> None:
    """Missing, empty and torn status files."""
    folder = tmp_path / "start"
    assert launcher.exit(folder) == Exit()
    launcher.prepare(folder, ("true",))
    for text in ("", "code", "code \nended x\n", "\udcff\0"):
        (folder / STATUS).write_bytes(os.fsencode(text))
        assert launcher.exit(folder) == Exit()
    (folder / STATUS).write_text(f"started 5\nended {'9' * 19}\ncode 9999\ncode {'9' * 5000}\n")
    assert launcher.exit(folder) == Exit(started=5)
    (folder / STATUS).write_text("started 5\nended 9\ncode 0\n")
    assert launcher.exit(folder) == Exit(0, 5, 9)
    launcher.prepare(folder, ("true",))
    assert launcher.exit(folder) == Exit()
    for _ in range(2):
        launcher.forget(folder)
    assert not folder.exists()
