"""Handlers that fail and deliveries that come twice or not: the end state is that of an undisturbed run."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.at_rest import wait_for_rest
from tests.support.daemon import Daemon, Reply
from tests.support.eventually import eventually
from tests.support.ledger import Ledger, check_database, check_streams, database, read_models

pytest_plugins = ("tests.support.disturbed",)
NEVER = "/nonexistent/mended"
POST = {"body": "b", "actor_type": "agent"}


def open_thread(daemon: Daemon, name: str) -> None:
    """Open a thread with this id."""
    body = {"ticket": "MET-1", "title": "t", "body": "b", "thread_id": name, "actor_type": "agent"}
    assert daemon.request("POST", "/forum/threads", body).status == 201


def break_thread(daemon: Daemon, thread: str, until: str = NEVER) -> Reply:
    """Send the command whose handler fails until the file exists."""
    body = {"until": until, "actor_type": "agent"}
    return daemon.request("POST", f"/forum/threads/{thread}/break?wait=10", body)


def effects(daemon: Daemon) -> int:
    """How many posts the broken command has made."""
    with database(daemon.database) as db:
        return int(db.execute("SELECT count(*) FROM forum_posts WHERE body = '?'").get)


def test_a_bug_in_a_handler_costs_its_own_command_only(start_faulty: Callable[..., Daemon], client: Any) -> None:
    """Three attempts within two seconds, a letter; other threads are answered meanwhile, the own lane afterwards."""
    daemon = start_faulty()
    open_thread(daemon, "fthr-1")
    open_thread(daemon, "fthr-2")
    with ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        broken = pool.submit(break_thread, daemon, "fthr-1")
        eventually(lambda: "a bug in a handler" in daemon.log.read_text())
        behind = pool.submit(daemon.request, "POST", "/forum/threads/fthr-1/posts?wait=10", POST)
        answered = 0
        while not broken.done():
            assert daemon.request("POST", "/forum/threads/fthr-2/posts", POST).status == 200
            answered += 1
        took = time.monotonic() - began
        assert (broken.result().status, behind.result().status) == (500, 200)
    assert answered > 3 and took < 2.5
    with database(daemon.database) as db:
        ((reason, attempts, by, trace),) = db.execute("SELECT reason, attempts, handler, traceback FROM dead_letters")
    assert (reason, attempts, by) == ("handler_failed", 3, "break_thread")
    assert "ZeroDivisionError: a bug in a handler" in trace
    command = broken.result().error["correlation_id"]
    assert daemon.request("GET", f"/forum/commands/{command}").body["command"]["status"] == "failed"
    assert effects(daemon) == 0
    assert daemon.request("GET", "/health").body["status"] == "attention"
    eventually(lambda: client.xpending("forum.commands.break_thread", "metawsm-forum")["pending"] == 0)


def test_a_replay_after_the_mend_applies_once(start_faulty: Callable[..., Daemon], tmp_path: Path) -> None:
    """Replayed before the mend it fails again; after it, by ten at once and around a kill, it is applied once."""
    daemon = start_faulty()
    open_thread(daemon, "fthr-1")
    mended = tmp_path / "mended"
    assert break_thread(daemon, "fthr-1", str(mended)).status == 500
    with database(daemon.database) as db:
        letter = db.execute("SELECT id FROM dead_letters").get
    replay = f"/forum/dead-letters/{letter}/replay"
    assert daemon.request("POST", f"{replay}?wait=10", {"actor_type": "human"}).body["command"]["status"] == "failed"
    assert effects(daemon) == 0
    mended.touch()
    with ThreadPoolExecutor(10) as pool:
        replies = list(
            pool.map(lambda _: daemon.request("POST", f"{replay}?wait=10", {"actor_type": "human"}), range(10))
        )
    assert [reply.status for reply in replies] == [200] * 10
    assert sum(reply.body["done"] for reply in replies) == 1
    assert effects(daemon) == 1
    daemon.kill()
    daemon.start()
    assert daemon.request("POST", f"{replay}?wait=10", {"actor_type": "human"}).status == 200
    assert effects(daemon) == 1
    assert daemon.request("GET", "/health").body["status"] == "ok"
    assert "fresh look" not in daemon.log.read_text(), "the later ones got as far as the table's own guard"
    wait_for_rest(daemon)
    with database(daemon.database) as db:
        check_database(db)


STEPS: list[tuple[str, dict[str, Any]]] = [
    ("posts", {"body": "more about it", "actor_type": "agent"}),
    ("assign", {"assignee_type": "human", "assignee_name": "kb", "actor_type": "operator"}),
    ("state", {"to_state": "waiting_human", "reason": "only kb knows", "actor_type": "operator"}),
    ("priority", {"priority": "urgent", "actor_type": "operator"}),
    ("state", {"to_state": "new", "actor_type": "operator"}),  # rejected
    ("answer", {"body": "use v2", "actor_type": "human", "actor_name": "kb"}),
    ("seen", {"viewer_type": "human", "viewer_id": "kb", "actor_type": "human"}),
    ("read", {"actor_type": "agent", "actor_name": "bob"}),
    ("read", {"actor_type": "agent", "expected_sequence": 1}),  # rejected
    ("posts", {"body": "it did not help", "actor_type": "agent"}),
    ("posts", {"body": "stale", "actor_type": "agent", "expected_sequence": 1}),  # rejected
    ("close", {"reason": "moot", "actor_type": "human"}),
]  # fmt: skip


def settle(daemon: Daemon, path: str, body: dict[str, Any]) -> int:
    """Send a request until its outcome is known, each time with the same key; the status."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    return eventually(lambda: _known(daemon.request("POST", f"{path}?wait=10", body, key)), timeout=30)


