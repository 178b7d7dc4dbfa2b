"""The bundled server: started, adopted, stopped, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metawsm.bus.ports import Message, Publication
from metawsm.domain.errors import Refused, Unavailable
from metawsm.streams.bundled import LOG_BYTES, BundledServer
from metawsm.streams.transport import RedisTransport
from tests.support.daemon import Daemon
from tests.support.eventually import eventually

Make = Callable[..., BundledServer]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make servers for a project folder; whatever runs at the end is stopped."""
    made: list[BundledServer] = []

    def make_server(database_id: str = "db-a", project: str = "project", runtime: str = "") -> BundledServer:
        environ = {"XDG_RUNTIME_DIR": runtime} if runtime else {}
        made.append(BundledServer(tmp_path / project / ".metawsm", database_id, environ))
        return made[-1]

    yield make_server
    for server in made:
        server.stop()
        socket = Path(server.url.removeprefix("unix://"))
        socket.unlink(missing_ok=True)
        if socket.parent.exists():
            socket.parent.rmdir()


def pid_of(server: BundledServer) -> int:
    """The process that answers."""
    transport = RedisTransport(server.url, "c")
    try:
        return transport.server_facts().process_id
    finally:
        transport.close()


def publish(server: BundledServer, number: int) -> None:
    """Publish one feed entry."""
    transport = RedisTransport(server.url, "c")
    message = Message(f"u{number}", {}, b"{}")
    assert transport.exchange([Publication("feed", message, f"{number}-0")], [], []).faults == [None]
    transport.close()


def last_id(server: BundledServer) -> str:
    """The feed's last id."""
    transport = RedisTransport(server.url, "c")
    try:
        return transport.last_entry_id("feed")
    finally:
        transport.close()


def test_starts_with_what_a_transport_needs(make: Make) -> None:
    """Append-only file, no eviction, a unix socket of its owner alone, no TCP port, data under the metawsm folder."""
    server = make()
    server.start()
    transport = RedisTransport(server.url, "c")
    facts = transport.server_facts()
    assert facts.version.startswith("valkey")
    assert (facts.append_only, facts.eviction_policy) == (True, "noeviction")
    socket = Path(server.url.removeprefix("unix://"))
    assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    assert (server.log_path.parent / "appendonlydir").is_dir()
    assert "TCP" not in server.log_path.read_text()
    assert os.getsid(facts.process_id) == facts.process_id
    assert server.is_alive()
    assert not server.adopted
    transport.close()


def test_stopped_in_order_and_started_again_keeps_its_data(make: Make) -> None:
    """After a stop nothing runs; the next start has what was published."""
    server = make()
    server.start()
    publish(server, 7)
    pid = pid_of(server)
    server.stop()
    assert not server.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    again = make()
    again.start()
    assert not again.adopted
    assert last_id(again) == "7-0"


def test_a_running_one_is_adopted_and_can_be_stopped(make: Make) -> None:
    """A daemon that comes after a killed one uses the server that is there, also after it was emptied."""
    first = make()
    first.start()
    publish(first, 3)
    RedisTransport(first.url, "c")._server.client.flushall()
    publish(first, 9)
    second = make()
    second.start()
    assert second.adopted
    assert (pid_of(second), last_id(second)) == (pid_of(first), "9-0")
    second.stop()
    assert not first.is_alive()
    assert not second.is_alive()


def test_the_running_one_is_found_in_another_environment(make: Make, tmp_path: Path) -> None:
    """The url is right before any start, also when the runtime folder is another one than at its start."""
    first = make()
    first.start()
    first.start()
    assert not first.adopted
    second = make(runtime=str(tmp_path)[:60])
    assert second.url == first.url
    assert pid_of(second) == pid_of(first)


def test_it_outlives_a_killed_daemon_and_is_adopted(make: Make, tmp_path: Path) -> None:
    """A process under gevent starts it and is killed: the server stays, the next one finds it, with its data."""
    script = """
import gevent.monkey; gevent.monkey.patch_all()
import sys, os, signal
from pathlib import Path
from metawsm.streams.bundled import BundledServer
from metawsm.streams.transport import RedisTransport
from metawsm.bus.ports import *
server = BundledServer(Path(sys.argv[1]), "db-a", {})
server.start()
transport, read = RedisTransport(server.url, "c"), Subscription("feed", "g")
transport.ensure([read])
import gevent
waiting = gevent.spawn(transport.listen, [read], 10)
gevent.sleep(0)
transport.exchange([Publication("feed", Message("u", {}, b"{}"), "5-0")], [], [])
print(len(waiting.get(timeout=5)), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    folder = tmp_path / "project" / ".metawsm"
    ran = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, timeout=30)
    assert (ran.returncode, ran.stdout) == (-signal.SIGKILL, "1\n"), ran.stderr
    server = make()
    assert server.is_alive()
    server.start()
    assert server.adopted
    assert last_id(server) == "5-0"


def test_its_death_is_seen_and_a_new_one_starts(make: Make) -> None:
    """Killed from outside: not alive any more; starting again gives a new process on the old data."""
    server = make()
    server.start()
    publish(server, 2)
    pid = pid_of(server)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not server.is_alive())
    server.start()
    assert pid_of(server) != pid
    assert server.is_alive()


def test_another_databases_server_is_refused(make: Make) -> None:
    """While it runs for one database, another one does not take it."""
    make().start()
    with pytest.raises(Refused, match=r"belongs to database db-a, this is db-b"):
        make("db-b").start()


def test_projects_do_not_share(make: Make, tmp_path: Path) -> None:
    """Each metawsm folder has its own server, also when both use the same runtime folder."""
    runtime = str(tmp_path)[:60]
    one, two = make("db-a", "one", runtime), make("db-b", "two", runtime)
    one.start()
    two.start()
    assert one.url != two.url
    assert pid_of(one) != pid_of(two)


def test_a_long_runtime_folder_gives_way_to_a_short_one(make: Make, tmp_path: Path) -> None:
    """The socket's path stays within 107 bytes whatever the environment says."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    server = make(runtime=str(long))
    assert len(server.url.removeprefix("unix://")) <= 107
    server.start()
    assert pid_of(server)


