"""Real git repositories for tests, made with the real git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.services import program

IDENTITY = "[user]\n\tname = Tess Ter\n\temail = tess@example.org\n[init]\n\tdefaultBranch = main\n"


def own_settings(monkeypatch: pytest.MonkeyPatch, home: Path, settings: str = IDENTITY) -> None:
    """Let git read these settings and no other ones of this machine or user."""
    program("git")
    file = home / "gitconfig"
    file.write_text(settings)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(path: Path, *args: str) -> str:
    """Run git in a folder and return what it says, without the line end."""
    done = subprocess.run(["git", "-C", str(path), *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


def commit(path: Path, name: str, text: str) -> str:
    """Write a file, commit it, and return the commit."""
    (path / name).parent.mkdir(parents=True, exist_ok=True)
    (path / name).write_text(text)
    git(path, "add", "--", name)
    git(path, "commit", "--quiet", "-m", f"{name}: {text.strip()[:40]}")
    return git(path, "rev-parse", "HEAD")


def repository(path: Path) -> Path:
    """A new repository with one commit on `main`."""
    path.mkdir(parents=True)
    git(path, "init", "--quiet", "--initial-branch", "main")
    commit(path, "README.md", f"# {path.name}\n")
    return path


def clone(origin: Path, path: Path) -> Path:
    """A clone, which has the other as its `origin`."""
    git(origin.parent, "clone", "--quiet", str(origin), str(path))
    return path
