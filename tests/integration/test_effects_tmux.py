"""The port Tmux over the real tmux, on a socket of its own."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from metawsm.domain.errors import Obstructed, OutsideError, ProgramFailed
from metawsm.effects.tmux import TmuxProgram
from tests.support import tmux_server
from tests.support.eventually import eventually

READER = "import sys\nfor line in sys.stdin: print('got', repr(line), flush=True)"


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[str]:
    """Where the server of this test listens."""
    with tmux_server.socket(tmp_path) as path:
        yield path


@pytest.fixture
def tmux(socket: str) -> TmuxProgram:
    """The adapter on that socket."""
    return TmuxProgram(socket)


def _raw(socket: str, *args: str) -> str:
    return subprocess.run(["tmux", "-S", socket, *args], capture_output=True, text=True, check=True).stdout


def test_without_a_server_there_is_nothing(tmux: TmuxProgram) -> None:
    """No session, no pane, nothing to end: none of it is an error."""
    assert tmux.version()[0].isdigit()
    assert tmux.panes() == {}
    assert not tmux.has("a")
    assert tmux_server.in_front(tmux, "a") == ""
    tmux.kill("a")
    assert not tmux.type_line("a", "echo")
    assert not tmux.paste("a", "echo")


def test_a_session_runs_its_program_with_what_it_was_given(tmux: TmuxProgram, tmp_path: Path) -> None:
    """Folder, variables and arguments arrive as they are, whatever characters tmux or a shell would read in them."""
    folder = tmp_path / "a#{pid} #S;"
    folder.mkdir()
    text = 'it\'s #{session_name} $(id) "q";'
    env = {"METAWSM_RUN_ID": "run-1;", "PATH": f"{tmp_path}/first:/usr/bin:/bin"}
    script = 'printf "%s\\n" "$PWD" "$METAWSM_RUN_ID" "$PATH" "$@" >"$0"; exec sleep 100'
    tmux.start("agent-1", folder, env, ["sh", "-c", script, str(tmp_path / "out"), text, ";", "end\\;"])
    eventually(lambda: (tmp_path / "out").read_text().splitlines()[5:])
    assert (tmp_path / "out").read_text().splitlines() == [str(folder), "run-1;", env["PATH"], text, ";", "end\\;"]


def test_a_single_argument_is_not_read_by_a_shell(tmux: TmuxProgram, tmp_path: Path) -> None:
    """A program without arguments is started as such."""
    program = tmp_path / "a b; c"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexec sleep 100\n")
    program.chmod(0o755)
    tmux.start("a", tmp_path, {}, [str(program)])
    assert eventually((tmp_path / "ran").exists)


def test_what_can_be_asked_about_panes(tmux: TmuxProgram, tmp_path: Path) -> None:
    """All sessions at once, and each by its exact name."""
    tmux.start("agent-1", tmp_path, {}, ["sleep", "100"], "run-1~bob~p")
    tmux.start("agent-10", tmp_path, {}, ["sh", "-c", "sleep 100; true"])
    eventually(lambda: tmux_server.in_front(tmux, "agent-1") == "sleep")
    panes = tmux.panes()
    assert set(panes) == {"agent-1", "agent-10"}
    one = panes["agent-1"]
    assert (one.command, one.dead, one.width, one.height) == ("sleep", False, 200, 50)
    assert abs(one.activity - time.time()) < 10
    assert one.pid > 1
    assert (one.owner, panes["agent-10"].owner) == ("run-1~bob~p", "")
    assert not tmux.has("agent")
    assert tmux.has("agent-1")


def test_output_moves_the_activity(tmux: TmuxProgram, tmp_path: Path) -> None:
    """Also while nobody is attached."""
    tmux.start("a", tmp_path, {}, ["sh", "-c", "sleep 2.2; echo out; exec sleep 100"])
    before = tmux.panes()["a"].activity
    assert eventually(lambda: tmux.panes()["a"].activity > before, timeout=8)


def test_what_cannot_begin_is_told(tmux: TmuxProgram, tmp_path: Path) -> None:
    """A taken name, a missing folder, a name that tmux would change, a command that is too long for it."""
    tmux.start("a", tmp_path, {}, ["sleep", "100"])
    with pytest.raises(Obstructed, match="session a already"):
        tmux.start("a", tmp_path, {}, ["sleep", "100"])
    with pytest.raises(Obstructed, match="gone is not there"):
        tmux.start("b", tmp_path / "gone", {}, ["sleep", "100"])
    with pytest.raises(Obstructed, match="no name for a session"):
        tmux.start("b.c:d", tmp_path, {}, ["sleep", "100"])
    with pytest.raises(ProgramFailed, match="command too long"):
        tmux.start("b", tmp_path, {"X": "x" * 20_000}, ["sleep", "100"])
    assert set(tmux.panes()) == {"a"}


def test_a_name_or_a_path_names_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up where the user's tmux looks."""
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    with tmux_server.socket(tmp_path):
        named = TmuxProgram("metawsm-test")
        named.start("a", tmp_path, {}, ["sleep", "100"])
        try:
            (place,) = tmp_path.glob("tmux-*/metawsm-test")
            assert set(TmuxProgram(str(place)).panes()) == {"a"}
        finally:
            named.kill("a")
        assert named.panes() == {}


