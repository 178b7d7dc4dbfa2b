"""The example unit: systemd understands it, and its command tells systemd what the unit says it will."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import redis_tcp
from tests.support.eventually import eventually
from tests.support.pages import path_with
from tests.support.runs_lab import Lab
from tests.support.services import program
from tests.support.shell import ROOT, environment

UNIT = ROOT / "docs" / "systemd" / "metawsm.service"
INSTALLED = "/usr/local/bin/metawsm.pyz"


@pytest.fixture
def service() -> configparser.SectionProxy:
    """The unit's section [Service]."""
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # names of settings have capitals
    unit.read(UNIT, encoding="utf-8")
    return unit["Service"]


def test_systemd_understands_the_unit(pyz: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say against it, the program standing where it is said to stand."""
    verify = program("systemd-analyze")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace(INSTALLED, str(pyz)), encoding="utf-8")
    done = subprocess.run([verify, "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_its_command_is_a_service_of_type_notify(pyz: Path, service: configparser.SectionProxy, tmp_path: Path) -> None:
    """Started as systemd would, it reports READY, signs of life more often than the watchdog asks, and STOPPING."""
    assert (service["Type"], service["NotifyAccess"], service["WatchdogSec"]) == ("notify", "main", "30")
    address = f"127.0.0.1:{redis_tcp.free_port()}"
    command = shlex.split(service["ExecStart"].replace(INSTALLED, str(pyz)).replace("127.0.0.1:3001", address))
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.settimeout(30)
    heard.bind(str(tmp_path / "notify"))
    variables = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "600000", "PATH": path_with()}
    env = environment(METAWSM_CACHE=str(tmp_path / "cache"), METAWSM_FORUM_REDIS_URL="embedded://", **variables)
    process = subprocess.Popen([sys.executable, *command], cwd=tmp_path, env=env, stderr=subprocess.PIPE)
    try:
        assert _until(heard, "READY=1") == f"READY=1\nSTATUS=serving http://{address}"
        assert [_until(heard, "WATCHDOG=1") for _ in range(3)] == ["WATCHDOG=1"] * 3
        process.terminate()
        assert _until(heard, "STOPPING=1")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()
        heard.close()


def test_it_may_stop_in_its_own_time(service: configparser.SectionProxy) -> None:
    """systemd waits longer than the daemon takes at most: the timeout for requests, and the bundled server's end."""
    assert int(service["TimeoutStopSec"]) >= 15
    assert "--shutdown-timeout" not in service["ExecStart"]  # the default of 5 s


@pytest.fixture
def lab(pyz: Path, tmp_path: Path) -> Iterator[Lab]:
    """A daemon with the unit's place for tmux sockets, here a folder of the test, and an agent that goes on and on."""
    sockets = tempfile.mkdtemp(prefix="mwsm-")
    env = {"TMUX_TMPDIR": sockets, "NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "60000000"}
    agent = {"bob": "#!/bin/sh\nenv >$METAWSM_AGENT.env\nexec sleep 600\n"}
    try:
        with Lab(tmp_path, [sys.executable, str(pyz)], agent, {"tmux": {}}, ("alpha",), env) as made:
            yield made
    finally:
        subprocess.run([program("tmux"), "kill-server"], env=os.environ | {"TMUX_TMPDIR": sockets}, check=False)
        shutil.rmtree(sockets)


def test_agents_survive_what_systemd_does(lab: Lab, service: configparser.SectionProxy) -> None:
    """A restart and a kill of the main process alone leave agents and, after the kill, the bundled Redis at work."""
    assert (service["KillMode"], service["PrivateTmp"]) == ("process", "no")
    assert f"Environment=TMUX_TMPDIR=/var/lib/{service['StateDirectory']}\n" in UNIT.read_text(encoding="utf-8")
    run_id = lab.start()
    lab.until(run_id, "running")
    before = _working(lab)
    assert lab.daemon.stop() == 0
    lab.daemon.start()
    restarted = _working(lab)
    assert restarted["agent"] == before["agent"] and restarted["redis"] != before["redis"]
    lab.daemon.kill()
    lab.daemon.start()
    assert _working(lab) == restarted
    assert [lab.run(run_id)[what] for what in ("state", "round")] == ["running", 1]
    os.kill(restarted["agent"], signal.SIGKILL)  # it is this one that the new daemon looks at
    eventually(lambda: lab.run(run_id)["agents"][0]["state"] == "dead", timeout=15)
    lab.post(f"/runs/{run_id}/resume")  # as after a reboot
    eventually(lambda: lab.run(run_id)["agents"][0]["state"] == "running", timeout=15)
    assert [lab.run(run_id)[what] for what in ("state", "round")] == ["running", 1]


def test_agents_do_not_speak_for_the_service(lab: Lab) -> None:
    """What systemd tells the daemon of itself does not reach its agents, who would report their own state there."""
    lab.until(lab.start(), "running")
    (told,) = eventually(lambda: list(lab.folder.glob(".metawsm/workspaces/*/alpha/bob.env")))
    names = {line.partition("=")[0] for line in eventually(told.read_text).splitlines()}
    assert "METAWSM_AGENT" in names
    assert not names & {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "INVOCATION_ID", "JOURNAL_STREAM"}


def _working(lab: Lab) -> dict[str, int]:
    """The processes of the agent and of the bundled Redis; both have to live."""
    (status,) = lab.folder.glob(".metawsm/agents/*/*/status")
    assert "ended" not in status.read_text()
    listed = ["tmux", "list-panes", "-a", "-F", "#{pane_pid}"]
    env = os.environ | {"TMUX_TMPDIR": lab.env["TMUX_TMPDIR"]}
    agent = int(subprocess.run(listed, env=env, capture_output=True, text=True, check=True).stdout)
    redis = int(json.loads((lab.folder / ".metawsm" / "redis" / "server.json").read_text())["pid"])
    os.kill(agent, 0)
    os.kill(redis, 0)
    return {"agent": agent, "redis": redis}


def _until(heard: socket.socket, word: str) -> str:
    """The next message that begins with a word."""
    while True:
        text = heard.recv(4096).decode()
        if text.startswith(word):
            return text
