"""Agents own their checkouts: what they put in the place of `.git` is not run by the daemon, which has more rights."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import SLEEPER, check_well, cleaned, done, failed
from tests.support.runs_lab import Lab, git


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent sleeps."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as made:
        yield made


@pytest.fixture
def run_id(lab: Lab) -> str:
    """A run at work."""
    made = lab.start()
    lab.until(made, "running")
    return made


def _thief(lab: Lab, place: Path) -> Path:
    """A program that gives away the daemon's token, as git would run it; where it puts it."""
    stolen, thief = place / "stolen", place / ".h" / "x"
    thief.parent.mkdir()
    thief.write_text(f"#!/bin/sh\ncat {lab.folder}/.metawsm/token >{stolen}\nexit 1\n")
    thief.chmod(0o755)
    return stolen


def _own_repository(place: Path) -> None:
    (place / ".git").unlink()
    git(place, "init", "-q")


def _says(lab: Lab, sql: str, count: int) -> bool:
    return lab.rows(sql) == [(count,)]


def _looked_at(lab: Lab, run_id: str) -> list[Any]:
    """What a look at the run's checkouts has found that began after this."""
    for _ in range(2):
        (before,) = lab.rows("SELECT coalesce(max(measured_at), '') FROM checkout_measures")[0]
        newer = f"SELECT count(*) FROM checkout_measures WHERE measured_at > '{before}'"
        eventually(partial(_says, lab, newer, 2), timeout=20)
    return lab.rows(f"SELECT repo, error FROM checkout_measures WHERE run_id = '{run_id}' ORDER BY repo")


@pytest.mark.parametrize("setting", ["core.fsmonitor", "filter.x.clean"])
def test_a_repository_of_the_agents_own(lab: Lab, run_id: str, setting: str) -> None:
    """Its settings are not read, whatever is done with the run; people are told what the checkout is not any more."""
    place, other = lab.checkouts(run_id)
    stolen = _thief(lab, place)
    _own_repository(place)
    (place / ".gitattributes").write_text("*.md filter=x\n")
    git(place, "add", "README.md")
    git(place, "config", setting, ".h/x")
    (place / "README.md").write_text("changed\n")
    (_, error), (_, fine) = _looked_at(lab, run_id)
    assert f"{place} is no worktree of {lab.repos['alpha']}" in error and fine is None
    lab.post(f"/runs/{run_id}/iterate", feedback="Again.")
    failed(lab, run_id, f"{place} is no worktree of {lab.repos['alpha']}")
    lab.post(f"/runs/{run_id}/cleanup")
    failed(lab, run_id, f"{place} is no worktree of", f"metawsm.pyz cleanup --run-id {run_id} --force")
    assert place.exists() and other.exists()
    assert not stolen.exists()
    cleaned(lab, run_id, force=True)


def test_a_program_in_the_settings_that_all_worktrees_share(lab: Lab, run_id: str) -> None:
    """The one that would be asked at each look which files have changed is not."""
    place = lab.checkouts(run_id)[0]
    stolen = _thief(lab, place)
    git(place, "config", "core.fsmonitor", f"{place}/.h/x")
    (place / "README.md").write_text("changed\n")
    assert _looked_at(lab, run_id) == [("alpha", None), ("beta", None)]
    assert not stolen.exists()


def test_a_submodule_of_the_agents_own(lab: Lab, run_id: str) -> None:
    """Git would look into it with the settings that it has."""
    place = lab.checkouts(run_id)[0]
    stolen = _thief(lab, place)
    for inner in (place / "inner", place / "ttmp" / "inner"):
        git(place, "init", "-q", str(inner))
        (inner / "file").write_text("x")
        git(inner, "add", "file")
        git(inner, "commit", "-qm", "inner")
        git(inner, "config", "filter.x.clean", f"{place}/.h/x")
        (inner / ".git" / "info").mkdir(exist_ok=True)
        (inner / ".git" / "info" / "attributes").write_text("* filter=x\n")
        git(place, "add", "-f", str(inner))
        (inner / "file").write_text("y")
    assert _looked_at(lab, run_id) == [("alpha", None), ("beta", None)]
    lab.post(f"/runs/{run_id}/iterate", feedback="Again.")
    failed(lab, run_id, f"{place / 'ttmp' / 'inner'} is a repository of its own")
    lab.post(f"/runs/{run_id}/cleanup")
    failed(lab, run_id, f"metawsm.pyz cleanup --run-id {run_id} --force")
    assert not stolen.exists()
    cleaned(lab, run_id, force=True)


def test_a_pointer_to_another_repository(lab: Lab, run_id: str) -> None:
    """Nothing is asked of the repository that it names, nor is anything removed there."""
    place = lab.checkouts(run_id)[0]
    stolen = _thief(lab, place)
    trap = lab.folder / "trap" / "app"
    trap.mkdir(parents=True)
    git(trap, "init", "-q", "-b", "main")
    git(trap, "commit", "-q", "--allow-empty", "-m", "trap")
    git(trap, "worktree", "add", "-q", str(trap.parent / "tree"))
    git(trap, "config", "core.fsmonitor", f"{place}/.h/x")
    shutil.copy(trap.parent / "tree" / ".git", place / ".git")
    lab.post(f"/runs/{run_id}/cleanup")
    failed(lab, run_id, f"{place} is no worktree of {lab.repos['alpha']}")
    cleaned(lab, run_id, force=True)
    assert not stolen.exists()
    assert git(trap, "worktree", "list").count("\n") == 1


def test_a_checkout_without_its_pointer(lab: Lab, run_id: str) -> None:
    """Git would look upwards, and describe the repository around it; mended as is said, all is as before."""
    git(lab.folder, "init", "-q")
    place = lab.checkouts(run_id)[0]
    (place / ".git").unlink()
    (_, error), _ = _looked_at(lab, run_id)
    assert f"git -C {lab.repos['alpha']} worktree repair" in error
    git(lab.repos["alpha"], "worktree", "repair")
    assert _looked_at(lab, run_id) == [("alpha", None), ("beta", None)]
    cleaned(lab, run_id)


def test_a_pointer_that_is_relative(lab: Lab, run_id: str) -> None:
    """Newer git writes such ones (worktree.useRelativePaths): the workspace is looked at and removed like another."""
    for place, main in zip(lab.checkouts(run_id), lab.repos.values(), strict=True):
        up = "/".join([".."] * len(place.relative_to(lab.folder).parts))
        (place / ".git").write_text(f"gitdir: {up}/repos/{main.name}/.git/worktrees/{main.name}\n")
        assert git(place, "status", "--porcelain") == ""
    assert _looked_at(lab, run_id) == [("alpha", None), ("beta", None)]
    done(lab, run_id, "iterate", feedback="Again.")
    check_well(lab)
    cleaned(lab, run_id)
