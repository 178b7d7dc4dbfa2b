"""What `doctor` makes of facts that a test machine does not have: other file systems, interpreters, clocks, servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from metawsm.daemon.checks import broker, files, program, serving
from metawsm.daemon.checks.finding import Finding, fail, ok, warn
from metawsm.daemon.doctor import _Group, worst
from metawsm.streams.examine import Examined
from metawsm.streams.inspection import GroupInfo, ServerFacts
from metawsm.version import Build

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 22 0:27 / /tmp rw,nosuid - tmpfs tmpfs rw
40 22 0:40 / /srv/team\\040files rw - nfs4 server:/team rw
41 40 0:41 / /srv/team\\040files/local rw shared:3 - xfs /dev/vdb rw
42 22 0:42 / /srv/win rw - 9p drvfs rw
43 22 254:1 / /tmp rw - btrfs /dev/vdc rw
"""
FACTS = ServerFacts("redis 7.0.15", "master", "noeviction", True, True, True, 1 << 20, 0, False, 1)
GOOD = Examined("redis://127.0.0.1:6379/0", FACTS, 0.2, "", 0.0, None)


@pytest.mark.parametrize(
    ("folder", "kind", "status"),
    [
        ("/srv/elsewhere", "ext4", "OK"),
        ("/srv/team files/x", "nfs4", "FAIL"),
        ("/srv/team files/local/x", "xfs", "OK"),
        ("/srv/team filesystem", "ext4", "OK"),
        ("/srv/win", "9p", "FAIL"),
        ("/tmp/x", "btrfs", "OK"),
    ],
)
def test_the_file_system_of_a_folder(folder: str, kind: str, status: str) -> None:
    """The innermost mount counts, the later one of two at the same place; a network file system is refused."""
    assert files.file_system_of(Path(folder), MOUNTS) == kind
    assert files.judge_file_system(Path(folder), kind).status == status


def test_a_file_system_that_goes_with_the_machine() -> None:
    """Memory and container layers work, and are warned of."""
    assert files.judge_file_system(Path("/x"), "tmpfs").status == "WARN"
    assert files.judge_file_system(Path("/x"), "overlay").status == "WARN"


def test_an_artifact_of_another_interpreter() -> None:
    """What the artifact was built for has to be what runs it; a checkout has no such demand."""
    assert program._interpreter(Build("source", "", "", "")).status == "OK"
    found = program._interpreter(Build("abc", "2.7", "plan9-vax", ""))
    assert found.status == "FAIL"
    assert "built for 2.7 on plan9-vax" in found.detail


@pytest.mark.parametrize(("hard", "status"), [(20_000, "OK"), (-1, "OK"), (1024, "WARN"), (256, "FAIL")])
def test_open_files(hard: int, status: str) -> None:
    """The hard limit is what the daemon can reach; -1 is none."""
    assert program._files(256, hard).status == status


def test_a_clock_that_is_set_meanwhile() -> None:
    """A wall clock that moved more than the steady one is told."""
    clock = program.Clock()
    assert clock.finding().status == "OK"
    clock._wall = time.time() - 3600
    assert clock.finding().status == "WARN"


def _facts(**changes: object) -> Examined:
    return evolve(GOOD, facts=evolve(FACTS, **changes))  # type: ignore[arg-type] # the test names fields


def test_a_good_server_is_found_good() -> None:
    """Nothing is said against a Redis as it should be."""
    judges = (broker._ping, broker._version, broker._role, broker._persistence, broker._eviction, broker._memory)
    assert {judge(GOOD).status for judge in (*judges, broker._clock)} == {"OK"}


def test_versions_of_servers() -> None:
    """Redis counts from 7.0; every Valkey will do."""
    versions = {"redis 6.2.14": "FAIL", "redis 7.4.1": "OK", "redis 10.0.0": "OK", "valkey 9.1.2": "OK"}
    assert {version: broker._version(_facts(version=version)).status for version in versions} == versions


def test_servers_that_cannot_be_written() -> None:
    """Replicas, clusters, and servers whose disk or memory is full."""
    assert broker._role(_facts(role="slave")).status == "FAIL"
    assert broker._role(_facts(cluster=True)).status == "FAIL"
    assert broker._persistence(_facts(snapshot_ok=False)).status == "FAIL"
    assert broker._memory(_facts(used_memory=85, max_memory=100)).status == "WARN"
    assert broker._memory(_facts(used_memory=99, max_memory=100)).status == "FAIL"


def test_servers_that_are_slow_or_in_another_time() -> None:
    """Both are warned of, and work."""
    assert broker._ping(evolve(GOOD, latency_ms=80.0)).status == "WARN"
    assert broker._clock(evolve(GOOD, ahead_seconds=-90.0)).status == "WARN"


def test_groups_that_are_behind() -> None:
    """Entries that wait are late when they are many, when nobody reads, or when they have been trimmed already."""
    group = GroupInfo("t", "g", 1, 0, 0, "0-0", 1.0, False)
    late = {
        "none waits": (group, False),
        "few, being read": (evolve(group, pending=5, lag=5), False),
        "many": (evolve(group, lag=2000), True),
        "nobody has read for long": (evolve(group, lag=1, idle_seconds=120.0), True),
        "nobody has ever read": (evolve(group, pending=1, idle_seconds=None), True),
        "trimmed over": (evolve(group, lag=None, overtaken=True), True),
    }
    assert {name: broker._is_late(each) for name, (each, _) in late.items()} == {
        n: is_late for n, (_, is_late) in late.items()
    }


def test_the_whole_is_as_bad_as_its_worst_part() -> None:
    """FAIL beats WARN beats OK."""
    good, odd, bad = ok("a", "x"), warn("b", "x", "y"), fail("c", "x", "y")
    assert [worst(found) for found in ([], [good], [good, odd], [bad, odd, good])] == ["OK", "OK", "WARN", "FAIL"]
    assert good == Finding("a", "OK", "x", "")


def test_a_check_that_hangs_or_breaks() -> None:
    """What it had found until then is kept, and what became of it is a failure of its own; nobody waits for it."""

    def hangs() -> Iterator[Finding]:
        yield ok("disk.first", "x")
        threading.Event().wait()

    def breaks() -> Iterator[Finding]:
        yield ok("disk.first", "x")
        raise PermissionError(13, "Permission denied")

    begun = time.monotonic()
    found = {name: _Group("disk", check).findings(0.5) for name, check in (("hangs", hangs), ("breaks", breaks))}
    assert time.monotonic() - begun < 5
    assert [(each.name, each.status) for each in found["hangs"]] == [("disk.first", "OK"), ("disk.in-time", "FAIL")]
    assert [(each.name, each.status) for each in found["breaks"]] == [("disk.first", "OK"), ("disk.readable", "FAIL")]
    assert "Permission denied" in found["breaks"][1].detail


def test_where_a_daemon_is_asked() -> None:
    """One that listens everywhere is asked on the loopback interface of the same family."""
    assert serving.url_of("0.0.0.0", 3001) == "http://127.0.0.1:3001"
    assert serving.url_of("::", 3001) == "http://[::1]:3001"
    assert serving.url_of("192.0.2.7", 3001) == "http://192.0.2.7:3001"
