"""The built-in ticket documents over real files."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from metawsm.domain.errors import Obstructed, OutsideError
from metawsm.effects.ticket_docs import TicketDocs

DOCS = TicketDocs()
TODAY = date(2026, 5, 4)
AT = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a repository's ticket documents; it is not there yet."""
    return tmp_path / "repo" / "ttmp"


def _ensure(root: Path, ticket: str = "MET-1") -> Path:
    return DOCS.ensure(root, ticket, f"{ticket}: Fix the login", ["core", "cli"], TODAY)


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_ticket_is_made_once(root: Path) -> None:
    """In docmgr's layout; another day, another title or another spelling finds it again."""
    assert DOCS.find(root, "MET-1") is None
    folder = _ensure(root)
    assert folder == root / "2026" / "05" / "04" / "MET-1--fix-the-login"
    assert _files(folder) == ["README.md", "changelog.md", "index.md", "tasks.md"]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        "design", "reference", "playbooks", "scripts", "sources", ".meta", "various", "archive",
    }  # fmt: skip
    assert (
        'Title: "MET-1: Fix the login"\nTicket: "MET-1"\nStatus: active\nTopics:\n    - "core"\n'
        in (folder / "index.md").read_text()
    )
    assert DOCS.ensure(root, "met-1", "Other", [], date(2027, 1, 1)) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert DOCS.find(root, "MET-10") is None
    assert _ensure(root, "MET-10") != folder == DOCS.find(root, "MET-1")


def test_what_a_crash_left_of_a_new_ticket_does_not_count(root: Path) -> None:
    """It is made anew under its name."""
    draft = root / "2026" / "05" / "04" / ".MET-1--fix-the-login.new"
    draft.mkdir(parents=True)
    (draft / "index.md").write_text("half")
    assert DOCS.find(root, "MET-1") is None
    assert _ensure(root).is_dir()
    assert not draft.exists()


def test_what_is_left_of_an_earlier_folder_is_completed(root: Path) -> None:
    """Git removes files and leaves folders: what is there stays, what is missing is made."""
    folder = _ensure(root)
    (folder / "index.md").unlink()
    (folder / "tasks.md").write_text("mine")
    assert DOCS.find(root, "MET-1") is None
    assert _ensure(root) == folder
    assert ((folder / "tasks.md").read_text(), (folder / "index.md").is_file()) == ("mine", True)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_two_folders_of_a_ticket_are_told(root: Path) -> None:
    """Nobody can say which one is meant."""
    folder = _ensure(root)
    other = root / "2025" / "01" / "02" / "met-1--older"
    other.mkdir(parents=True)
    (other / "index.md").write_text("x")
    with pytest.raises(Obstructed, match="more than one folder") as refused:
        DOCS.find(root, "MET-1")
    assert str(folder) in refused.value.message
    assert str(other) in refused.value.message


@pytest.mark.parametrize("ticket", ["../x", "a/b", "", ".hidden", "a\nb"])
def test_a_ticket_is_a_name(root: Path, ticket: str) -> None:
    """It cannot lead out of its folder."""
    with pytest.raises(Obstructed, match="no name of a ticket"):
        DOCS.ensure(root, ticket, "x", [], TODAY)
    assert not root.exists()


def test_a_document_is_numbered_and_written_once(root: Path) -> None:
    """The same title gets the new body; topics come from the index."""
    folder = _ensure(root)
    first = DOCS.add_document(root, "MET-1", "reference", "Bootstrap brief run-1", "# Brief\n\n## Goal\nX\n")
    assert first == folder / "reference" / "01-bootstrap-brief-run-1.md"
    (folder / "reference" / "07-by-hand.md").write_text("x")
    assert DOCS.add_document(root, "MET-1", "reference", "Next", "b").name == "08-next.md"
    assert DOCS.add_document(root, "MET-1", "reference", "Bootstrap brief run-1", "# Brief\n\x1b[1mnew") == first
    text = first.read_text()
    assert text.endswith("---\n\n# Brief\nnew\n")
    assert "DocType: reference\n" in text
    assert '    - "core"\n    - "cli"\n' in text
    with pytest.raises(Obstructed, match="no type of document"):
        DOCS.add_document(root, "MET-1", "../x", "t", "b")


def test_the_changelog_grows_at_its_end(root: Path) -> None:
    """The same entry is not added twice, another one is."""
    folder = _ensure(root)
    for text in ("one", "one", "two"):
        DOCS.append_changelog(root, "MET-1", "Asked", text, TODAY)
    assert (folder / "changelog.md").read_text() == (
        "# Changelog\n\n## 2026-05-04 - Asked\n\none\n\n## 2026-05-04 - Asked\n\ntwo\n"
    )


