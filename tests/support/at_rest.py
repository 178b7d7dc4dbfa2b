"""A daemon that has done all it has accepted, and what must hold of it then."""

from __future__ import annotations

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.ledger import check_database, database, read_models, rebuild


def wait_for_rest(daemon: Daemon, timeout: float = 30.0) -> None:
    """Wait until no outbox row is undone, those of events included."""
    eventually(lambda: _is_at_rest(daemon), timeout=timeout)


def _is_at_rest(daemon: Daemon) -> bool:
    outbox = daemon.request("GET", "/health").body["outbox"]
    return bool(outbox["pending_count"] == outbox["processing_count"] == 0)


def check_at_rest(daemon: Daemon) -> None:
    """Wait for rest; then tables are in order, read models equal a rebuild, and the log has no traceback."""
    wait_for_rest(daemon)
    with database(daemon.database) as db:
        check_database(db)
        before = read_models(db)
    rebuild(daemon, 60)
    with database(daemon.database) as db:
        after = read_models(db)
    for table, rows in before.items():
        assert rows == after[table], f"{table} differs from its rebuild"
    assert "Traceback" not in daemon.log.read_text()
