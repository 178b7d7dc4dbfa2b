"""The database: whose it is, whether it is whole, and what waits in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from metawsm.bus.ports import Db
from metawsm.daemon.checks.finding import Case, Finding, fail, ok, warn
from metawsm.domain.errors import Refused, Unavailable
from metawsm.storage import log_reads
from metawsm.storage.inspection import Examiner, keeps_a_log
from metawsm.storage.jobs_table import JobTable
from metawsm.storage.outbox import Outbox
from metawsm.storage.schema_steps import STEPS

CHECK_SECONDS = 2.0  # for SQLite's own check unless --deep
READ_SECONDS = 1.0
LONG_LOG = 64 << 20  # bytes; the daemon shortens it long before
STUCK_SECONDS = 60.0  # that a row may wait while a daemon runs
FULL_SHARE = 0.75  # of the most rows not done
MOST_BEHIND = 1000  # events
FUTURE_SECONDS = 60.0
LONG_JOB_SECONDS = 1200.0  # at work: a checkout of a large repository may take 15 minutes
DEEPER = "metawsm.pyz doctor --deep takes the time it needs"


def database(case: Case) -> Iterator[Finding]:
    """Everything that the file tells, daemon or not."""
    try:
        if not case.database.is_file():
            yield ok("database.schema", "there is no database yet")
            return
        with Examiner(case.database) as examiner:
            yield from _examined(case, examiner)
    except Unavailable as error:
        hint = "start the daemon once, or restore a backup if it cannot read it either"
        yield fail("database.readable", error.message, hint)
    except OSError as error:
        shown = f"{case.database} cannot be looked at: {error.strerror}"
        yield fail("database.readable", shown, "run as the user who runs the daemon, or mend the mode of the folder")


def _examined(case: Case, examiner: Examiner) -> Iterator[Finding]:
    owned = _owned(examiner, case)
    yield owned
    yield from _whole(case, examiner)
    yield _log(case.database)
    if owned.status != "FAIL" and examiner.schema_version():
        yield from _contents(case, examiner)


def _owned(examiner: Examiner, case: Case) -> Finding:
    try:
        examiner.refuse_foreign()
    except Refused as error:
        return fail("database.schema", error.message, "name a database of metawsm with --db, or import it")
    version = examiner.schema_version()
    if version > len(STEPS):
        shown = f"schema version {version}, this program knows versions up to {len(STEPS)}"
        return fail("database.schema", shown, "use the newer metawsm.pyz that wrote it, or a backup from before")
    if version < len(STEPS):
        return ok("database.schema", f"schema version {version}, the next start brings it to {len(STEPS)}")
    return ok("database.schema", f"schema version {version}, {case.database}")


def _whole(case: Case, examiner: Examiner) -> Iterator[Finding]:
    seconds = None if case.deep else CHECK_SECONDS
    faults = examiner.faults(whole=case.deep, seconds=seconds)
    if faults is None:
        yield warn("database.whole", f"no fault found in {CHECK_SECONDS:g} s, and not looked at to the end", DEEPER)
    elif faults:
        yield fail("database.whole", "; ".join(faults), "stop the daemon and restore a backup, which keeps the file")
    else:
        yield ok("database.whole", "integrity_check is ok" if case.deep else "quick_check is ok")
    broken = examiner.broken_references(seconds)
    if broken is None:
        yield warn("database.references", f"not looked at to the end within {CHECK_SECONDS:g} s", DEEPER)
    elif broken:
        yield fail("database.references", f"{broken} rows refer to nothing", "restore a backup, and report this")
    else:
        yield ok("database.references", "foreign_key_check is ok")


def _log(path: Path) -> Finding:
    if not keeps_a_log(path):
        return warn("database.log", "the file has no write-ahead log", "the next start of the daemon sets it")
    log = Path(f"{path}-wal")
    size = log.stat().st_size if log.exists() else 0
    shown = f"write-ahead log of {size / (1 << 20):.1f} MiB"
    if size > LONG_LOG:
        return warn(
            "database.log", shown, "a program reads without end: look for it with lsof; then restart the daemon"
        )
    return ok("database.log", shown)


def _contents(case: Case, examiner: Examiner) -> Iterator[Finding]:
    looks: dict[str, Callable[[], Finding]] = {
        "database.outbox": lambda: _outbox(case, examiner),
        "database.read-models": lambda: _projections(case, examiner),
        "database.dead-letters": lambda: _dead_letters(examiner),
        "database.jobs": lambda: _jobs(case, examiner),
        "clock.newest": lambda: _newest(examiner),
    }
    for name, look in looks.items():
        try:
            yield look()
        except Unavailable as error:
            if examiner.timed_out:
                yield warn(name, error.message, "ask again when the machine has less to do")
            else:
                yield fail(name, error.message, "see docs/runbook-failures.md; restore a backup if it is damaged")


def _outbox(case: Case, examiner: Examiner) -> Finding:
    outbox = Outbox()

    def look(db: Db) -> tuple[dict[str, int], str | None, tuple[int, str, str] | None]:
        return outbox.counts(db), outbox.oldest(db, "pending"), outbox.oldest_sent(db)

    counts, pending, sent = examiner.read(look, READ_SECONDS)
    undone, most = counts["pending"] + counts["sent"], case.policy.forum.limits.outbox
    shown = f"{counts['pending']} pending, {counts['sent']} sent, {counts['failed']} failed"
    if undone >= most * FULL_SHARE:
        judge = fail if undone >= most else warn
        hint = "mend what holds them up (redis, commands); writes are refused at the limit"
        return judge("database.outbox", f"{shown}; {most} is the limit", hint)
    age = max(_age(pending), _age(sent[2] if sent else None))
    if case.served and age > STUCK_SECONDS:
        where = f" on {sent[1]}" if sent and _age(sent[2]) == age else ""
        hint = "look at redis above, at the log, and at `metawsm.pyz forum debug`"
        return warn("database.outbox", f"{shown}; the oldest has waited {age:.0f} s{where}", hint)
    waits = "; they are done when the daemon starts" if undone and not case.served else ""
    return ok("database.outbox", shown + waits)


def _projections(case: Case, examiner: Examiner) -> Finding:
    def look(db: Db) -> tuple[int, list[tuple[str, int]]]:
        rows = db.execute("SELECT projection_name, sequence FROM projection_cursors ORDER BY sequence")
        return log_reads.head(db), [(str(name), int(sequence)) for name, sequence in rows]

    head, cursors = examiner.read(look, READ_SECONDS)
    late = [f"{name} by {head - at}" for name, at in cursors if head - at > MOST_BEHIND]
    if late:
        hint = "`metawsm.pyz forum rebuild`, and look at the log" if case.served else "start the daemon, it catches up"
        return warn("database.read-models", f"behind the log: {', '.join(late)}", hint)
    behind = head - cursors[0][1] if cursors else head
    return ok("database.read-models", f"{len(cursors)} read models, at most {behind} behind event {head}")


def _dead_letters(examiner: Examiner) -> Finding:
    def look(db: Db) -> list[tuple[str, int]]:
        rows = db.execute(
            "SELECT reason, count(*) FROM dead_letters WHERE status = 'open' GROUP BY reason ORDER BY reason"
        )
        return [(str(reason), int(count)) for reason, count in rows]

    reasons = examiner.read(look, READ_SECONDS)
    if not reasons:
        return ok("database.dead-letters", "none is open")
    shown = ", ".join(f"{count} {reason}" for reason, count in reasons)
    hint = "`metawsm.pyz forum dead-letters list` shows them; replay or discard each"
    return warn("database.dead-letters", f"open: {shown}", hint)


def _jobs(case: Case, examiner: Examiner) -> Finding:
    """What runs do outside: whether it is held back, late, or at work for longer than anything takes."""
    table = JobTable("", 0)

    def look(db: Db) -> tuple[dict[str, int], str | None, str | None] | None:
        if not any(db.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'")):
            return None
        return table.counts(db), table.oldest(db, "pending"), table.oldest(db, "running")

    found = examiner.read(look, READ_SECONDS)
    if found is None:
        return ok("database.jobs", "the next start makes the table of jobs")
    counts, pending, running = found
    shown = f"{counts['pending']} pending, {counts['running']} running, {counts['held']} held"
    if counts["held"]:
        hint = "since a backup was restored; look at the runs, then `metawsm.pyz jobs release`"
        return warn("database.jobs", shown, hint)
    if case.served and _age(running) > LONG_JOB_SECONDS:
        hint = "look at `metawsm.pyz status`, and for a git or tmux that hangs; a restart begins it anew"
        return warn("database.jobs", f"{shown}; one is at work for {_age(running):.0f} s", hint)
    if case.served and _age(pending) > STUCK_SECONDS:
        hint = "look at the daemon's log, and at the other jobs: `metawsm.pyz forum debug --json`"
        return warn("database.jobs", f"{shown}; one is due for {_age(pending):.0f} s", hint)
    waits = "; they go on when the daemon starts" if sum(counts.values()) and not case.served else ""
    return ok("database.jobs", shown + waits)


def _newest(examiner: Examiner) -> Finding:
    def look(db: Db) -> list[str]:
        return [str(at) for (at,) in db.execute("SELECT occurred_at FROM forum_events ORDER BY sequence DESC LIMIT 1")]

    newest = next(iter(examiner.read(look, READ_SECONDS)), None)
    if newest is None:
        return ok("clock.newest", "nothing has happened yet")
    ahead = -_age(newest)
    if ahead > FUTURE_SECONDS:
        shown = f"the newest event, of {newest}, is {ahead:.0f} s ahead of the clock"
        return warn("clock.newest", shown, "the clock was set back: set it right, due times are counted by it")
    return ok("clock.newest", f"the newest event is of {newest}")


def _age(at: str | None) -> float:
    """Seconds since a time in RFC 3339; 0 for none."""
    if at is None:
        return 0.0
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