def test_feedback_is_added_once_for_each_moment(root: Path) -> None:
    """To a page of its own, which no document gets the number after."""
    folder = _ensure(root)
    DOCS.append_feedback(root, "MET-1", AT, "Use # tabs\n# not spaces")
    page = DOCS.append_feedback(root, "MET-1", AT, "Use # tabs\n# not spaces")
    assert page == folder / "reference" / "99-operator-feedback.md"
    body = page.read_text().split("---\n\n", maxsplit=1)[1]
    assert body == "# Operator Feedback\n\n## 2026-05-04T10:00:00.000000+00:00\n\nUse # tabs\n\\# not spaces\n"
    DOCS.append_feedback(root, "MET-1", AT.replace(hour=11), "More")
    assert page.read_text().count("\n## 2026-") == 2
    assert DOCS.add_document(root, "MET-1", "reference", "T", "b").name == "01-t.md"


def test_a_ticket_is_closed_once(root: Path) -> None:
    """Status and changelog. The same entry is not added again, on no other day either; another one is."""
    folder = _ensure(root)
    DOCS.close(root, "MET-1", "Closed by run-1", TODAY)
    assert "\nStatus: complete\n" in (folder / "index.md").read_text()
    before = {name: (folder / name).read_text() for name in ("index.md", "changelog.md")}
    assert before["changelog.md"].endswith("## 2026-05-04\n\nClosed by run-1\n")
    DOCS.close(root, "MET-1", "Closed by run-1", date(2026, 6, 1))
    assert before == {name: (folder / name).read_text() for name in before}
    DOCS.close(root, "MET-1", "Closed by run-1, round 2", date(2026, 6, 1))
    assert (folder / "index.md").read_text() == before["index.md"]
    added = "\n## 2026-06-01\n\nClosed by run-1, round 2\n"
    assert (folder / "changelog.md").read_text() == before["changelog.md"] + added


def test_a_ticket_that_is_not_there_is_named(root: Path) -> None:
    """With the place that was looked at."""
    with pytest.raises(Obstructed, match=f"MET-1 has no documents below {root}"):
        DOCS.append_changelog(root, "MET-1", "", "x", TODAY)


def test_documents_are_copied_with_links_and_modes(root: Path, tmp_path: Path) -> None:
    """What was at the destination is replaced; nothing is left beside it."""
    folder = _ensure(root)
    (folder / "scripts" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "scripts" / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("index.md")
    (folder / ".meta" / "x").write_text("hidden")
    there = tmp_path / "ws" / "ttmp"
    old = there / "2026" / "05" / "04" / folder.name
    (old / "stale").mkdir(parents=True)
    (old / "index.md").write_text("old")
    seeded = DOCS.seed(root, there, "met-1")
    assert seeded.folder == old
    assert seeded.revision.isdecimal()
    assert _files(old) == _files(folder)
    assert os.readlink(old / "link") == "index.md"
    assert (old / "scripts" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (old / "reference").is_dir()
    assert [path.name for path in old.parent.iterdir()] == [folder.name]
    assert int(DOCS.seed(root, there, "MET-1").revision) > int(seeded.revision)


def test_what_cannot_be_copied_is_named(root: Path, tmp_path: Path) -> None:
    """A pipe; a ticket that would be there twice. What is at the destination stays."""
    folder = _ensure(root)
    there = tmp_path / "ws" / "ttmp"
    DOCS.seed(root, there, "MET-1")
    os.mkfifo(folder / "pipe")
    with pytest.raises(Obstructed, match="pipe is neither a file nor a folder nor a link"):
        DOCS.seed(root, there, "MET-1")
    assert DOCS.find(there, "MET-1") is not None
    (folder / "pipe").unlink()
    elsewhere = there / "2020" / "01" / "01" / "MET-1--other"
    elsewhere.parent.mkdir(parents=True)
    (there / folder.relative_to(root)).rename(elsewhere)
    with pytest.raises(Obstructed, match="it would be there twice"):
        DOCS.seed(root, there, "MET-1")


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("changelog.md", lambda root: DOCS.append_changelog(root, "MET-1", "", "x", TODAY)),
        ("index.md", lambda root: DOCS.close(root, "MET-1", "x", TODAY)),
        ("reference", lambda root: DOCS.append_feedback(root, "MET-1", AT, "x")),
        ("reference", lambda root: DOCS.add_document(root, "MET-1", "reference", "secret", "x")),
    ],
)
def test_no_link_leads_out(root: Path, tmp_path: Path, name: str, act: Callable[[Path], object]) -> None:
    """An agent may replace a page or a folder by a link; nothing is read or written through it."""
    folder = _ensure(root)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("---\nTitle: x\n---\n\nsecret\n")
    path = folder / name
    path.rmdir() if path.is_dir() else path.unlink()
    path.symlink_to(outside if name == "reference" else outside / "secret")
    with pytest.raises(Obstructed, match="is a link"):
        act(root)
    assert _files(outside) == ["secret"]
    assert "secret\n" in (outside / "secret").read_text()


def test_what_the_disk_refuses_is_told_and_leaves_the_page(root: Path) -> None:
    """The page stays as it was."""
    folder = _ensure(root)
    (folder / ".changelog.md.new").mkdir()  # no file can be written there
    before = (folder / "changelog.md").read_text()
    with pytest.raises(OutsideError, match=r"changelog\.md cannot be written: "):
        DOCS.append_changelog(root, "MET-1", "", "x", TODAY)
    assert (folder / "changelog.md").read_text() == before
