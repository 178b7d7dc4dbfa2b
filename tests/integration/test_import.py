"""`import`: a database of the Go program becomes ours, with everything that fits and a word about what does not."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import apsw
import pytest

from metawsm.domain.errors import Refused
from metawsm.storage.connection import open_writer
from metawsm.storage.go_build import Build, Plan
from metawsm.storage.go_report import tallies
from metawsm.storage.migrations import migrate
from metawsm.storage.schema_steps import STEPS
from tests.support.go_database import TABLES, GoDatabase, small
from tests.support.shell import shell

CARRIED = ("forum_threads", "forum_posts", "forum_assignments", "forum_control_threads", "forum_thread_reads")


def place(folder: Path) -> Path:
    """Where a project's database is."""
    return folder / ".metawsm" / "metawsm.db"


def imported(folder: Path, *options: str) -> dict[str, Any]:
    """Run `import --json` in a folder and give the summary."""
    done = shell(["import", "--json", *options], cwd=folder)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)["import"]
    return told


def rows(path: Path, sql: str, *values: Any) -> list[Any]:
    """The rows of a question to a database file."""
    db = apsw.Connection(str(path))
    try:
        return list(db.execute(sql, values))
    finally:
        db.close()


def files(folder: Path) -> dict[str, str]:
    """The digests of all files, but of the lock."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture
def there(tmp_path: Path) -> dict[str, int]:
    """A small database of theirs; its counts."""
    database = small(place(tmp_path))
    counts = database.counts()
    database.close()
    return counts


def test_counts_agree_and_what_is_left_out_is_told(tmp_path: Path, there: dict[str, int]) -> None:
    """Every table of theirs is in the summary with its count; what is not carried is in the notes, row by row."""
    told = imported(tmp_path)
    tables = {each["table"]: each for each in told["tables"]}
    assert {name: each["before"] for name, each in tables.items()} == {
        name: count for name, count in there.items() if name != "schema_migrations"
    }
    for name in CARRIED:
        counted = rows(place(tmp_path), f"SELECT count(*) FROM {name}")[0][0]
        assert counted == tables[name]["after"] == there[name] > 0
    assert tables["forum_events"]["after"] == there["forum_events"] - 2
    assert told["notes"] == {"left out": 2, "not applied": 4}
    notes = [json.loads(line) for line in Path(told["report"]).read_text().splitlines()]
    assert [each["place"] for each in notes[:-1]] == ["forum_events"] + ["forum_outbox"] * 4
    assert (notes[0]["row"], notes[0]["count"]) == ("forum.integration.docs_sync.requested", 2)
    assert {each["text"].split('"body": ')[1] for each in notes[1:-1]} == {
        f'"never applied, {status}"}}' for status in ("pending", "processing", "sent", "failed")
    }


def test_events_keep_their_ids_and_their_place(tmp_path: Path, there: dict[str, int]) -> None:
    """Sequence, id, thread, correlation and cause are theirs; times are UTC; it is told how the actor was known."""
    ours = "sequence, event_id, thread_id, ticket, correlation_id, ifnull(causation_id, '')"
    backup = Path(imported(tmp_path)["backup"])
    here = rows(place(tmp_path), f"SELECT {ours} FROM forum_events ORDER BY 1")
    assert here == rows(backup, f"SELECT {ours} FROM forum_events WHERE event_type NOT LIKE '%integration%' ORDER BY 1")
    assert rows(place(tmp_path), "SELECT DISTINCT actor_known_by FROM forum_events") == [("import",)]
    first = "SELECT occurred_at FROM forum_events ORDER BY sequence LIMIT 1"
    assert rows(backup, first) == [("2026-02-03T09:00:01+01:00",)]
    assert rows(place(tmp_path), first) == [("2026-02-03T08:00:01.000000Z",)]


def test_a_sequence_of_theirs_is_never_given_again(tmp_path: Path) -> None:
    """Not even that of an event at the end of their log that was left out."""
    there = GoDatabase(place(tmp_path))
    there.answer(there.open(), "yes")
    there.close()
    imported(tmp_path)
    assert rows(place(tmp_path), "SELECT max(sequence) FROM forum_events") == [(3,)]
    assert rows(place(tmp_path), "SELECT seq FROM sqlite_sequence WHERE name = 'forum_events'") == [(4,)]


def test_a_sequence_that_they_gave_and_lost_is_not_given_again(tmp_path: Path) -> None:
    """Their counter knows events that were deleted at the end of their log; a cursor may have been beyond them."""
    there = GoDatabase(place(tmp_path))
    thread_id = there.open()
    for _ in range(3):
        there.post(thread_id, "deleted")
    there.db.execute("DELETE FROM forum_events WHERE sequence > 1")
    there.close()
    imported(tmp_path)
    assert rows(place(tmp_path), "SELECT max(sequence) FROM forum_events") == [(1,)]
    assert rows(place(tmp_path), "SELECT seq FROM sqlite_sequence WHERE name = 'forum_events'") == [(4,)]


def test_threads_and_posts_say_what_they_said(tmp_path: Path, there: dict[str, int]) -> None:
    """State, priority, assignee and texts are the same; a post that led to `answered` is an answer."""
    backup = Path(imported(tmp_path)["backup"])
    columns = "thread_id, title, state, priority, ifnull(assignee_name, ''), ifnull(run_id, ''), opened_by_type"
    sql = f"SELECT {columns} FROM forum_threads ORDER BY 1"
    assert rows(place(tmp_path), sql) == rows(backup, sql)
    texts = "SELECT post_id, {} FROM forum_posts WHERE thread_id NOT LIKE 'fctrl%' ORDER BY 1"
    assert rows(place(tmp_path), texts.format("body")) == rows(backup, texts.format("body_text"))
    answers = rows(place(tmp_path), "SELECT body, actor_type FROM forum_posts WHERE kind = 'answer'")
    assert answers == [("At the beginning", "human")]


def test_signals_are_signals_again(tmp_path: Path, there: dict[str, int]) -> None:
    """The JSON in their posts becomes signals; the answer settles its request, the later request is open."""
    imported(tmp_path)
    posts = rows(place(tmp_path), "SELECT body FROM forum_posts WHERE kind = 'signal' ORDER BY sequence")
    assert [body for (body,) in posts] == ["Which port?", "3001", "And the host?", "passed: tests pass"]
    (requests,) = rows(place(tmp_path), "SELECT open_requests FROM forum_threads WHERE thread_id LIKE 'fctrl%'")[0]
    open_one = rows(place(tmp_path), "SELECT post_id FROM forum_posts WHERE body = 'And the host?'")
    assert json.loads(requests) == [open_one[0][0]]


def test_reads_never_go_beyond_the_thread(tmp_path: Path, there: dict[str, int]) -> None:
    """What somebody has seen is carried, up to the thread's last event."""
    imported(tmp_path)
    seen = "SELECT viewer_type, viewer_id, last_seen_event_sequence FROM forum_thread_reads ORDER BY 1, 2, 3"
    (last,) = rows(place(tmp_path), "SELECT last_event_sequence FROM forum_threads WHERE state = 'closed'")[0]
    assert rows(place(tmp_path), seen) == [("agent", "bot", 1), ("human", "kb", 2), ("human", "kb", last)]


