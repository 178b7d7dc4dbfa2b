"""A database of the Go program before and after `import`, with the real daemon."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from metawsm.messages.thread_rows import COLUMN_LIST
from tests.integration.test_import import imported, place, rows
from tests.integration.test_relay import external
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.go_database import GoDatabase, large, small
from tests.support.redis_servers import ServerHandle
from tests.support.shell import shell


class Served:
    """A daemon on an imported database, and the backup of theirs to compare with."""

    def __init__(self, folder: Path, url: str) -> None:
        self.told = imported(folder)
        self.backup = Path(self.told["backup"])
        self.daemon = Daemon(None, folder, "--redis", url)

    def get(self, path: str) -> Any:
        """The body of an answer."""
        reply = self.daemon.request("GET", path)
        assert reply.status == 200, reply.text
        return reply.body

    def theirs(self, sql: str, *values: Any) -> list[Any]:
        """Rows of the backup."""
        return rows(self.backup, sql, *values)


@pytest.fixture
def served(tmp_path: Path, server: ServerHandle) -> Iterator[Served]:
    """The small database, imported and served."""
    small(place(tmp_path)).close()
    served = Served(tmp_path, server.url)
    yield served
    served.daemon.end()


def test_the_database_of_a_running_daemon_is_known_as_ours(daemon: Daemon, tmp_path: Path) -> None:
    """It is not called busy, which would make somebody stop the daemon for nothing; nothing is made beside it."""
    for words in (["--from", str(daemon.database)], ["--db", str(daemon.database)]):
        refused = shell(["import", *words], cwd=tmp_path)
        assert (refused.returncode, "one of metawsm's own" in refused.stderr) == (1, True), refused.stderr
    assert daemon.request("GET", "/forum/threads").status == 200


def test_the_daemon_refuses_their_database(tmp_path: Path) -> None:
    """It names the command that takes it over, and changes nothing in it."""
    small(place(tmp_path)).close()
    before = place(tmp_path).read_bytes()
    refused = shell(["serve", "--addr", "127.0.0.1:0"], cwd=tmp_path)
    assert refused.returncode == 1
    assert "metawsm.pyz import" in refused.stderr
    assert place(tmp_path).read_bytes() == before


def test_an_import_is_refused_while_our_daemon_runs(served: Served) -> None:
    """The lock's holder is named."""
    refused = shell(["import"], cwd=served.daemon.folder)
    assert refused.returncode == 1
    assert f"in use by process {served.daemon.process.pid}" in refused.stderr


def test_threads_are_listed_and_shown(served: Served) -> None:
    """Every thread of theirs stands in the list, by filters too, and shows its posts."""
    listed = served.get("/forum/threads?limit=500")["threads"]
    columns = ("thread_id", "ticket", "title", "state", "priority")
    there = served.theirs(f"SELECT {', '.join(columns)} FROM forum_threads ORDER BY 1")
    assert sorted(tuple(each[name] for name in columns) for each in listed) == there
    other = served.get("/forum/threads?ticket=OTHER-1&state=waiting_operator")["threads"]
    assert [each["title"] for each in other] == ["Third"]
    for view in listed:
        posts = served.theirs("SELECT count(*) FROM forum_posts WHERE thread_id = ?", view["thread_id"])[0][0]
        page = served.get(f"/forum/threads/{view['thread_id']}")
        assert len(page["posts"]) == view["posts_count"] == posts


def test_events_and_stats_and_search(served: Served) -> None:
    """The log has their sequences, the counters their threads, the index their words."""
    events = served.get("/forum/events?limit=1000")["events"]
    there = "SELECT sequence FROM forum_events WHERE event_type NOT LIKE '%integration%' ORDER BY 1"
    assert [each["sequence"] for each in events] == [sequence for (sequence,) in served.theirs(there)]
    stats = served.get("/forum/stats")["stats"]
    assert sum(each["thread_count"] for each in stats) == served.theirs("SELECT count(*) FROM forum_threads")[0][0]
    begin = "Wh\u00e9re to \u201cbegin\u201d?"
    for word, title in (("zebra", begin), ("quokka", "Third"), ("Wh\u00e9re", begin)):
        found = served.get(f"/forum/search?query={quote(word)}")
        assert [each["title"] for each in found["threads"]] == [title]


def test_the_forum_goes_on(served: Served) -> None:
    """The open guidance request is answered on the old control thread; new events come after all of theirs."""
    signal = {"run_id": "run-1", "ticket": "METAWSM-002", "agent_name": "ann", "actor_type": "operator",
              "payload": {"control_type": "guidance_answer", "answer": "localhost"}}  # fmt: skip
    reply = served.daemon.request("POST", "/forum/control/signal", signal)
    assert reply.status == 200, reply.text
    thread = reply.body["thread"]
    assert (thread["thread_id"], thread["state"]) == ("fctrl-run-1-ann", "answered")
    newest = served.theirs("SELECT max(sequence) FROM forum_events")[0][0]
    assert thread["last_event_sequence"] > newest
    asked = {"ticket": "METAWSM-002", "title": "New", "body": "one", "actor_type": "agent"}
    assert served.daemon.request("POST", "/forum/threads", asked).status == 201
    health = served.get("/health")
    assert health["status"] == "ok", health


