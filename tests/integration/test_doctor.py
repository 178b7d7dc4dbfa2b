"""`doctor` against real daemons, servers and files: it tells what is wrong, and leaves no trace."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from metawsm.domain.errors import Unavailable
from metawsm.storage.inspection import Examiner
from metawsm.storage.lock import Holder, acquire
from tests.support.daemon import Daemon
from tests.support.doctor import ask
from tests.support.eventually import eventually
from tests.support.redis_servers import ServerHandle
from tests.support.services import missing
from tests.support.shell import COMMAND, environment, shell

THREAD = {"ticket": "T-1", "title": "t", "body": "b", "actor_type": "agent"}


def traces(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder below, with what would change if it was written."""
    found = {path: path.stat() for path in [folder, *folder.rglob("*")] if "redis" not in path.parts}
    return {str(path): (status.st_size, status.st_mtime_ns, status.st_mode) for path, status in found.items()}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a daemon that has opened a thread and ended in order; tests work on copies."""
    folder = tmp_path_factory.mktemp("ended")
    daemon = Daemon(None, folder, "--redis", "embedded://")
    try:
        assert daemon.request("POST", "/forum/threads", THREAD).status == 201
        assert daemon.stop() == 0
    finally:
        daemon.end()
    return folder / ".metawsm"


@pytest.fixture
def stopped(ended: Path, tmp_path: Path) -> Path:
    """A project's folder with a database that no daemon has open."""
    (tmp_path / "project").mkdir()
    shutil.copytree(ended, tmp_path / "project" / ".metawsm")
    return tmp_path / "project"


def database(folder: Path) -> Path:
    """The database in a project's folder."""
    return folder / ".metawsm" / "metawsm.db"


def test_an_empty_folder(tmp_path: Path, free_port: int) -> None:
    """Before the first start nothing is wrong, and nothing is made."""
    told = ask(tmp_path, "--addr", f"127.0.0.1:{free_port}", "--redis", "embedded://")
    assert told.code == 0
    assert "FAIL" not in told.bad().values()
    assert list(tmp_path.iterdir()) == []


def test_a_running_daemon(daemon: Daemon, server: ServerHandle) -> None:
    """Everything is looked at, from the daemon's own answers where it has any; only the daemon writes its log."""
    assert daemon.request("POST", "/forum/threads", THREAD).status == 201
    eventually(lambda: daemon.request("GET", "/health").body["outbox"]["processing_count"] == 0)
    before = traces(daemon.folder / ".metawsm")
    told = ask(daemon.folder)
    after = traces(daemon.folder / ".metawsm")
    assert after.keys() == before.keys()
    assert [path for path in before if before[path] != after[path] and not path.endswith("-wal")] == []
    assert told.bad() == {"redis.persistence": "WARN"} | (
        {"files.system": "WARN"} if told.status("files.system") == "WARN" else {}
    )
    assert f"process {daemon.process.pid} at 127.0.0.1:{daemon.port}" in told.checks["files.lock"]["detail"]
    assert server.url in told.checks["redis.ping"]["detail"]
    assert f"process {daemon.process.pid}" in told.checks["redis.owner"]["detail"]
    assert "is the daemon's" in told.checks["daemon.token"]["detail"]
    assert "behind event 1" in told.checks["database.read-models"]["detail"]


def test_after_a_daemon_was_killed(daemon: Daemon) -> None:
    """A write-ahead log that was left is read, and neither it nor its index is touched."""
    assert daemon.request("POST", "/forum/threads", THREAD).status == 201
    daemon.kill()
    before = traces(daemon.folder / ".metawsm")
    told = ask(daemon.folder)
    assert traces(daemon.folder / ".metawsm") == before
    assert "-wal" in str(before)
    assert "behind event 1" in told.checks["database.read-models"]["detail"]
    assert "no daemon" in told.checks["files.lock"]["detail"]


def test_after_an_orderly_end(stopped: Path) -> None:
    """The file alone is read, and no log is made beside it, in a read-only folder neither."""
    folder = stopped / ".metawsm"
    before = traces(folder)
    told = ask(stopped, "--deep")
    assert traces(folder) == before
    assert told.checks["database.whole"]["detail"] == "integrity_check is ok"
    folder.chmod(0o500)
    read_only = ask(stopped)
    folder.chmod(0o700)
    assert traces(folder).keys() == before.keys()
    assert read_only.status("database.whole") == "OK"
    if os.getuid():
        assert read_only.status("files.folder") == "FAIL"