def test_the_backup_is_their_database(tmp_path: Path) -> None:
    """Before anything else all of it is copied, runs included, for its owner only; it stays."""
    database = small(place(tmp_path))
    before = list(database.db.iterdump())
    database.close()
    backup = Path(imported(tmp_path)["backup"])
    copy = sqlite3.connect(backup)
    assert list(copy.iterdump()) == before
    copy.close()
    assert (backup.stat().st_mode & 0o777, place(tmp_path).stat().st_mode & 0o777) == (0o600, 0o600)
    assert not list(tmp_path.rglob("*.importing*")) + list(tmp_path.rglob("*-wal"))


def test_a_dry_run_changes_nothing(tmp_path: Path, there: dict[str, int]) -> None:
    """It tells what an import would, and leaves every file as it was."""
    before = files(tmp_path)
    told = imported(tmp_path, "--dry-run")
    assert (told["dry_run"], told["notes"]) == (True, {"left out": 2, "not applied": 4})
    assert files(tmp_path) == before
    done = imported(tmp_path)
    assert (done["tables"], done["notes"]) == (told["tables"], told["notes"])


def test_another_file_can_be_imported_from(tmp_path: Path, there: dict[str, int]) -> None:
    """With --from theirs stays where and as it is; a database that is there is never replaced by it."""
    before = files(place(tmp_path).parent)
    target = tmp_path / "new" / "metawsm.db"
    told = imported(tmp_path, "--from", str(place(tmp_path)), "--db", str(target))
    assert files(place(tmp_path).parent) == before
    assert rows(target, "SELECT count(*) FROM forum_threads") == [(there["forum_threads"],)]
    again = imported(tmp_path, "--from", str(place(tmp_path)), "--db", str(target))
    assert (again["already"], again["tables"]) == (True, told["tables"])
    other = small(tmp_path / "other.db")
    other.close()
    refused = shell(["import", "--from", str(tmp_path / "other.db"), "--db", str(target)])
    assert (refused.returncode, "already" in refused.stderr) == (1, True)


