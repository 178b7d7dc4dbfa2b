"""The machine under the daemon: a full disk, files that cannot be written, a held lock, a clock that jumps, a sleep."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.crowd import accepted_without_redis
from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.ledger import Ledger, check_streams, database
from tests.support.machine import Clock, filled, immutable, no_writes, read_only, small_disk
from tests.support.redis_servers import ServerHandle
from tests.support.shell import environment

ASK = {"ticket": "MET-1", "title": "t", "body": "b", "actor_type": "agent"}
HOUR = 3600
TEN_MINUTES = 600


def check_whole(ledger: Ledger, broker: ServerHandle) -> None:
    """The ledger comes out right, and the streams hold what the log holds."""
    ledger.check()
    with broker.client() as client:
        check_streams(ledger.daemon, client)


def ask(daemon: Daemon, body: str = "b") -> Reply:
    """Ask one question."""
    return daemon.request("POST", "/forum/threads", ASK | {"body": body})


def is_refused(daemon: Daemon) -> bool:
    """Whether no question is taken any more, a short one either: the log has room for some of those for a while."""
    return all(ask(daemon, body).status not in (201, 202) for body in ("x" * 60_000, "b", "b", "b"))


def check_refused(daemon: Daemon, words: str) -> None:
    """503 with a clear error and the time to come back; nothing of such a request is stored; health says why.

    Once a COMMIT may break off, of which nobody knows whether it is on disk: that is said, and no further one is tried.
    """
    eventually(lambda: is_refused(daemon), timeout=30)
    replies = [ask(daemon, "never accepted") for _ in range(3)]
    known = [reply for reply in replies if reply.error["code"] != "outcome_unknown"]
    assert len(known) >= 2, [reply.text for reply in replies]
    for reply in known:
        assert (reply.status, reply.error["code"]) == (503, "unavailable"), reply.text
    reply = known[-1]
    assert re.search(words, reply.error["message"]), reply.text
    assert int(reply.headers["retry-after"]) > 0
    health = daemon.request("GET", "/health")
    assert (health.status, health.body["components"]["database"]["status"]) == (503, "degraded")


def check_mended(daemon: Daemon) -> None:
    """Questions are taken again, health is ok, and what was refused has left nothing."""
    eventually(lambda: ask(daemon).status == 201, timeout=10)
    eventually(lambda: daemon.request("GET", "/health").status == 200)
    with database(daemon.database) as db:
        refused = "SELECT count(*) FROM forum_outbox WHERE payload_json LIKE '%never accepted%'"
        assert list(db.execute(refused)) == [(0,)]


@pytest.fixture
def cramped(broker: ServerHandle, artifact: list[str], tmp_path: Path) -> Iterator[Daemon]:
    """A daemon whose database lies on a disk of 160 MB."""
    with small_disk(tmp_path / ".metawsm", "160m"):
        daemon = Daemon(artifact, tmp_path, "--redis", broker.url)
        yield daemon
        daemon.end()


def test_a_full_disk(cramped: Daemon, broker: ServerHandle) -> None:
    """Under load the disk fills up: writes are refused with the reason, reads go on; with room all is well again."""
    ledger = Ledger(cramped, clients=3)
    with ledger.load():
        ledger.await_applied()
        with filled(cramped.database.parent):
            check_refused(cramped, "disk is full|check the disk and the space on it")
            assert cramped.request("GET", "/forum/threads").status == 200
        check_mended(cramped)
    check_whole(ledger, broker)


def limited(daemon: Daemon) -> AbstractContextManager[None]:
    """The process may not write to any file."""
    return no_writes(daemon.process.pid)


def log_immutable(daemon: Daemon) -> AbstractContextManager[None]:
    """Nobody can write to the write-ahead log."""
    return immutable(daemon.database.with_name(daemon.database.name + "-wal"))


def all_immutable(daemon: Daemon) -> AbstractContextManager[None]:
    """Nobody can write to the database and its log."""
    return immutable(daemon.database, daemon.database.with_name(daemon.database.name + "-wal"))


UNWRITABLE = [limited, *(pytest.param(each, marks=pytest.mark.faults) for each in (log_immutable, all_immutable))]


@pytest.mark.parametrize("unwritable", UNWRITABLE, ids=lambda each: each.__name__)
def test_files_that_cannot_be_written(
    unwritable: Callable[[Daemon], AbstractContextManager[None]], daemon: Daemon, broker: ServerHandle
) -> None:
    """Under load no change can be written: refused with the reason and not stored; then all is well again."""
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        ledger.await_applied()
        with unwritable(daemon):
            check_refused(daemon, "cannot be read or written")
            assert daemon.request("GET", "/forum/threads").status == 200
        check_mended(daemon)
    check_whole(ledger, broker)


@pytest.mark.faults
def test_a_database_file_that_cannot_be_written(daemon: Daemon, broker: ServerHandle) -> None:
    """Only checkpoints need the database file: what the log takes meanwhile is accepted, and nothing of it is lost."""
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        ledger.await_applied()
        with immutable(daemon.database):
            until = time.monotonic() + 3
            while time.monotonic() < until:
                assert ask(daemon, "x" * 60_000).status in (201, 503)
        check_mended(daemon)
    check_whole(ledger, broker)


def disk_read_only(daemon: Daemon) -> AbstractContextManager[None]:
    """The file system of the database is mounted read-only."""
    return read_only(daemon.database.parent)


def file_immutable(daemon: Daemon) -> AbstractContextManager[None]:
    """Nobody can write to the database."""
    return immutable(daemon.database)


@pytest.mark.parametrize(
    ("read_only_part", "says"),
    [
        (disk_read_only, "Read-only file system"),
        pytest.param(file_immutable, "may not be read and written", marks=pytest.mark.faults),
    ],
    ids=["disk", "file"],
)
def test_a_start_on_a_read_only_database_says_so(
    read_only_part: Callable[[Daemon], AbstractContextManager[None]],
    says: str,
    request: pytest.FixtureRequest,
    broker: ServerHandle,
    artifact: list[str],
) -> None:
    """The daemon ends at once, names the file and what to do, and starts when that has been done."""
    daemon: Daemon = request.getfixturevalue("cramped" if read_only_part is disk_read_only else "daemon")
    assert ask(daemon).status == 201
    assert daemon.stop() == 0
    command = [*artifact, "serve", "--addr", "127.0.0.1:0", "--redis", broker.url]
    with read_only_part(daemon):
        done = subprocess.run(command, cwd=daemon.folder, env=environment(), capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert daemon.database.name in done.stderr
    assert says in done.stderr
    assert "check " in done.stderr
    assert "Traceback" not in done.stderr
    daemon.start()
    assert ask(daemon).status == 201


@pytest.mark.parametrize("seconds", [2.0, pytest.param(11.5, marks=pytest.mark.faults)])
def test_locked_by_another_process(seconds: float, daemon: Daemon, broker: ServerHandle) -> None:
    """Writes wait for another process's lock; after ten seconds they get 503 and nothing is stored; reads go on."""
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        ledger.await_applied()
        with ThreadPoolExecutor(1) as other, database(daemon.database) as db:
            db.execute("BEGIN IMMEDIATE")
            asked = other.submit(ask, daemon)  # the load's commands may all have been accepted before the lock
            time.sleep(seconds / 2)
            assert daemon.request("GET", "/forum/threads").status == 200
            assert "lock" in daemon.request("GET", "/health").body["components"]["database"]["error"]
            time.sleep(seconds / 2)
            db.execute("ROLLBACK")
        ledger.await_applied()
    statuses = {entry.first_status for entry in ledger.entries[1:]}
    refused = {503} if seconds > 10 else set()
    assert asked.result().status == (503 if refused else 201)
    assert statuses <= {200, 201, 202, 404, 409} | refused  # 404: of a thread whose opening was refused
    check_whole(ledger, broker)