def test_a_copied_folder_does_not_adopt_the_originals_server(make: Make, tmp_path: Path) -> None:
    """The copy has the marker of the original: it starts its own server on its own data."""
    original = make()
    original.start()
    publish(original, 4)
    subprocess.run(["cp", "-r", str(tmp_path / "project"), str(tmp_path / "copy")], check=True)
    copy = make(project="copy")
    copy.start()
    assert not copy.adopted
    assert pid_of(copy) != pid_of(original)


def test_a_start_that_fails_tells_why(make: Make, tmp_path: Path) -> None:
    """A broken append-only file is a clear error with the server's own words."""
    folder = tmp_path / "project" / ".metawsm" / "redis" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(Unavailable, match=r"ended with 1 at start: last lines of .*server\.log"):
        make().start()


def lose_socket(server: BundledServer) -> None:
    """Its runtime folder is cleared while it runs, as at a logout."""
    shutil.rmtree(Path(server.url.removeprefix("unix://")).parent)


def test_one_whose_socket_is_gone_gives_way_to_another(make: Make) -> None:
    """After a killed daemon a server runs that nobody can reach: it is ended, and its data are served anew."""
    first = make()
    first.start()
    publish(first, 3)
    pid = pid_of(first)
    lose_socket(first)
    second = make()
    assert second.is_alive()
    assert not second.is_reachable()
    second.start()
    assert not second.adopted
    assert second.is_reachable()
    assert (pid_of(second) != pid, last_id(second)) == (True, "3-0")


def test_ones_own_without_a_socket_is_started_again_at_the_same_url(make: Make) -> None:
    """Whoever has the url finds it there again."""
    server = make()
    server.start()
    publish(server, 3)
    before = server.url
    lose_socket(server)
    server.start()
    assert (server.url, last_id(server)) == (before, "3-0")


def test_an_adopted_one_without_a_socket_is_stopped_all_the_same(make: Make) -> None:
    """It cannot be asked for its process; that is told by its marker, and the lock is the proof."""
    make().start()
    second = make()
    second.start()
    lose_socket(second)
    second.stop()
    assert not second.is_alive()


def test_no_other_process_is_taken_for_it(make: Make, tmp_path: Path) -> None:
    """A marker that names somebody else's process: that one is left alone, and it is said what to end."""
    first = make()
    first.start()
    marker = tmp_path / "project" / ".metawsm" / "redis" / "server.json"
    true = marker.read_text()
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        marker.write_text(json.dumps(json.loads(true) | {"pid": stranger.pid}))
        lose_socket(first)
        with pytest.raises(Unavailable, match=r"runs without its socket .*; end its process"):
            make().start()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        marker.write_text(true)


def test_a_runtime_folder_that_went_away(make: Make) -> None:
    """Gone between the choice and the start: told with what to do; the next one takes another folder."""
    runtime = Path(tempfile.mkdtemp(prefix="mw-"))  # short enough for a socket
    server = make(runtime=str(runtime))
    runtime.rmdir()
    with pytest.raises(
        Unavailable, match=r"the folder .* for the bundled server's socket cannot be made: No such file"
    ):
        server.start()
    again = make(runtime=str(runtime))
    again.start()
    assert pid_of(again)


def test_a_killed_daemon_whose_runtime_folder_was_cleared(start_daemon: Callable[..., Daemon]) -> None:
    """The next daemon serves, with Redis."""
    runtime = Path(tempfile.mkdtemp(prefix="mw-"))  # short enough for a socket
    daemon = start_daemon(XDG_RUNTIME_DIR=str(runtime))
    daemon.kill()
    (folder,) = runtime.iterdir()
    shutil.rmtree(folder)
    daemon.start()
    assert daemon.request("GET", "/health").body["status"] == "ok"


def test_the_log_is_bounded(make: Make) -> None:
    """A log that has grown is moved aside while the server runs, which goes on writing."""
    server = make()
    server.start()
    with server.log_path.open("a") as log:
        log.write("x" * LOG_BYTES)
    server.bound_log()
    assert not server.log_path.exists()
    server.stop()
    assert 0 < server.log_path.stat().st_size < LOG_BYTES