def test_a_log_without_its_index(daemon: Daemon) -> None:
    """What cannot be read without making a file is not read, and that is said."""
    assert daemon.request("POST", "/forum/threads", THREAD).status == 201
    daemon.kill()
    Path(f"{daemon.database}-shm").unlink()
    before = traces(daemon.folder / ".metawsm")
    told = ask(daemon.folder)
    assert traces(daemon.folder / ".metawsm") == before
    assert told.status("database.readable") == "FAIL"


def test_a_tool_that_has_the_database(stopped: Path) -> None:
    """An import or a restore holds the lock and serves nothing: it is named, and nothing is wrong."""
    lock = acquire(database(stopped), Holder(os.getpid(), "import", "2026-11-22T12:00:00Z"))
    try:
        told = ask(stopped, "--redis", "embedded://")
    finally:
        lock.release()
    assert f"process {os.getpid()} at import" in told.checks["files.lock"]["detail"]
    assert "FAIL" not in told.bad().values()
    assert "no daemon runs" in told.checks["daemon.health"]["detail"]


def test_permissions(stopped: Path) -> None:
    """What others can write or read is told; the token's mode keeps the daemon from starting."""
    folder = stopped / ".metawsm"
    (folder / "token").chmod(0o644)
    folder.chmod(0o755)
    database(stopped).chmod(0o666)
    told = ask(stopped)
    assert told.status("files.token") == "FAIL"
    assert told.status("files.folder") == "WARN"
    assert told.status("files.database") == "FAIL"
    refused = shell(["serve", "--addr", "127.0.0.1:0"], cwd=stopped)
    assert "can be read by others" in refused.stderr


def test_a_token_that_is_not_the_daemons(daemon: Daemon) -> None:
    """A named token is tried at the daemon."""
    told = ask(daemon.folder, METAWSM_TOKEN="another")
    assert told.status("daemon.token") == "FAIL"


def test_a_bad_policy(tmp_path: Path) -> None:
    """The faulty key is named with its file."""
    (tmp_path / "policy.json").write_text('{"version": 2, "forum": {"redis": {"stram": "x"}}}')
    told = ask(tmp_path, "--policy", "policy.json", "--redis", "embedded://")
    assert told.status("policy.valid") == "FAIL"
    assert "forum.redis.stram" in told.checks["policy.valid"]["detail"]


def test_a_policy_that_is_no_file(tmp_path: Path) -> None:
    """A pipe is named at once; nobody waits for somebody to write into it."""
    os.mkfifo(tmp_path / "policy.json")
    told = ask(tmp_path, "--policy", "policy.json", "--redis", "embedded://")
    assert told.status("policy.valid") == "FAIL"
    assert "is not a regular file" in told.checks["policy.valid"]["detail"]


def test_a_lock_that_is_never_read_to_its_end(tmp_path: Path) -> None:
    """A file that hangs, as on a server that is gone, holds it up for its time only."""
    os.mkfifo(tmp_path / "metawsm.db.lock")
    told = ask(tmp_path, "--db", "metawsm.db")
    assert told.bad() == {"doctor.in-time": "FAIL"}


@pytest.mark.parametrize(("begin", "check"), [(100, "database.readable"), (5 * 4096, "database.whole")])
def test_a_damaged_database(stopped: Path, begin: int, check: str) -> None:
    """Whether the schema or the tables are hit: it is told in SQLite's words, with what to do."""
    with database(stopped).open("r+b") as file:
        for place in range(begin, 20 * 4096, 4096):
            file.seek(place)
            file.write(b"\xff" * 400)
    told = ask(stopped)
    assert told.status(check) == "FAIL"
    assert "restore a backup" in told.checks[check]["hint"]


