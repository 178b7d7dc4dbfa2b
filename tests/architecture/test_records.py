"""Records that must agree with each other: decisions and their index, dependencies and their locks."""

from __future__ import annotations

import re
import tomllib

from tests.support import sources

SETTINGS = tomllib.loads((sources.ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_decision_is_in_the_index() -> None:
    """docs/decisions/README.md links each record exactly once and nothing else, and no number is given twice."""
    folder = sources.ROOT / "docs" / "decisions"
    records = sorted(path.name for path in folder.glob("[0-9]*.md"))
    linked = re.findall(r"\]\(([0-9][^)]*\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == records
    assert len({name[:4] for name in records}) == len(records)


def test_the_locks_fit_the_project() -> None:
    """Each pinned dependency stands in its lock with that version; if not, run scripts/lock."""
    groups = SETTINGS["dependency-groups"]
    wanted = {
        "runtime.txt": SETTINGS["project"]["dependencies"],
        "dev.txt": SETTINGS["project"]["dependencies"] + groups["dev"],
        "build.txt": groups["build"],
    }
    for file, pins in wanted.items():
        locked = (sources.ROOT / "requirements" / file).read_text(encoding="utf-8")
        assert [pin for pin in pins if f"\n{pin} \\\n" not in locked] == [], file


def test_everything_locked_has_a_hash() -> None:
    """No requirement gets in without a hash that pip checks."""
    for path in sorted((sources.ROOT / "requirements").glob("*.txt")):
        for entry in re.findall(r"^\w[^#]*", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert "--hash=sha256:" in entry, entry
