"""The daemon's folder inside a repository: nothing of it is committed by mistake."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.runs_lab import git, repository


def test_git_sees_the_policy_and_the_skills_alone(tmp_path: Path) -> None:
    """`git add --all` in a project that is a repository takes what is everybody's, and neither token nor database."""
    place = repository(tmp_path / "project")
    (place / ".metawsm" / "skills" / "review").mkdir(parents=True)
    (place / ".metawsm" / "skills" / "review" / "SKILL.md").write_text("# Review\n")
    (place / ".metawsm" / "policy.json").write_text('{"version": 2}')
    daemon = Daemon(None, place, "--redis", "embedded://")
    try:
        git(place, "add", "--all")
    finally:
        daemon.end()
    added = git(place, "diff", "--cached", "--name-only").splitlines()
    assert added == [
        ".metawsm/.gitignore", ".metawsm/policy.json", ".metawsm/skills/review/SKILL.md", "serve.log",
    ]  # fmt: skip


def test_a_file_of_the_users_own_stays(tmp_path: Path) -> None:
    """Who wrote the list wants it so."""
    (tmp_path / ".metawsm").mkdir()
    (tmp_path / ".metawsm" / ".gitignore").write_text("backups/\n")
    daemon = Daemon(None, tmp_path, "--redis", "embedded://")
    daemon.end()
    assert (tmp_path / ".metawsm" / ".gitignore").read_text() == "backups/\n"
