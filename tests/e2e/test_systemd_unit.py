"""The example unit: systemd understands it, and its command tells systemd what the unit says it will."""

from __future__ import annotations

import configparser
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import redis_tcp
from tests.support.pages import path_with
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


def _until(heard: socket.socket, word: str) -> str:
    """The next message that begins with a word."""
    while True:
        text = heard.recv(4096).decode()
        if text.startswith(word):
            return text