@contextmanager
def locked(daemon: Daemon) -> Iterator[None]:
    """Another process holds the lock of the database."""
    with database(daemon.database) as db:
        db.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize(
    ("unwritable", "commands"),
    [
        (locked, 2_000),
        pytest.param(locked, 20_000, marks=pytest.mark.faults),
        pytest.param(limited, 2_000, marks=pytest.mark.faults),
    ],
    ids=["locked", "locked-long", "limited"],
)
def test_a_backlog_on_its_way_while_the_database_cannot_be_written(
    unwritable: Callable[[Daemon], AbstractContextManager[None]],
    commands: int,
    broker: ServerHandle,
    start_artifact: Callable[..., Daemon],
) -> None:
    """Nothing can tell then that a row is in Redis: it is published once all the same."""
    daemon, crowd = accepted_without_redis(broker, start_artifact, commands)
    broker.start()
    with broker.client() as client:
        eventually(lambda: client.xlen("forum.commands.add_post") > 0, timeout=10)
        with unwritable(daemon):
            time.sleep(18)
            assert client.xlen("forum.commands.add_post") <= commands
        crowd.check()
        assert client.xlen("forum.commands.add_post") <= commands * 1.1
        check_streams(daemon, client)


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """A wall clock that can be set."""
    return Clock(tmp_path)