def _known(reply: Reply) -> int:
    assert reply.status not in (202, 500, 503), reply.text
    return reply.status


def tell(daemon: Daemon) -> None:
    """The same requests each time: questions, everything that can happen to one, rejections, a guidance."""
    who = {"run_id": "run-1", "agent_name": "bob"}
    for number in range(3):
        thread = {"ticket": f"MET-{number}", "thread_id": f"fthr-{number}", "actor_type": "agent", **who}
        assert settle(daemon, "/forum/threads", {"title": "A question", "body": "which?", **thread}) == 201
        for action, body in STEPS:
            assert settle(daemon, f"/forum/threads/fthr-{number}/{action}", body) in (200, 409)
    request = {"control_type": "guidance_request", "question": "which?", **who}
    signal = {"ticket": "MET-1", "actor_type": "agent", "payload": request, **who}
    assert settle(daemon, "/forum/control/signal", signal) in (200, 201)


STATE = (
    "forum_threads", "forum_posts", "forum_state_transitions", "forum_assignments", "forum_thread_reads",
    "forum_post_receipts",
)  # fmt: skip


def told(daemon: Daemon) -> list[str]:
    """Log, state and read models; what chance and clock have made is replaced by the event's place in the log."""
    wait_for_rest(daemon)
    with database(daemon.database) as db:
        check_database(db)
        events = list(db.execute("SELECT event_id, occurred_at FROM forum_events ORDER BY sequence"))
        tables = read_models(db) | {name: list(db.execute(f"SELECT * FROM {name}")) for name in STATE}
        tables["forum_events"] = list(db.execute("SELECT * FROM forum_events"))
    names = {str(text): f"{place} of the log" for place, pair in enumerate(events) for text in pair}
    return sorted(f"{table} {_plain(repr(row), names)}" for table, rows in tables.items() for row in rows)


def _plain(text: str, names: dict[str, str]) -> str:
    text = re.sub(r"fevt-[0-9a-z-]+", lambda found: names.get(found[0], "a stranger"), text)
    text = re.sub(r"fcmd-[0-9a-z-]+", "a command", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", lambda found: names.get(found[0], "some time"), text)


@pytest.mark.parametrize("fault", ["double", "flaky"])
def test_disturbed_deliveries_end_as_undisturbed_ones(
    fault: str, start_faulty: Callable[..., Daemon], client: Any
) -> None:
    """Everything delivered twice, or three of ten failing: log, state and read models are those of a quiet run."""
    quiet = start_faulty()
    tell(quiet)
    expected = told(quiet)
    assert quiet.stop() == 0
    client.flushall()
    disturbed = start_faulty(fault, 7)
    tell(disturbed)
    assert told(disturbed) == expected


@pytest.mark.parametrize("fault", ["double", "flaky"])
def test_the_ledger_with_disturbed_deliveries(fault: str, start_faulty: Callable[..., Daemon], client: Any) -> None:
    """The same under load from four clients: what was accepted is applied once, in order."""
    daemon = start_faulty(fault)
    ledger = Ledger(daemon, clients=4)
    with ledger.load():
        ledger.await_applied(60)
    ledger.check()
    check_streams(daemon, client)
