"""Files that this user may not read, ports that are taken, tokens that are refused: what to do, in a line."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.redis_servers import ServerHandle
from tests.support.services import missing
from tests.support.shell import COMMAND, environment, shell

SERVE = ["serve", "--addr", "127.0.0.1:0", "--redis", "embedded://"]


def powerless(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run as a user for whom modes count; root loses its power over them."""
    prefix: list[str] = []
    if os.getuid() == 0:
        prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        if not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
            missing("as root this needs setpriv, to give up the power over modes")
    command = [*prefix, *COMMAND, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=30, check=False)


def checks(folder: Path) -> dict[str, dict[str, str]]:
    """What doctor says in a folder, by name of the check."""
    done = powerless("doctor", "--json", cwd=folder)
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A project whose folder `.metawsm` nobody may enter."""
    folder = tmp_path / ".metawsm"
    folder.mkdir(mode=0o000)
    yield tmp_path
    folder.chmod(0o700)


def test_a_policy_behind_a_closed_door(closed: Path) -> None:
    """The policy cannot be looked for: that is said with its path, as any fault of a policy."""
    done = powerless(*SERVE, cwd=closed)
    assert done.returncode == 7
    assert "policy file .metawsm/policy.json cannot be read: Permission denied; run as the owner" in done.stderr


def test_doctor_before_a_closed_door(closed: Path) -> None:
    """What cannot be looked at fails by name; everything else is told all the same."""
    found = checks(closed)
    failed = {name for name, check in found.items() if check["status"] == "FAIL"}
    files = {"files.folder", "files.token", "files.database"}
    assert {"policy.valid", "database.readable", *files} <= failed
    assert {"program.python", "files.disk", "files.lock", "redis.choice", "daemon.port", "clock.steady"} <= set(found)
    assert [check for check in found.values() if "Error" in check["detail"] or "report it" in check["hint"]] == []


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """The place of a project's token."""
    (tmp_path / ".metawsm").mkdir(mode=0o700)
    return tmp_path / ".metawsm" / "token"


def test_a_token_that_its_owner_may_not_read(token: Path, tmp_path: Path) -> None:
    """The daemon does not start, and the mend is named; doctor names it, too."""
    token.write_text("abc\n")
    token.chmod(0o000)
    done = powerless(*SERVE, cwd=tmp_path)
    assert done.returncode == 1
    assert f"metawsm: token {token} cannot be read: Permission denied; chmod 600 it" in done.stderr
    assert checks(tmp_path)["files.token"]["hint"] == f"chmod 600 {token}"


def test_a_folder_in_place_of_the_token(token: Path, tmp_path: Path) -> None:
    """It is named as what it is."""
    token.mkdir()
    done = powerless(*SERVE, cwd=tmp_path)
    assert done.returncode == 1
    assert f"metawsm: {token} is not a regular file: remove it" in done.stderr
    assert checks(tmp_path)["files.token"]["detail"] == f"{token} is a folder"


def test_a_token_that_is_no_text(token: Path, tmp_path: Path) -> None:
    """Bytes that no header can hold are no token."""
    token.write_bytes(b"\xff\xfe\n")
    token.chmod(0o600)
    done = powerless(*SERVE, cwd=tmp_path)
    assert (done.returncode, "must hold one line" in done.stderr) == (1, True)


def test_a_port_that_is_taken_leaves_no_project_behind(tmp_path: Path) -> None:
    """The port is looked at before the folder, the database, the token and Redis are made."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = shell(["serve", "--addr", f"127.0.0.1:{other.getsockname()[1]}"], cwd=tmp_path)
    assert (done.returncode, "cannot listen on 127.0.0.1:" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_second_daemon_on_the_port_of_the_first(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """That the same database is served already says more than that the port is taken."""
    daemon = start_daemon("--redis", server.url)
    done = shell(["serve", "--addr", daemon.url.removeprefix("http://")], cwd=daemon.folder)
    assert f"is in use by process {daemon.process.pid}" in done.stderr


def test_a_refused_token_is_told_with_its_source(daemon: Daemon, tmp_path: Path) -> None:
    """The variable that was used, or the file that was found, and not that agents need none."""
    (tmp_path / ".metawsm").mkdir()
    path = tmp_path / ".metawsm" / "token"
    path.write_text("another\n")
    sources: dict[str, dict[str, str]] = {
        "METAWSM_TOKEN": {"METAWSM_TOKEN": "wrong", "METAWSM_TOKEN_FILE": str(path)},
        f"METAWSM_TOKEN_FILE={path}": {"METAWSM_TOKEN_FILE": str(path)},
        f"the token of {path}": {},
    }
    for source, env in sources.items():
        for verb in (["list"], ["post", "--thread-id", "f", "--body", "b"]):
            done = shell(["forum", *verb, "--server", daemon.url], cwd=tmp_path, env=env)
            assert done.returncode == 5
            assert f"  {source} was used and is another one" in done.stderr
            assert "--actor-type" not in done.stderr


def test_without_a_token_only_writes_are_offered_to_agents(daemon: Daemon, tmp_path: Path) -> None:
    """`--actor-type agent` is named where it helps, and a daemon of one's own where only people may act."""
    at = ["--server", daemon.url]
    write = shell(["forum", "post", "--thread-id", "f", "--body", "b", *at], cwd=tmp_path)
    assert (write.returncode, "--actor-type agent" in write.stderr) == (5, True)
    signal = ["signal", "--run-id", "r", "--ticket", "T", "--agent-name", "a", "--type", "guidance_answer"]
    answers = ["forum", *signal, "--answer", "x"], ["forum", "answer", "--thread-id", "f", "--body", "b"]
    for people in (["run", "--ticket", "T", "--repos", "a"], ["resume", "--run-id", "r"], *answers):
        done = shell([*people, *at], cwd=tmp_path)
        assert (done.returncode, "a project of its own: `metawsm.pyz serve` there" in done.stderr) == (5, True)
        assert "--actor-type" not in done.stderr
    (daemon.folder / ".metawsm" / "token").write_text("another\n")
    for owners in (["forum", "dead-letters", "replay", "1", *at], ["backup", "create", "--db", str(daemon.database)]):
        done = shell(owners, cwd=tmp_path)
        assert (done.returncode, "METAWSM_TOKEN_FILE to its" in done.stderr) == (5, True)
        assert "--actor-type" not in done.stderr