@pytest.fixture
def timed(broker: ServerHandle, start_artifact: Callable[..., Daemon], clock: Clock) -> Daemon:
    """A daemon that lives by that clock."""
    return start_artifact("--redis", broker.url, **clock.environment)


def ahead(daemon: Daemon) -> float:
    """Seconds that the daemon's clock is before this process's."""
    told = datetime.fromisoformat(daemon.request("GET", "/health").body["now"])
    return (told - datetime.now(UTC)).total_seconds()


def check_no_storm(daemon: Daemon) -> None:
    """No thread was escalated more than once, nothing was set aside."""
    escalated = "SELECT thread_id FROM forum_events WHERE event_type LIKE 'forum.sla.%' GROUP BY 1 HAVING count(*) > 1"
    with database(daemon.database) as db:
        assert list(db.execute(escalated)) == []
        assert list(db.execute("SELECT count(*) FROM dead_letters")) == [(0,)]


def test_the_clock_jumps_forward_and_back_by_an_hour(timed: Daemon, clock: Clock, broker: ServerHandle) -> None:
    """Under load the clock is set forward, back, behind and right: answers go on, once, in order, without a storm."""
    ledger = Ledger(timed, clients=4)
    with ledger.load():
        ledger.await_applied()
        for shift in (HOUR, 0, -HOUR, 0):
            clock.set(shift)
            assert abs(ahead(timed) - shift) < 5
            began = time.monotonic()
            assert ask(timed).status == 201
            assert time.monotonic() - began < 2
            ledger.await_applied()
    assert {entry.first_status for entry in ledger.entries[1:]} <= {200, 201, 409}
    check_whole(ledger, broker)
    check_no_storm(timed)


def check_catches_up(daemon: Daemon, broker: ServerHandle, sleep: Callable[[], None]) -> None:
    """The process stands still under load while `sleep` runs; then it answers at once, and catches up once."""
    ledger = Ledger(daemon, clients=3)
    with ledger.load():
        ledger.await_applied()
        daemon.process.send_signal(signal.SIGSTOP)
        sleep()
        daemon.process.send_signal(signal.SIGCONT)
        eventually(lambda: ask(daemon).status == 201, timeout=5)
        ledger.await_applied()
    check_whole(ledger, broker)
    check_no_storm(daemon)


@pytest.mark.parametrize("seconds", [2.0, pytest.param(20.0, marks=pytest.mark.faults)])
def test_suspended_for_ten_minutes(seconds: float, timed: Daemon, clock: Clock, broker: ServerHandle) -> None:
    """The machine sleeps: the wall clock goes on by ten minutes, the monotonic one, as Linux has it, hardly at all.

    Twenty seconds are longer than the lease on the Redis namespace and than any of the daemon's own patience.
    """

    def sleep() -> None:
        time.sleep(seconds)
        clock.set(TEN_MINUTES)

    check_catches_up(timed, broker, sleep)
    assert abs(ahead(timed) - TEN_MINUTES) < 5


@pytest.mark.faults
@pytest.mark.parametrize("start_broker", ["redis"], indirect=True)
def test_stopped_for_ten_minutes(daemon: Daemon, broker: ServerHandle) -> None:
    """The process alone stands still, as a frozen container: both clocks, Redis and the clients go on meanwhile.

    With one of the two servers only: the run takes ten minutes longer on one of its workers for each.
    """
    check_catches_up(daemon, broker, lambda: time.sleep(TEN_MINUTES))


def test_a_program_that_looks_into_the_database_leaves_the_log_alone(daemon: Daemon) -> None:
    """The runbook's queries with the `sqlite3` shell take nothing away: what is answered afterwards survives a kill."""
    log = daemon.database.with_name("metawsm.db-wal")
    thread = ask(daemon).body["thread"]["thread_id"]
    before = log.stat().st_ino
    query = "SELECT status, count(*) FROM forum_outbox GROUP BY status"
    assert subprocess.run(["sqlite3", daemon.database, query], capture_output=True, check=True).stdout
    assert log.stat().st_ino == before
    for number in range(3):
        post = {"body": f"post {number}", "actor_type": "agent"}
        assert daemon.request("POST", f"/forum/threads/{thread}/posts", post).status == 200
    daemon.kill()
    daemon.start()
    assert daemon.request("GET", f"/forum/threads/{thread}").body["thread"]["posts_count"] == 4