def test_a_second_import_says_that_it_is_done(tmp_path: Path, there: dict[str, int]) -> None:
    """It changes nothing and shows the same summary."""
    told = imported(tmp_path)
    before = files(tmp_path)
    assert imported(tmp_path) == {**told, "already": True}
    assert files(tmp_path) == before


def test_counts_that_disagree_end_the_import(tmp_path: Path) -> None:
    """A row that got lost on the way is noticed, table by table, before anything is replaced."""
    there = small(tmp_path / "theirs.db")
    there.close()
    build = Build(tmp_path / "ours.db", tmp_path / "theirs.db", Plan("theirs.db", "", "2026-11-22T13:00:00.000000Z"))
    build.run(lambda *_: None)
    assert len(tallies(build.db)) == len(TABLES) - 1
    build.db.execute("DELETE FROM forum_posts WHERE sequence = 1")
    with pytest.raises(Refused, match="forum_posts: 10 rows there, 0 left out, 0 added, 9 here"):
        tallies(build.db)
    build.close()


def test_the_page_for_people_ends_with_what_to_do(tmp_path: Path, there: dict[str, int]) -> None:
    """Counts, notes, where the backup and the report are, and the next command."""
    done = shell(["import"], cwd=tmp_path)
    assert done.returncode == 0
    assert "forum_events             19      17     2         carried" in done.stdout
    assert "(2 rows)" in done.stdout
    assert "name an empty database number: serve --redis redis://" in done.stdout.splitlines()[-2]
    assert done.stdout.splitlines()[-1] == f"next: metawsm.pyz serve --db {place(tmp_path)}"
    assert "forum_events: 19 of 19" in done.stderr


def test_without_a_database_there_is_nothing_to_import(tmp_path: Path) -> None:
    """It is told, and no folder is made."""
    refused = shell(["import"], cwd=tmp_path)
    assert (refused.returncode, "there is no database" in refused.stderr) == (3, True), refused.stderr
    folder = shell(["import", "--from", "."], cwd=tmp_path)
    assert (folder.returncode, "is a folder" in folder.stderr) == (1, True), folder.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_makes_no_folder(tmp_path: Path) -> None:
    """Where the new database is to be is not made by a rehearsal."""
    small(tmp_path / "theirs.db").close()
    told = imported(tmp_path, "--from", "theirs.db", "--dry-run")
    assert (told["dry_run"], told["database"]) == (True, str(place(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["theirs.db"]


def test_only_their_databases_are_imported(tmp_path: Path) -> None:
    """One of another program, or one of ours that was never imported, is refused, and left alone."""
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE bookmarks (url)")
    other.close()
    ours = open_writer(tmp_path / "ours.db")
    migrate(ours, STEPS)
    ours.close()
    before = files(tmp_path)
    for name, says in (("other.db", "not one of the Go program"), ("ours.db", "one of metawsm's own")):
        refused = shell(["import", "--db", name], cwd=tmp_path)
        assert (refused.returncode, says in refused.stderr) == (1, True), refused.stderr
    assert files(tmp_path) == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """It is told, not a traceback."""
    (tmp_path / "text").write_text("not a database at all" * 100)
    refused = shell(["import", "--db", str(tmp_path / "text")])
    assert (refused.returncode, "Traceback" in refused.stderr) == (1, False)
    assert "not a SQLite database" in refused.stderr


def test_a_database_in_use_is_refused(tmp_path: Path) -> None:
    """While the Go program has it open, nothing is begun; afterwards it goes."""
    database = GoDatabase(place(tmp_path))
    database.open()
    refused = shell(["import"], cwd=tmp_path)  # reading the file in this process would free its locks
    assert (refused.returncode, "locked" in refused.stderr) == (1, True), refused.stderr
    assert {path.suffix for path in place(tmp_path).parent.iterdir()} <= {".db", ".db-wal", ".db-shm", ".lock"}
    database.close()
    assert imported(tmp_path)["notes"] == {}


def test_a_database_of_a_time_before_the_forum(tmp_path: Path) -> None:
    """Without forum tables there is nothing to carry; runs stay in the backup, and the new forum is empty."""
    path = place(tmp_path)
    path.parent.mkdir()
    old = sqlite3.connect(path)
    old.executescript("CREATE TABLE runs (run_id TEXT PRIMARY KEY); INSERT INTO runs VALUES ('run-1')")
    old.close()
    told = imported(tmp_path)
    assert [(each["table"], each["before"], each["about"]) for each in told["tables"]] == [
        ("runs", 1, "kept in the backup")
    ]
    assert rows(path, "SELECT count(*) FROM forum_events") == [(0,)]
