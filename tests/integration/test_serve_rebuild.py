"""A daemon that makes its read models anew before it serves, because they are of another version."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from metawsm.domain import actions
from metawsm.projections import ALL
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import database
from tests.support.read_side import Forum
from tests.support.redis_servers import ServerHandle
from tests.support.shell import COMMAND, environment

EVENTS = 600_000  # some 20 seconds of work
POSTS = f"""
INSERT INTO forum_events (event_id, event_type, event_version, occurred_at, thread_id, ticket, actor_type,
    correlation_id, payload_json)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {EVENTS})
SELECT 'fevt-' || i, event_type, event_version, occurred_at, thread_id, ticket, actor_type, correlation_id,
    json_set(payload_json, '$.post_id', 'fpst-' || i) FROM n, forum_events WHERE sequence = 2
"""
OUTDATED = "UPDATE projection_cursors SET version = version - 1"


def long_log(path: Path) -> None:
    """A database whose read models are of another version, with so much in its log that a rebuild takes long."""
    path.parent.mkdir(parents=True)
    forum = Forum(path)
    thread = forum.open()
    forum.do(thread, actions.post, "once more")
    forum.apply_all()
    forum.write(lambda: list(forum.db.execute(POSTS)))
    forum.write(lambda: list(forum.db.execute(OUTDATED)))
    forum.db.close()


def test_told_to_end_it_ends_soon_and_begins_again(server: ServerHandle, tmp_path: Path) -> None:
    """SIGTERM in the middle of the rebuild is an orderly end; the next start makes the read models, and serves."""
    path = tmp_path / ".metawsm" / "metawsm.db"
    long_log(path)
    options, log = ["--addr", "127.0.0.1:0", "--redis", server.url], tmp_path / "first.log"
    with log.open("wb") as told:
        first = subprocess.Popen([*COMMAND, "serve", *options], cwd=tmp_path, stderr=told, env=environment())
    try:
        eventually(lambda: "are made anew before serving" in log.read_text(), timeout=20)
        time.sleep(0.5)
        first.send_signal(signal.SIGTERM)
        assert first.wait(5) == 0
    finally:
        first.kill()
    assert log.read_text().splitlines()[-1].endswith("stopped")
    assert "serving http" not in log.read_text()
    with database(path) as db:
        db.execute("DELETE FROM forum_events WHERE sequence > 2000")  # the rest would only take time
    daemon = Daemon(None, tmp_path, *options[2:])
    daemon.end()
    with database(path) as db:
        made = set(db.execute("SELECT projection_name, version, sequence FROM projection_cursors"))
    assert made == {(spec.name, spec.version, 2000) for spec in ALL}
