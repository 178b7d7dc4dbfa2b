"""The command line in odd surroundings: closed or full streams, a folder that is gone, a server that is hostile."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_cli import VIEW, error, says_json
from tests.integration.test_client_feed import HELLO, frame, stays, text, upgraded
from tests.support.run_plays import told
from tests.support.scripted_server import scripted
from tests.support.shell import COMMAND, environment, shell, start

HOSTILE = "A\u009b2J\u202e\u007fB"


def _in_shell(line: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `metawsm` with what the shell makes of its streams."""
    whole = f"{shlex.join(COMMAND)} {line}"
    return subprocess.run(
        ["sh", "-c", whole], capture_output=True, text=True, timeout=30, cwd=cwd, env=environment(**env), check=False
    )


@pytest.mark.parametrize("line", ["--help >&-", "version >&-", "version 2>&-", "version <&- >&- 2>&-"])
def test_closed_streams(line: str) -> None:
    """What nobody can read is written nowhere."""
    done = _in_shell(line)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_stdin_is_an_empty_text() -> None:
    """As if nothing had been piped in."""
    with scripted(error(422, "invalid_fields", "body is missing", fields={"body": ["is missing"]})) as server:
        done = _in_shell("forum ask --ticket T --title t --body - <&-", METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr) == (7, "metawsm: invalid values: --body is missing\n")


@pytest.mark.parametrize("line", ["version", "--help", "forum list --json", "forum stats"])
def test_a_full_disk_behind_stdout(line: str) -> None:
    """It is told in one line, whoever writes, and is no success."""
    rows = {"threads": [VIEW], "stats": [{"ticket": "T"}]}
    with scripted(told(rows)) as server:
        done = _in_shell(f"{line} >/dev/full", METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr) == (1, "metawsm: standard output: no space left on device\n")


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    """Reading needs none; a daemon says what it lacks."""
    gone = tmp_path / "gone"
    gone.mkdir()
    with scripted(told({"threads": [VIEW]})) as server:
        listed = _in_shell(
            f"forum list; rm -r {gone}; {shlex.join(COMMAND)} forum list", gone, METAWSM_SERVER=server.url
        )
    assert (listed.returncode, listed.stdout.count("fthr-1"), listed.stderr) == (0, 2, "")
    gone.mkdir()
    served = _in_shell(f"version; rm -r {gone}; {shlex.join(COMMAND)} serve --addr 127.0.0.1:0", gone)
    assert served.returncode == 1 and "no such file or directory" in served.stderr
    assert "unexpected" not in served.stderr and not gone.exists()


def test_a_token_file_that_cannot_be_read() -> None:
    """A regular file that fails when it is read."""
    with scripted(told({"threads": [VIEW]})) as server:
        done = shell(["forum", "list"], METAWSM_SERVER=server.url, METAWSM_TOKEN_FILE="/proc/self/mem")
    assert done.returncode == 0
    assert done.stderr.startswith("note: token file /proc/self/mem is ignored: input/output error")


def test_json_on_a_terminal_is_safe() -> None:
    """Control and bidi characters are escaped, other scripts are not, and it is the same JSON."""
    answer = {"threads": [VIEW | {"title": f"{HOSTILE} Zürich"}]}
    main, secondary = pty.openpty()
    with scripted(says_json(200, answer)) as server:
        env = environment(METAWSM_SERVER=server.url, PYTHONIOENCODING="utf-8")
        process = subprocess.Popen([*COMMAND, "forum", "list", "--json"], stdout=secondary, env=env)
        os.close(secondary)
        shown = b""
        try:
            while data := os.read(main, 65536):
                shown += data
        except OSError:  # EIO: the other side is closed
            pass
        assert process.wait(30) == 0
    os.close(main)
    output = shown.decode()
    assert json.loads(output) == answer and "Zürich" in output
    assert not {"\x9b", "\u202e", "\x7f"} & set(output)


def test_addresses_and_paths_are_shown_clean() -> None:
    """They come from the environment, which an agent may have a say in."""
    done = shell(["forum", "list"], METAWSM_SERVER="http://a\u009b2J\x1b[31m/", METAWSM_TOKEN_FILE="/x\x1b[31m\u202e")
    assert done.returncode != 0
    assert not {"\x1b", "\x9b", "\u202e"} & set(done.stderr + done.stdout), done.stderr


@pytest.mark.parametrize("beat", ["abc", -5, 1e999, [], 0])
def test_a_hello_with_a_senseless_heartbeat(beat: Any) -> None:
    """The usual one is taken instead, and what comes after it is shown."""
    news = {"sequence": 11, "envelope": {"event_type": "forum.thread.opened", "thread_id": "fthr-1"}, "payload": {}}
    frames = (
        text({**HELLO, "heartbeat_seconds": beat}),
        text({"type": "forum.events", "events": [news], "next_cursor": 11}),
    )
    with scripted(upgraded(stays(*frames))) as server, start(["forum", "watch"], METAWSM_SERVER=server.url) as watch:
        assert watch.stdout is not None
        assert watch.stdout.readline().startswith(b"#11")
        watch.terminate()


def test_a_frame_nested_without_end() -> None:
    """Whoever sends that is no daemon: one line, exit code 6."""
    nested = frame(1, b"[" * 60_000)
    with scripted(upgraded(stays(text(HELLO), nested))) as server:
        done = shell(["forum", "watch"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr) == (6, "metawsm: the feed sent a frame that is not a JSON object\n")


def test_an_error_with_fields_of_the_wrong_type() -> None:
    """They are left out, the message is told."""
    with scripted(error(422, "invalid_fields", "odd", fields={"a": 5, "b": None})) as server:
        done = shell(["forum", "list"], METAWSM_SERVER=server.url)
    assert (done.returncode, done.stderr) == (7, "metawsm: odd\n")
