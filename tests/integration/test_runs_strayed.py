"""Work that is not on the run's branch, or only in a submodule: told with what keeps it before anything is closed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.run_mishaps import REPORTER, cleaned, done, failed
from tests.support.runs_lab import Lab, commit_readme, git, repository


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """A project whose agent reports completion at once."""
    settings = tmp_path / "gitconfig"
    settings.write_text('[protocol "file"]\n\tallow = always\n[user]\n\tname = Tess\n\temail = tess@example.invalid\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    with Lab(tmp_path, agents={"bob": REPORTER}) as made:
        yield made


def _mend(stderr: str) -> str:
    """The first command that mends, as a person would paste it."""
    return next(line.partition("mend: ")[2] for line in stderr.splitlines() if "mend: " in line)


@pytest.mark.parametrize("verb", ["merge", "close"])
@pytest.mark.parametrize(
    ("how", "told"),
    [
        (("checkout", "-q", "--detach"), "is on no branch"),
        (("checkout", "-q", "-b", "its-own;x"), 'is on branch "its-own;x"'),
        (("branch", "-m", "renamed"), 'is on branch "renamed"'),
    ],
    ids=["detached", "another", "renamed"],
)
def test_commits_beside_the_branch(lab: Lab, verb: str, how: tuple[str, ...], told: str) -> None:
    """They bar merging and closing; with the mend, as it stands there, they are merged."""
    run_id = lab.start()
    lab.until(run_id, "completed")
    place, branch = lab.checkouts(run_id)[0], lab.run(run_id)["workspaces"][0]["branch"]
    git(place, *how)
    made = commit_readme(place, "beside")
    refused = lab.metawsm(verb, "--run-id", run_id)
    assert (refused.returncode, f'alpha {told}, not on "{branch}"' in refused.stderr) == (4, True), refused.stderr
    assert git(lab.repos["alpha"], "log", "--oneline").count("\n") == 0
    mended = subprocess.run(["sh", "-c", _mend(refused.stderr)], capture_output=True, text=True)
    assert mended.returncode == 0, mended.stderr
    ended = lab.metawsm(verb, "--run-id", run_id)
    assert ended.returncode == 0, ended.stderr
    git(lab.repos["alpha"], "merge-base", "--is-ancestor", made, "main")
    cleaned(lab, run_id)


def test_nothing_is_written_beside_the_branch(lab: Lab) -> None:
    """Feedback waits for the branch, and a cleanup for the commits."""
    run_id = lab.start()
    lab.until(run_id, "completed")
    place, branch = lab.checkouts(run_id)[0], lab.run(run_id)["workspaces"][0]["branch"]
    git(place, "checkout", "-q", "--detach")
    made = commit_readme(place, "beside")
    lab.post(f"/runs/{run_id}/iterate", feedback="Again.")
    failed(lab, run_id, f'alpha is on no branch, not on "{branch}"')
    assert git(place, "status", "--porcelain") == ""
    lab.post(f"/runs/{run_id}/cleanup")
    failed(lab, run_id, f"{place} has commits that are on no branch: {made[:7]} beside")
    git(place, "switch", "-q", branch)
    git(place, "merge", "-q", made)
    done(lab, run_id, "resume")
    lab.until(run_id, "completed")
    assert [page.read_text().count("Again.") for page in place.glob("ttmp/**/*feedback*.md")] == [1]
    cleaned(lab, run_id)


def test_commits_in_a_submodule(lab: Lab) -> None:
    """They bar a close until they are pushed: main would name a commit that is nowhere."""
    library = repository(lab.folder / "library")
    git(lab.repos["alpha"], "submodule", "--quiet", "add", str(library), "lib")
    git(lab.repos["alpha"], "commit", "-qm", "lib")
    run_id = lab.start()
    lab.until(run_id, "completed")
    place = lab.checkouts(run_id)[0]
    git(place, "submodule", "--quiet", "update", "--init")
    made = commit_readme(place / "lib", "inside")
    git(place, "commit", "-qam", "newest lib")
    refused = lab.metawsm("close", "--run-id", run_id)
    assert f"repo alpha has commits in submodule lib that are on no remote: {made[:7]} inside" in refused.stderr
    subprocess.run(["sh", "-c", _mend(refused.stderr)], check=True, capture_output=True)
    closed = lab.metawsm("close", "--run-id", run_id)
    assert closed.returncode == 0, closed.stderr
    assert git(library, "log", "--all", "--format=%H").splitlines()[0] == made
    git(lab.repos["alpha"], "submodule", "--quiet", "update")
    cleaned(lab, run_id)


def test_a_workspace_on_no_branch_is_not_used_again(lab: Lab) -> None:
    """What is committed in it would be on nothing."""
    first = lab.start()
    lab.until(first, "completed")
    done(lab, first, "stop")
    place, workspace = lab.checkouts(first)[0], lab.run(first)["workspaces"][0]["name"]
    git(place, "checkout", "-q", "--detach")
    run_id = lab.start(tickets=["MET-2"], strategy="reuse", source=workspace)
    failed(lab, run_id, f"workspace {workspace} is on no branch")