def test_sessions_of_others_do_not_disturb(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """Strange names, split windows: the first pane of our session is ours."""
    tmux.start("a", tmp_path, {}, ["sleep", "100"])
    _raw(socket, "split-window", "-d", "-t", "=a:", "sh", "-c", "exec cat")
    _raw(socket, "new-session", "-d", "-s", "a b | =x", "sh", "-c", "exec cat")
    eventually(lambda: tmux.panes()["a b | =x"].command == "cat")
    assert tmux.panes()["a"].command == "sleep"


def test_whose_a_session_is(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """As it was marked; one that somebody else began has no mark."""
    tmux.start("a", tmp_path, {}, ["sleep", "100"], "run-1~bob~p")
    _raw(socket, "new-session", "-d", "-s", "b", "sleep", "100")
    assert [tmux.owner(name) for name in ("a", "b", "c")] == ["run-1~bob~p", "", None]


def test_the_name_of_a_program_imitates_no_pane(tmux: TmuxProgram, tmp_path: Path) -> None:
    """A program can call itself anything, also several lines that look like panes of others."""
    forged = "x\n0:1:99999999999:1:1:b:run-1~bob~p:y\nz"
    tmux.start("a", tmp_path, {}, ["bash", "-c", 'exec -a "$1" sleep 100', "bash", forged])
    eventually(lambda: tmux.panes()["a"].command == "x")
    assert set(tmux.panes()) == {"a"}


def test_ending_and_beginning_again_at_once(tmux: TmuxProgram, tmp_path: Path) -> None:
    """Also when the session was the server's only one, so that the server ends as well."""
    for _ in range(10):
        tmux.start("a", tmp_path, {}, ["sleep", "100"])
        tmux.kill("a")
        assert not tmux.has("a")


def test_an_agent_that_ignores_the_end_of_its_terminal_is_killed(tmux: TmuxProgram, tmp_path: Path) -> None:
    """It would work on in the same folder beside its successor."""
    script = 'trap "" HUP TERM INT; echo $$ >"$0"; while :; do sleep 0.1; done'
    tmux.start("a", tmp_path, {}, ["sh", "-c", script, str(tmp_path / "pid")])
    pid = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    tmux.kill("a")
    state = Path(f"/proc/{pid}/stat")
    eventually(lambda: not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_line_is_typed_seen_and_entered(tmux: TmuxProgram, tmp_path: Path) -> None:
    """The program in front gets it once, semicolons included."""
    tmux.start("a", tmp_path, {}, ["python3", "-c", READER])
    eventually(lambda: tmux_server.in_front(tmux, "a").startswith("python"))
    assert tmux.type_line("a", "metawsm forum inbox;")
    assert tmux.type_line("a", "metawsm forum inbox;")
    assert eventually(lambda: tmux.capture("a", 50).count("got 'metawsm forum inbox;\\n'") == 2)


def test_a_line_that_does_not_appear_is_not_entered(tmux: TmuxProgram, tmp_path: Path) -> None:
    """A program that shows nothing of what is typed gets nothing, and what was typed is taken back."""
    tmux.start("a", tmp_path, {}, ["sh", "-c", 'stty -echo; exec python3 -c "$0"', READER])
    eventually(lambda: tmux_server.in_front(tmux, "a").startswith("python"))
    assert not tmux.type_line("a", "metawsm forum inbox")
    tmux.paste("a", "next")
    assert eventually(lambda: tmux.capture("a", 50)) == "got 'next\\n'"


def test_nobody_is_disturbed_while_scrolling(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """In copy mode keys would mean something else."""
    tmux.start("a", tmp_path, {}, ["python3", "-c", READER])
    eventually(lambda: tmux_server.in_front(tmux, "a").startswith("python"))
    _raw(socket, "copy-mode", "-t", "=a:")
    assert not tmux.type_line("a", "line")
    assert not tmux.paste("a", "text")
    _raw(socket, "send-keys", "-t", "=a:", "-X", "cancel")
    assert tmux.capture("a", 50) == ""


def test_half_a_line_is_not_run_with_ours(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """What somebody has left in the line of input is erased, before a line as before a paste."""
    tmux.start("a", tmp_path, {}, ["sh", "-c", 'printf "prompt: "; exec python3 -c "$0"', READER])
    eventually(lambda: tmux_server.in_front(tmux, "a").startswith("python"))
    _raw(socket, "send-keys", "-t", "=a:", "-l", "rm -rf ")
    eventually(lambda: "rm -rf" in tmux.capture("a", 50))
    assert tmux.type_line("a", "metawsm forum inbox")
    eventually(lambda: "got" in tmux.capture("a", 50))
    _raw(socket, "send-keys", "-t", "=a:", "-l", "git push ")
    eventually(lambda: "git push" in tmux.capture("a", 50))
    assert tmux.paste("a", "text")
    eventually(lambda: r"'text\n'" in tmux.capture("a", 50))
    assert re.findall(r"got ('.*')", tmux.capture("a", 50)) == [r"'metawsm forum inbox\n'", r"'text\n'"]


def test_nobody_is_disturbed_while_typing(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """Somebody has attached to the session and pressed a key just now; when they are gone, it is ours again."""
    tmux.start("a", tmp_path, {}, ["python3", "-c", READER])
    eventually(lambda: tmux_server.in_front(tmux, "a").startswith("python"))
    person, screen = pty.openpty()
    attach = ["tmux", "-S", socket, "attach", "-t", "=a"]
    env = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(attach, stdin=screen, stdout=screen, stderr=screen, env=env) as client:
        try:
            eventually(lambda: _raw(socket, "list-clients"))
            os.write(person, b"git pu")
            eventually(lambda: "git pu" in tmux.capture("a", 50))
            assert not tmux.type_line("a", "line")
            assert not tmux.paste("a", "text")
            assert tmux.capture("a", 50) == "git pu"
        finally:
            client.terminate()
    os.close(person)
    os.close(screen)
    assert tmux.type_line("a", "line")


def test_pastes_at_one_time_stay_apart(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """Each text reaches its own pane, whoever else pastes on the same server."""
    names = ["a0", "a1", "a2"]
    for name in names:
        tmux.start(name, tmp_path, {}, ["sh", "-c", 'exec cat >"$0"', str(tmp_path / name)])
        eventually(partial(_is_in_front, tmux, name, "cat"))

    _raw(socket, "set-buffer", "-b", "metawsm", "of another daemon")

    def paste(name: str) -> bool:
        text = "\n".join([name * 200] * 500)  # it takes a while to come
        return all(TmuxProgram(socket).paste(name, text) for _ in range(8))

    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(paste, names))
    eventually(lambda: all((tmp_path / name).read_text().count("\n") == 4000 for name in names))
    assert [{*(tmp_path / name).read_text().split()} for name in names] == [{name * 200} for name in names]
    assert _raw(socket, "list-buffers", "-F", "#{buffer_sample}").splitlines() == ["of another daemon"]


def _is_in_front(tmux: TmuxProgram, session: str, program: str) -> bool:
    return tmux_server.in_front(tmux, session) == program


def test_a_paste_cannot_break_out_of_its_brackets(tmux: TmuxProgram, tmp_path: Path) -> None:
    """A program that asked for it gets one bracketed paste without control characters, then Enter."""
    script = (
        "import sys, tty, termios; tty.setraw(0); sys.stdout.write('\\x1b[?2004h'); sys.stdout.flush();"
        "import os; data = b''\n"
        "while not data.endswith(b'~\\r'): data += os.read(0, 4096)\n"
        "open(sys.argv[1], 'wb').write(data)"
    )
    tmux.start("a", tmp_path, {}, ["python3", "-c", script, str(tmp_path / "got")])
    eventually(lambda: tmux_server.in_front(tmux, "a").startswith("python"))
    time.sleep(0.5)  # until it has asked for brackets
    text = "one\x1b[201~\rrm -rf x\x07\ttab\u202e\nlast; $(id) 'q'"
    assert tmux.paste("a", text)
    got = eventually(lambda: (tmp_path / "got").exists() and (tmp_path / "got").read_bytes())
    assert got == b"\x1b[200~one\rrm -rf x\ttab\rlast; $(id) 'q'\x1b[201~\r"


def test_a_long_text_is_pasted_whole(tmux: TmuxProgram, tmp_path: Path) -> None:
    """Longer than one message of tmux's may be."""
    tmux.start("a", tmp_path, {}, ["sh", "-c", 'stty raw -echo; exec head -c 60001 >"$0"', str(tmp_path / "got")])
    eventually(lambda: tmux_server.in_front(tmux, "a") == "head")
    assert tmux.paste("a", "x" * 60_000)
    assert eventually(lambda: (tmp_path / "got").read_bytes() == b"x" * 60_000 + b"\r")


def test_the_last_lines_as_plain_text(tmux: TmuxProgram, tmp_path: Path) -> None:
    """Beyond the screen too, wrapped lines in one piece, without colours."""
    script = "for i in $(seq 3000); do echo line $i; done;"
    script += " printf '\\033[31mred\\033[0m\\n'; printf '%0300d\\n' 7; exec sleep 100"
    tmux.start("a", tmp_path, {}, ["sh", "-c", script])
    assert eventually(lambda: tmux.capture("a", 3) == "line 3000\nred\n" + "7".zfill(300))
    assert "line 101\n" in tmux.capture("a", 5000)


def test_a_mark_with_a_line_end_is_nobodys(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """Anybody can set that of any session; the others are seen."""
    for name in ("a", "b"):
        tmux.start(name, tmp_path, {}, ["sleep", "100"], "run-1~bob~p")
    _raw(socket, "set-option", "-t", "=a:", "@metawsm", "run-1~bob~p\n0:1:2")
    assert set(tmux.panes()) == {"b"}


def test_a_server_without_its_socket_is_not_gone(tmux: TmuxProgram, socket: str, tmp_path: Path) -> None:
    """Nobody knows what is in it: that is no reason to begin agents twice. The command that is named brings it back."""
    tmux.start("a", tmp_path, {}, ["sleep", "100"])
    tmux.panes()
    Path(socket).unlink()
    for ask in (partial(tmux.owner, "a"), partial(tmux.has, "a"), partial(tmux.kill, "a")):
        with pytest.raises(OutsideError, match="its server lives: kill -USR1 "):
            ask()
    with pytest.raises(OutsideError) as told:
        tmux.panes()
    subprocess.run(["sh", "-c", told.value.message.partition(": ")[2].removesuffix(" makes it anew.")], check=True)
    eventually(lambda: set(tmux.panes()) == {"a"})
    tmux.kill("a")
    assert (tmux.panes(), tmux.owner("a")) == ({}, None)