def test_a_database_too_large_to_be_checked_in_time(tmp_path: Path) -> None:
    """SQLite's own check ends at its time, without a verdict; with time it has one."""
    database = tmp_path / "large.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        numbers = "WITH RECURSIVE n(x) AS (VALUES (1) UNION ALL SELECT x + 1 FROM n LIMIT 300000)"
        db.execute(f"CREATE TABLE large AS {numbers} SELECT x, hex(x) AS y FROM n")
        db.execute("CREATE INDEX large_y ON large (y)")
    with Examiner(database) as examiner:
        assert examiner.faults(whole=True, seconds=0.0) is None
        assert examiner.faults(whole=True, seconds=None) == []
        with pytest.raises(Unavailable, match="took too long"):
            examiner.read(lambda db: list(db.execute("SELECT count(*) FROM large a JOIN large b USING (x)")), 0.0)


def test_databases_of_others(tmp_path: Path, stopped: Path) -> None:
    """Another program's file and a newer schema are refused in the words of `serve`."""
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE theirs (x)")
    told = ask(tmp_path, "--db", "other.db", "--redis", "embedded://")
    assert "belongs to another program" in told.checks["database.schema"]["detail"]
    with closing(sqlite3.connect(database(stopped))) as newer:
        newer.execute("PRAGMA user_version = 999")
    told = ask(stopped)
    assert told.status("database.schema") == "FAIL"
    assert "schema version 999" in told.checks["database.schema"]["detail"]


def test_what_waits_in_the_database(stopped: Path) -> None:
    """Dead letters by reason, read models that are behind, a log from the future: told without a daemon, too."""
    with closing(sqlite3.connect(database(stopped), isolation_level=None)) as db:
        db.execute(
            "INSERT INTO dead_letters (reason, attempts, handler, consumer_group, topic, entry_id, first_failed_at,"
            " last_failed_at) VALUES ('mal\x1b[31mformed', 1, 'h', 'g', 't', '1-0', 'now', 'now')"
        )
        db.execute("UPDATE forum_events SET sequence = 5000, occurred_at = '2999-01-01T00:00:00.000000Z'")
    told = ask(stopped)
    names = ("database.dead-letters", "database.read-models", "clock.newest")
    assert {name: told.status(name) for name in names} == dict.fromkeys(names, "WARN")
    shown = shell(["doctor"], cwd=stopped).stdout
    assert "open: 1 malformed" in shown
    assert "\x1b" not in shown


def test_a_disk_that_is_nearly_full(tmp_path: Path) -> None:
    """On a file system of 4 MiB nothing is sure to be stored."""
    if os.getuid():
        missing("mounting a small file system needs root")
    command = shlex.join([*COMMAND, "doctor", "--json", "--redis", "embedded://"])
    script = (
        f"mount -t tmpfs -o size=4m tmpfs {shlex.quote(str(tmp_path))} && cd {shlex.quote(str(tmp_path))} && {command}"
    )
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=30, env=environment()
    )
    if "unshare failed" in run.stderr or "permission denied" in run.stderr:
        missing("this machine forbids mounting")
    checks = {check["name"]: check["status"] for check in json.loads(run.stdout)["checks"]}
    assert (run.returncode, checks["files.disk"], checks["files.system"]) == (1, "FAIL", "WARN")


def test_a_limit_of_file_sizes(tmp_path: Path) -> None:
    """A write-ahead log that may not grow would store nothing."""
    limit = 1 << 20
    done = subprocess.run(
        [*COMMAND, "doctor", "--json", "--redis", "embedded://"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=30,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    checks = {check["name"]: check["status"] for check in json.loads(done.stdout)["checks"]}
    assert (done.returncode, checks["files.longest"]) == (1, "FAIL")


def test_lines_for_people(tmp_path: Path, free_port: int) -> None:
    """Status, name and detail stand in columns, the hint below what it is for, the count at the end."""
    done = shell(["doctor", "--redis", "", "--addr", f"127.0.0.1:{free_port}"], cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("FAIL  redis.choice "))
    assert lines[place].endswith("  forum redis url is empty")
    assert lines[place + 1].index("->") == lines[place].index("forum redis url")
    assert lines[-1].startswith("1 FAIL, ")


def test_it_loads_no_more_than_it_needs() -> None:
    """Importing the command loads no driver; the checks themselves never patch the process."""
    probe = (
        "import sys; from metawsm.cli import doctor; from metawsm.daemon import doctor as d;"
        "print(sorted(name for name in ('gevent', 'bottle') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == "[]"
