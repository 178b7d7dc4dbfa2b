"""The process: one per database, an orderly end under load, what systemd hears, and what it does without Redis."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from metawsm.streams.choice import Kind, choose
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import database
from tests.support.redis_servers import ServerHandle, start_redis
from tests.support.shell import COMMAND, environment

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}


def serve(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that is expected to end at once."""
    command = [*COMMAND, "serve", "--addr", "127.0.0.1:0", *options]
    return subprocess.run(command, cwd=folder, env=environment(**env), capture_output=True, text=True, timeout=20)


def test_a_killed_daemon_leaves_no_lock(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """After SIGKILL the next one starts at once, on the database and on the namespace."""
    daemon = start_daemon("--redis", server.url)
    daemon.kill()
    began = time.monotonic()
    daemon.start()
    assert time.monotonic() - began < 5


def test_other_names_in_the_same_redis_database_do_not_help(
    server: ServerHandle, start_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """A second database that differs in the stream's name only would share the rest: it is refused like any other."""
    start_daemon("--redis", server.url)
    other = serve(tmp_path, "--redis", server.url, METAWSM_FORUM_REDIS_STREAM="other")
    assert other.returncode == 1
    assert "database number" in other.stderr


def test_a_stolen_namespace_degrades_and_comes_back(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A daemon that finds its namespace in other hands stops publishing, says so, and goes on when it is free again."""
    daemon = start_daemon("--redis", server.url)
    with server.client() as client:
        thief = {"database_id": "db-thief", "database_path": "/thief.db", "instance_id": "i", "host": "h", "pid": 1}
        client.set("metawsm:owner", json.dumps(thief))
        eventually(lambda: daemon.request("GET", "/health").status == 503, timeout=8)
        assert "/thief.db" in daemon.request("GET", "/health").body["forum_bus"]["error"]
        assert daemon.request("POST", "/forum/threads?wait=0.1", ASK).status == 202
        assert client.xlen("forum.commands.open_thread") == 0
        client.delete("metawsm:owner")
        eventually(lambda: daemon.request("GET", "/health").status == 200)
        eventually(lambda: len(daemon.request("GET", "/forum/threads").body["threads"]) == 1)


def test_a_request_that_waits_is_answered_at_the_end(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """While the database is locked a write waits; SIGTERM comes, the lock goes, and the write is answered 201."""
    daemon = start_daemon("--redis", server.url)
    with ThreadPoolExecutor(1) as pool, database(daemon.database) as db:
        db.execute("BEGIN IMMEDIATE")
        reply = pool.submit(daemon.request, "POST", "/forum/threads", ASK)
        eventually(lambda: daemon.request("GET", "/health").body["components"]["database"]["writer"]["queued"] == 1)
        daemon.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        db.execute("ROLLBACK")
        assert reply.result().status == 201
    assert daemon.process.wait(10) == 0


def test_a_stop_beside_a_stalled_redis_is_short(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A request that waits for Redis gets its 202, and nothing waits for Redis to answer."""
    daemon = start_daemon("--redis", server.url)
    with ThreadPoolExecutor(1) as pool:
        server.pause()
        reply = pool.submit(daemon.request, "POST", "/forum/threads?wait=30", ASK)
        with database(daemon.database) as db:
            eventually(lambda: list(db.execute("SELECT 1 FROM forum_outbox")))
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 4
        assert reply.result().status == 202
        server.resume()


def test_what_is_asked_right_after_the_start_is_done(start_daemon: Callable[..., Daemon]) -> None:
    """When the daemon says that it serves, its Redis is connected, also one that it starts itself."""
    daemon = start_daemon("--redis", "embedded://", needs_redis=False)
    assert daemon.request("GET", "/health").body["forum_bus"] == {"healthy": True}


def test_a_locked_database_degrades_health_until_it_is_free(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """While a write waits for another process's lock health says so; afterwards it is ok without another write."""
    daemon = start_daemon("--redis", server.url)
    with ThreadPoolExecutor(1) as pool, database(daemon.database) as db:
        db.execute("BEGIN IMMEDIATE")
        reply = pool.submit(daemon.request, "POST", "/forum/threads", ASK)
        health = eventually(lambda: _health_of(daemon, "database", "degraded"))
        assert "lock" in health["error"]
        assert reply.result().status == 503  # nothing waits any more, and the lock is still held
        assert _health_of(daemon, "database", "degraded")
        db.execute("ROLLBACK")
    eventually(lambda: daemon.request("GET", "/health").status == 200)


def test_changes_that_were_lost_degrade_health(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """While the file cannot get longer writes fail and health is degraded; when it can again, health is ok."""
    daemon = start_daemon("--redis", server.url)
    unlimited = resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert daemon.request("POST", "/forum/threads", ASK).status in (500, 503)
    assert _health_of(daemon, "database", "degraded")
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, unlimited)
    eventually(lambda: daemon.request("GET", "/health").status == 200)
    assert daemon.request("POST", "/forum/threads", ASK).status == 201


def _health_of(daemon: Daemon, component: str, status: str) -> Any:
    part = daemon.request("GET", "/health").body["components"][component]
    return part if part["status"] == status else None


def test_a_database_that_cannot_be_read_still_gives_a_list_of_parts(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """Health names every part, also when its own questions to the database fail."""
    daemon = start_daemon("--redis", server.url)
    with database(daemon.database) as db:
        db.execute("ALTER TABLE forum_outbox RENAME TO away")
        health = daemon.request("GET", "/health")
        db.execute("ALTER TABLE away RENAME TO forum_outbox")
    assert (health.status, health.body["status"]) == (503, "degraded")
    assert "log says why" in health.body["outbox"]["error"]
    assert health.body["components"]["redis"]["status"] == "ok"


def test_read_models_far_behind_the_log_degrade_health(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """Health compares what is applied with the log itself."""
    daemon = start_daemon("--redis", server.url)
    assert daemon.request("POST", "/forum/threads", ASK).status == 201
    with database(daemon.database) as db:
        columns = [str(row[1]) for row in db.execute("PRAGMA table_info(forum_events)")]
        chosen = ", ".join({"sequence": "1000 + n", "event_id": "'e' || n"}.get(name, name) for name in columns)
        numbers = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 1001)"
        db.execute(f"{numbers} INSERT INTO forum_events SELECT {chosen} FROM c, forum_events WHERE sequence = 1")
    assert "events behind" in _health_of(daemon, "projections", "degraded")["error"]


def test_a_foreign_group_that_stays_behind_is_named(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Health says attention, with topic and group, for a group of another program for which nobody reads."""
    daemon = start_daemon("--redis", server.url)
    assert daemon.request("POST", "/forum/threads", ASK).status == 201
    with server.client() as client:
        client.xgroup_create("forum.events.thread.opened", "reports", "0")
        found = eventually(lambda: _health_of(daemon, "redis", "attention"), timeout=12)
        assert [(each["topic"], each["group"], each["lag"]) for each in found["foreign_groups"]] == [
            ("forum.events.thread.opened", "reports", 1)
        ]
        assert daemon.request("GET", "/health").status == 200
        client.xreadgroup("reports", "me", {"forum.events.thread.opened": ">"}, noack=True)
        eventually(lambda: _health_of(daemon, "redis", "ok"), timeout=12)


def test_a_stream_that_cannot_be_read_is_named(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """A command topic that is no stream degrades health, also before anything was published to it."""
    with server.client() as client:
        client.set("forum.commands.set_priority", "x")
        daemon = start_daemon("--redis", server.url)
        found = eventually(lambda: _health_of(daemon, "redis", "degraded"))
        assert "forum.commands.set_priority" in found["sick"]
        client.delete("forum.commands.set_priority")
        eventually(lambda: daemon.request("GET", "/health").status == 200)


def test_the_log_tells_loss_and_return_of_redis(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Each once, as the runbook says."""
    daemon = start_daemon("--redis", server.url)
    server.kill()
    eventually(lambda: daemon.request("GET", "/health").status == 503)
    server.start()
    eventually(daemon.is_ready, timeout=10)
    log = daemon.log.read_text()
    assert log.count("forum redis ping failed") <= 2 and log.count("connected to Redis again") == 1
    assert log.index("WARNING metawsm.relay") < log.index("connected to Redis again")


@contextmanager
def notify_socket() -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """A socket as systemd has it: its address, and a function that gives the lines received so far."""
    path = str(Path(tempfile.mkdtemp(prefix="mw-")) / "n")
    lines: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.setblocking(False)

        def received() -> list[str]:
            try:
                while True:
                    lines.extend(receiver.recv(4096).decode().splitlines())
            except BlockingIOError:
                return lines

        yield path, received
    os.unlink(path)


def test_systemd_hears_of_ready_watchdog_and_stopping(
    server: ServerHandle, start_daemon: Callable[..., Daemon]
) -> None:
    """READY with a STATUS when requests are answered, WATCHDOG at least twice per period, STOPPING at the end."""
    with notify_socket() as (path, received):
        daemon = start_daemon("--redis", server.url, NOTIFY_SOCKET=path, WATCHDOG_USEC="600000")
        eventually(lambda: "READY=1" in received())
        assert f"STATUS=serving http://127.0.0.1:{daemon.port}" in received()
        began = received().count("WATCHDOG=1")
        time.sleep(0.6)
        assert received().count("WATCHDOG=1") - began >= 2
        assert daemon.stop() == 0
        assert received()[-2] == "STOPPING=1"


def test_the_watchdog_of_another_process_is_not_ours(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """With another WATCHDOG_PID nothing is sent for it."""
    with notify_socket() as (path, received):
        start_daemon("--redis", server.url, NOTIFY_SOCKET=path, WATCHDOG_USEC="300000", WATCHDOG_PID="1")
        time.sleep(0.3)
        assert "WATCHDOG=1" not in received()


def test_the_token_file(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Written at the first start, 0600, one line, kept afterwards; one that others can read is refused."""
    daemon = start_daemon("--redis", server.url)
    path = daemon.folder / ".metawsm" / "token"
    token = path.read_text()
    assert (path.stat().st_mode & 0o777, token.count("\n"), len(token) > 32) == (0o600, 1, True)
    assert daemon.stop() == 0
    daemon.start()
    assert path.read_text() == token
    assert daemon.stop() == 0
    path.chmod(0o644)
    refused = serve(daemon.folder, "--redis", server.url)
    assert (refused.returncode, "chmod 600" in refused.stderr) == (1, True)


def test_alive_and_ready(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Both probes answer without a credential."""
    daemon = start_daemon("--redis", server.url)
    for probe in ("/livez", "/readyz"):
        assert daemon.request("GET", probe, anonymous=True).status == 200


def test_the_forum_switched_off(server: ServerHandle, start_daemon: Callable[..., Daemon]) -> None:
    """Forum routes answer 503 and say why; the rest works."""
    policy = {"version": 2, "forum": {"enabled": False}}
    daemon = start_daemon("--redis", server.url, policy=policy, needs_redis=False)
    reply = daemon.request("GET", "/forum/threads")
    assert (reply.status, "forum.enabled" in reply.error["message"]) == (503, True)
    assert daemon.request("POST", "/forum/threads", ASK).status == 503
    assert daemon.request("GET", "/livez").status == 200


def test_an_empty_url_is_degraded(start_daemon: Callable[..., Daemon]) -> None:
    """Without a Redis the daemon is up, says so, and keeps what it is sent."""
    daemon = start_daemon("--redis", "", needs_redis=False)
    health = daemon.request("GET", "/health")
    assert (health.status, health.body["status"]) == (503, "degraded")
    assert health.body["forum_bus"] == {"healthy": False, "error": "forum redis url is empty"}
    assert daemon.request("POST", "/forum/threads", ASK).status == 202
    assert daemon.request("GET", "/forum/threads").body["threads"] == []


def test_a_redis_that_evicts_is_not_used_unasked(tmp_path: Path) -> None:
    """A server found at the default address that throws keys away is left alone, with the reason; a fit one is used."""
    server = start_redis(tmp_path / "evicting", "--maxmemory-policy", "allkeys-lru")
    try:
        found = choose(None, server.url)
        assert (found.kind, "allkeys-lru" in found.reason) == (Kind.BUNDLED, True)
        with server.client() as client:
            client.config_set("maxmemory-policy", "noeviction")
        assert choose(None, server.url).kind is Kind.EXTERNAL
    finally:
        server.remove()
