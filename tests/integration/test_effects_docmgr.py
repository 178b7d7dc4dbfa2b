"""The port Docs through a program named `docmgr`.

The program is a stand-in for that outside tool (not for anything of ours): it cannot be installed where tests run. It
behaves as the tool is documented to (`tests/support/outside_tools.py`).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from metawsm.domain.errors import Obstructed, OutsideError, ProgramFailed, ProgramMissing
from metawsm.effects.docmgr import DocmgrDocs
from tests.support import outside_tools

DOCS = DocmgrDocs()
TODAY = datetime.now(UTC).date()
FORM = ["--with-glaze-output", "--output", "json"]


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The program is on PATH; here it notes how it is called."""
    return outside_tools.install(monkeypatch, tmp_path, "docmgr")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of the documents."""
    return tmp_path / "ttmp"


def test_a_ticket_is_made_once(state: Path, root: Path) -> None:
    """docmgr does not look for an existing one, so we do; titles and topics are values, not flags."""
    assert DOCS.find(root, "MET-1") is None
    folder = DOCS.ensure(root, "MET-1", "--force\nit", ["core", "cli"], TODAY)
    assert DOCS.ensure(root, "MET-1", "Other", [], TODAY) == folder
    assert folder == root / TODAY.strftime("%Y/%m/%d") / "MET-1--slug"
    made = [call for call in outside_tools.calls(state) if call[:2] == ["ticket", "create"]]
    assert made == [
        ["ticket", "create", f"--root={root}", "--ticket=MET-1", "--title=--force it", "--topics=core,cli", *FORM]
    ]


def test_a_document_keeps_its_front_matter_and_gets_its_body(state: Path, root: Path) -> None:
    """A second time it is found by its title, not added again."""
    DOCS.ensure(root, "MET-1", "Fix", [], TODAY)
    page = DOCS.add_document(root, "MET-1", "reference", "Bootstrap brief run-1", "# Brief\n")
    assert DOCS.add_document(root, "MET-1", "reference", "Bootstrap brief run-1", "# Newer\n") == page
    text = page.read_text()
    assert text.startswith('---\nTitle: "Bootstrap brief run-1"\nDocType: reference\n')
    assert text.endswith("---\n\n# Newer\n")
    assert [call[:2] for call in outside_tools.calls(state)].count(["doc", "add"]) == 1


def test_entries_are_added_once_and_a_ticket_is_closed_once(state: Path, root: Path) -> None:
    """docmgr would append each time."""
    folder = DOCS.ensure(root, "MET-1", "Fix", [], TODAY)
    for _ in range(2):
        DOCS.append_changelog(root, "MET-1", "Asked", "text\n## 2026-01-01", TODAY)
        DOCS.close(root, "MET-1", "Closed by run-1", TODAY)
    day = TODAY.isoformat()
    assert (folder / "changelog.md").read_text() == (
        f"# Changelog\n\n## {day} - Asked\n\ntext\n\\## 2026-01-01\n\n## {day}\n\nClosed by run-1\n"
    )
    assert "Status: complete" in (folder / "index.md").read_text()


def test_what_docmgr_has_no_verb_for_is_done_on_its_files(state: Path, root: Path, tmp_path: Path) -> None:
    """Feedback and copies."""
    folder = DOCS.ensure(root, "MET-1", "Fix", [], TODAY)
    page = DOCS.append_feedback(root, "MET-1", datetime(2026, 5, 4, tzinfo=UTC), "Use tabs")
    assert page == folder / "reference" / "99-operator-feedback.md"
    seeded = DOCS.seed(root, tmp_path / "ws", "MET-1")
    assert (seeded.folder / "reference" / page.name).read_text() == page.read_text()
    assert DOCS.find(tmp_path / "ws", "MET-1") == seeded.folder


def test_its_words_are_told_when_it_fails(state: Path, root: Path) -> None:
    """Also when it answers with something else than rows, or names a place outside of its root."""
    outside_tools.will(state, fail='\033[31mError:\033[0m ticket ambiguous: "MET"')
    with pytest.raises(ProgramFailed, match=r'^docmgr ticket failed with exit code 1: Error: ticket ambiguous: "MET"$'):
        DOCS.find(root, "MET-1")
    outside_tools.will(state, say="[panic")
    with pytest.raises(OutsideError, match="docmgr ticket list did not answer in JSON: "):
        DOCS.find(root, "MET-1")
    for path in ("../x", "/etc", "a/../../x", ""):
        outside_tools.will(state, say=f'[{{"ticket": "MET-1", "path": "{path}"}}]')
        with pytest.raises(Obstructed, match="which is not below"):
            DOCS.find(root, "MET-1")


def test_what_it_did_not_do_is_noticed(state: Path, root: Path) -> None:
    """Exit code 0 is not believed."""
    outside_tools.will(state, say="No tickets found.")
    with pytest.raises(OutsideError, match="docmgr created no ticket MET-1"):
        DOCS.ensure(root, "MET-1", "Fix", [], date(2026, 1, 1))


def test_a_missing_docmgr_is_told_with_the_policy_that_helps(root: Path) -> None:
    """The key that makes metawsm write the documents itself."""
    with pytest.raises(ProgramMissing, match=r"docmgr is not installed .* set docs\.tool to builtin in the policy"):
        DOCS.find(root, "MET-1")