def test_what_was_seen_is_seen(served: Served) -> None:
    """A thread that somebody has seen to its end is not in their unseen queue."""
    unseen = served.get("/forum/queues?type=unseen&viewer_type=human&viewer_id=kb")["threads"]
    closed = served.theirs("SELECT thread_id FROM forum_threads WHERE state = 'closed'")[0][0]
    assert len(unseen) == 3
    assert closed not in {each["thread_id"] for each in unseen}


def test_odd_rows_do_not_trouble_the_daemon(tmp_path: Path, server: ServerHandle) -> None:
    """What was cut or renamed is listed, found and can be written to; nothing becomes a dead letter."""
    there = GoDatabase(place(tmp_path))
    renamed = there.open("My ticket", "t" * 400, "b" * 70_000, thread_id="Thread/7")
    there.post(renamed, "\u0000okapi")
    there.state(renamed, "blocked")
    there.close()
    served = Served(tmp_path, server.url)
    try:
        (view,) = served.get("/forum/threads")["threads"]
        assert served.get(f"/forum/threads?ticket={view['ticket']}")["threads"] == [view]
        assert len(served.get("/forum/search?query=okapi")["threads"]) == 1
        post = {"body": "more", "actor_type": "agent"}
        assert served.daemon.request("POST", f"/forum/threads/{view['thread_id']}/posts", post).status == 200
        assert served.get("/health")["status"] == "ok"
    finally:
        served.daemon.end()


def _used_by_theirs(there: GoDatabase, server: ServerHandle) -> list[str]:
    """Fill a Redis with what the Go program publishes: its commands, and the feed and topics; the command topics."""
    commands = there.db.execute("SELECT message_id, topic, payload_json FROM forum_outbox").fetchall()
    events = there.db.execute("SELECT event_id, 'forum.events.post.added', '{}' FROM forum_events").fetchall()
    with server.client() as client:
        for uuid, topic, payload in [*commands, *events, *((uuid, "metawsm-forum", "{}") for uuid, *_ in events)]:
            client.xadd(topic, {"_watermill_message_uuid": uuid, "metadata": b"", "payload": payload})
    return sorted({topic for _, topic, _ in commands})


def test_on_the_redis_that_theirs_used(tmp_path: Path, server: ServerHandle) -> None:
    """Its commands are passed over, told and acked, not done and not buried; those from after the import are done."""
    there = small(place(tmp_path))
    odd = there.open()
    there.message("forum.commands.open_thread", {"event_id": "fevt-none"}, "sent", title="never opened")
    topics = _used_by_theirs(there, server)
    there.close()
    served = Served(tmp_path, server.url)
    try:
        log = served.daemon.log.read_text()
        for topic in topics:
            assert f"{topic} holds commands from before the import" in log
        with server.client() as client:
            client.xadd("forum.commands.open_thread", external("later"))
        eventually(lambda: "later" in titles(served), timeout=10)
        assert served.get("/forum/dead-letters")["dead_letters"] == []
        assert odd in {each["thread_id"] for each in served.get("/forum/threads?limit=500")["threads"]}
        assert len(titles(served)) == 6
        assert eventually(lambda: not pending(server, topics), timeout=10)
    finally:
        served.daemon.end()


def titles(served: Served) -> list[str]:
    """The titles of all threads."""
    return [each["title"] for each in served.get("/forum/threads?limit=500")["threads"]]


def pending(server: ServerHandle, topics: list[str]) -> int:
    """Entries of command streams that are read and not acked."""
    with server.client() as client:
        return sum(group["pending"] for topic in topics for group in client.xinfo_groups(topic))


def test_read_models_equal_the_tables_of_truth(tmp_path: Path, server: ServerHandle) -> None:
    """After the rebuild at the first start the views say of 700 threads what the carried tables say."""
    large(place(tmp_path), 700).close()
    served = Served(tmp_path, server.url)
    try:
        truth = rows(place(tmp_path), f"SELECT {COLUMN_LIST} FROM forum_threads ORDER BY 1")
        assert len(truth) == 700
        assert "made anew before serving" in served.daemon.log.read_text()
        assert rows(place(tmp_path), f"SELECT {COLUMN_LIST} FROM forum_thread_views ORDER BY 1") == truth
        page = served.get("/forum/queues?type=unseen&viewer_type=human&viewer_id=kb")["threads"]
        assert page == []
    finally:
        served.daemon.end()


@pytest.mark.faults
def test_the_artifact_imports_and_serves(pyz: Path, tmp_path: Path, server: ServerHandle) -> None:
    """The built file does the same: refuses, imports, serves."""
    small(place(tmp_path)).close()
    command = [sys.executable, str(pyz)]
    before = subprocess.run(
        [*command, "serve", "--addr", "127.0.0.1:0"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (before.returncode, b"metawsm.pyz import" in before.stderr) == (1, True)
    subprocess.run([*command, "import"], cwd=tmp_path, capture_output=True, check=True)
    daemon = Daemon(command, tmp_path, "--redis", server.url)
    try:
        assert len(daemon.request("GET", "/forum/threads").body["threads"]) == 4
    finally:
        daemon.end()
