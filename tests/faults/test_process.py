"""The daemon's process: killed anywhere, stopped in order, started twice, started on a heap of work."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.crowd import Crowd
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.faulty_daemon import POINTS
from tests.support.ledger import Ledger, check_streams
from tests.support.raw_ws import RawWs
from tests.support.redis_servers import ServerHandle
from tests.support.shell import environment

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
# Run always; the other points with the long faults.
ALWAYS = ("published", "handled", "projecting")
READY_SECONDS = 2.0


def kill_at_random(ledger: Ledger, times: int, dice: random.Random, longest: float) -> None:
    """SIGKILL under load and start again, several times, 0.2 to `longest` seconds apart."""
    for _ in range(times):
        time.sleep(dice.uniform(0.2, longest))
        ledger.daemon.kill()
        ledger.daemon.start()
    ledger.await_applied()


def check_whole(ledger: Ledger, broker: ServerHandle) -> None:
    """The ledger comes out right, and the streams hold what the log holds."""
    ledger.check()
    with broker.client() as client:
        check_streams(ledger.daemon, client)


def test_kill_nine_at_random_under_load(daemon: Daemon, broker: ServerHandle) -> None:
    """Killed three times at random under load, every accepted command is applied once, in order, and nothing else."""
    ledger = Ledger(daemon)
    with ledger.load():
        kill_at_random(ledger, 3, random.Random(7), 0.8)
    check_whole(ledger, broker)


@pytest.mark.faults
@pytest.mark.parametrize(
    ("start_broker", "commands", "kills"), [("redis", 200_000, 50), ("valkey", 40_000, 10)], indirect=["start_broker"]
)
def test_fifty_kills_and_two_hundred_thousand_commands(
    commands: int, kills: int, daemon: Daemon, broker: ServerHandle
) -> None:
    """Killed fifty times among 200,000 commands: none lost, none twice, in order, read models equal a rebuild."""
    ledger, crowd = Ledger(daemon, clients=2, patience=240), Crowd(daemon, commands)
    with ExitStack() as load:
        load.enter_context(crowd.sending())
        with ledger.load():
            kill_at_random(ledger, kills, random.Random(50), 3.0)
    crowd.check(patience=240)
    check_whole(ledger, broker)
    print(f"{len(ledger.entries) + crowd.total} commands, {kills} kills, {crowd.repeats} repeated attempts")


@pytest.mark.parametrize("point", [pytest.param(p, marks=() if p in ALWAYS else pytest.mark.faults) for p in POINTS])
def test_killed_at_a_named_point(
    point: str, broker: ServerHandle, artifact: list[str], start_daemon: Callable[..., Daemon]
) -> None:
    """Wherever in a command's way the process dies, the built file ends that way after it, once."""
    faulty = [sys.executable, "-m", "tests.support.faulty_daemon", point, "40"]
    daemon = start_daemon("--redis", broker.url, command=faulty)
    ledger = Ledger(daemon, clients=4)
    with ledger.load():
        eventually(lambda: daemon.process.poll() is not None, timeout=20)
        daemon.command = artifact
        daemon.start()
        ledger.await_applied()
    check_whole(ledger, broker)


def test_sigterm_under_load_answers_what_is_in_flight(daemon: Daemon, broker: ServerHandle) -> None:
    """In-flight requests get their answers, WebSockets 1001, the exit code is 0 within the timeout; the ledger."""
    stream = RawWs(daemon.port, "/api/v1/forum/stream", Host=f"127.0.0.1:{daemon.port}")
    ledger = Ledger(daemon)
    with ledger.load():
        ledger.await_applied()
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 5
        daemon.start()
        ledger.await_applied()
    # None: not taken any more. Whatever was taken got its real answer.
    assert {entry.first_status for entry in ledger.entries[1:]} <= {200, 201, 409, None}
    assert stream.receive_close()[0] == 1001
    check_whole(ledger, broker)


def serve(command: list[str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to end at once."""
    whole = [*command, "serve", "--addr", "127.0.0.1:0", *options]
    return subprocess.run(whole, cwd=folder, env=environment(), capture_output=True, text=True, timeout=20)


def test_a_second_serve_on_the_same_database_names_the_holder(
    daemon: Daemon, broker: ServerHandle, artifact: list[str]
) -> None:
    """It ends at once with an error that says who has the database and where that one serves; the first goes on."""
    began = time.monotonic()
    second = serve(artifact, daemon.folder, "--redis", broker.url)
    assert time.monotonic() - began < 5
    assert second.returncode == 1
    assert f"process {daemon.process.pid} at 127.0.0.1:{daemon.port}" in second.stderr
    assert "Traceback" not in second.stderr
    assert daemon.request("POST", "/forum/threads", ASK).status == 201


def undone(daemon: Daemon) -> int:
    """How many rows wait."""
    outbox: dict[str, Any] = daemon.request("GET", "/health").body["outbox"]
    return int(outbox["pending_count"]) + int(outbox["processing_count"])


@pytest.mark.parametrize("rows", [pytest.param(5_000), pytest.param(100_000, marks=pytest.mark.faults)])
def test_a_restart_with_undone_rows_is_ready_and_accepts_while_it_drains(
    rows: int, daemon: Daemon, broker: ServerHandle
) -> None:
    """With a heap of accepted commands the daemon is ready within two seconds, takes new ones, and does all once."""
    broker.stop()
    crowd = Crowd(daemon, rows)
    with crowd.sending():
        pass
    daemon.kill()
    broker.start()
    began = time.monotonic()
    daemon.start()
    ready = time.monotonic() - began
    left = undone(daemon)
    asked = time.monotonic()
    assert daemon.request("POST", "/forum/threads?wait=0", ASK).status == 202
    answered = time.monotonic() - asked
    assert ready < READY_SECONDS
    assert left > rows * 0.5, "it had drained before anything could be asked"
    assert answered < 1.0
    crowd.check(patience=300)
    print(f"{rows} rows: ready in {ready:.2f} s with {left} left, accepted in {answered * 1000:.0f} ms")
    print(f"drained in {time.monotonic() - began:.1f} s")
    with broker.client() as client:
        check_streams(daemon, client)
