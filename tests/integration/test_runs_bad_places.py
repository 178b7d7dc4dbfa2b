"""What is in the way of a run in repositories and folders: told in full, mendable; nothing is lost or left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import REPORTER, SLEEPER, check_well, cleaned, done, failed, leftovers, resumed
from tests.support.runs_lab import BRIEF, Lab, git, repository


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent sleeps."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as made:
        yield made


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent reports completion and a passed validation at once."""
    report = REPORTER.replace(
        "exec",
        f"metawsm forum signal --type validation --status passed --done-criteria '{BRIEF['done_criteria']}'\nexec",
    )
    with Lab(tmp_path, agents={"bob": report}) as made:
        yield made


def step_of(lab: Lab, run_id: str, kind: str) -> Any:
    """The newest step of that kind."""
    return [step for step in lab.run(run_id)["steps"] if step["kind"] == kind][-1]


def told(lab: Lab, run_id: str, kind: str, *words: str) -> Any:
    """Wait until a step of that kind has failed with the words in the newest action; the step."""

    def look() -> Any:
        steps = lab.run(run_id)["steps"]
        assert not [step for step in steps if step["state"] in ("pending", "running")], steps
        action = steps[-1]["action"]
        return next(s for s in reversed(steps) if (s["kind"], s["state"], s["action"]) == (kind, "failed", action))

    step = eventually(look, timeout=30, interval=0.1)
    assert all(word in step["error"] for word in words), step["error"]
    check_well(lab)
    return step


def test_a_repository_that_is_not_there(lab: Lab) -> None:
    """All missing ones are named, and where was looked; made, the same run goes on over it."""
    other = lab.start()
    run_id = lab.start(tickets=["MET-2"], repos=["alpha", "gamma", "delta"])
    failed(lab, run_id, "repositories not found: gamma, delta. Looked in", str(lab.folder / "repos"))
    for name in ("gamma", "delta"):
        lab.repos[name] = repository(lab.folder / "repos" / name)
    resumed(lab, run_id)
    assert len(lab.checkouts(run_id)) == 3 and all(place.is_dir() for place in lab.checkouts(run_id))
    assert lab.run(other)["state"] == "running"
    cleaned(lab, run_id)


def test_a_repository_that_is_there_twice(tmp_path: Path) -> None:
    """Both places are named; with one of them away, the run goes on."""
    roots = {"repo_roots": ["../repos", "../more"]}
    with Lab(tmp_path, agents={"bob": SLEEPER}, policy={"workspace": roots}) as lab:
        twin = repository(tmp_path / "more" / "alpha")
        run_id = lab.start()
        failed(lab, run_id, '"alpha" is there more than once', str(twin), str(lab.repos["alpha"]))
        shutil.rmtree(twin)
        resumed(lab, run_id)
        cleaned(lab, run_id)


def test_a_base_branch_that_is_not_there(lab: Lab) -> None:
    """In the second repository only: what was made in the first is kept for resume, and goes with cleanup."""
    git(lab.repos["alpha"], "branch", "next")
    run_id = lab.start(base="next")
    failed(lab, run_id, 'base branch "next" not found for repo', "beta")
    assert git(lab.repos["alpha"], "branch", "--list", "task/*") != ""
    cleaned(lab, run_id)
    assert git(lab.repos["alpha"], "branch", "--list", "task/*") == ""
    git(lab.repos["beta"], "branch", "next")
    resumed(lab, run_id)
    cleaned(lab, run_id)


def test_a_base_that_names_its_remote(tmp_path: Path) -> None:
    """`origin/main` is `main`: work starts from it and is merged into it."""
    with Lab(tmp_path, agents={"bob": REPORTER}) as lab:
        run_id = lab.start(base="origin/main")
        lab.until(run_id, "completed")
        done(lab, run_id, "merge")
        assert all(list(repo.glob("ttmp")) for repo in [lab.repos["alpha"]])


def test_the_base_is_dirty_at_the_merge(quick: Lab) -> None:
    """The files in the way are named and stay as they are; committed, the same merge goes through."""
    run_id = quick.bootstrap()
    quick.until(run_id, "completed")
    readme = quick.repos["alpha"] / "README.md"
    readme.write_text("mine\n")
    quick.post(f"/runs/{run_id}/merge")
    told(quick, run_id, "check_gates", f"{quick.repos['alpha']} has uncommitted changes: README.md")
    assert (readme.read_text(), quick.run(run_id)["state"]) == ("mine\n", "completed")
    mend = [f"git -C {quick.repos['alpha']} stash", f"metawsm.pyz merge --run-id {run_id}"]
    assert quick.run(run_id)["next"][:2] == mend
    git(quick.repos["alpha"], "commit", "-qam", "mine")
    done(quick, run_id, "merge")
    cleaned(quick, run_id)


def test_a_conflict_at_the_merge(quick: Lab) -> None:
    """The files are named, nothing is half merged, close can be tried again when it is settled on the branch."""
    run_id = quick.bootstrap()
    quick.until(run_id, "completed")
    alpha, branch = quick.checkouts(run_id)[0], quick.run(run_id)["workspaces"][0]["branch"]
    for place, text in ((alpha, "theirs\n"), (quick.repos["alpha"], "ours\n")):
        (place / "README.md").write_text(text)
        git(place, "commit", "-qam", text.strip())
    head = git(alpha, "rev-parse", "HEAD")
    for verb in ("merge", "close"):
        quick.post(f"/runs/{run_id}/{verb}")
        told(quick, run_id, "check_gates", f'"{branch}" conflicts with "main" in README.md')
        assert eventually(lambda: quick.run(run_id)["state"] == "completed")
        assert git(quick.repos["alpha"], "status", "--porcelain") == ""
        assert git(quick.repos["alpha"], "worktree", "list").count("\n") == 1
        assert (quick.repos["alpha"] / "README.md").read_text() == "ours\n"
    (gate,) = step_of(quick, run_id, "check_gates")["result"]["gates"]
    assert (gate["mend"], git(alpha, "rev-parse", "HEAD")) == (f"git -C {alpha} merge main", head)
    git(alpha, "merge", "-q", "-X", "ours", "-m", "settled", "main")
    quick.post(f"/runs/{run_id}/close")
    quick.until(run_id, "closed")
    assert (quick.repos["alpha"] / "README.md").read_text() == "theirs\n"
    cleaned(quick, run_id)


def test_a_folder_in_the_way(lab: Lab) -> None:
    """Somebody's folder by the workspace's name is neither used nor touched; moved away, resume goes on."""
    run_id = lab.start(run_id="run-7", paused=True)
    place = Path(lab.run(run_id)["workspaces"][0]["path"], "alpha")
    place.mkdir(parents=True)
    (place / "notes").write_text("mine")
    lab.post(f"/runs/{run_id}/resume")
    failed(lab, run_id, f"{place} exists and is no worktree of", "move it away")
    assert (place / "notes").read_text() == "mine"
    shutil.rmtree(place)
    resumed(lab, run_id)
    cleaned(lab, run_id)


def test_the_branch_is_somebody_elses(lab: Lab) -> None:
    """A branch that is there already is used as it is, and that is told; one that is checked out elsewhere bars."""
    git(lab.repos["alpha"], "branch", "task/met-1-7")
    git(lab.repos["alpha"], "worktree", "add", "-q", str(lab.folder / "elsewhere"), "task/met-1-7")
    run_id = lab.start(run_id="run-7")
    failed(lab, run_id, '"task/met-1-7" of', f"is checked out at {lab.folder / 'elsewhere'} already")
    git(lab.repos["alpha"], "worktree", "remove", str(lab.folder / "elsewhere"))
    resumed(lab, run_id)
    notes = step_of(lab, run_id, "create_workspace")["result"]["notes"]
    assert [note.startswith(f'{lab.repos["alpha"]}: branch "task/met-1-7" is there already') for note in notes] == [
        True
    ]
    cleaned(lab, run_id)


def test_a_workspace_removed_by_hand(lab: Lab) -> None:
    """Seen, told with the command that mends it; cleanup leaves nothing of it in the repositories either."""
    run_id = lab.start()
    lab.until(run_id, "running")
    shutil.rmtree(lab.run(run_id)["workspaces"][0]["path"])
    lab.post(f"/runs/{run_id}/restart")
    failed(lab, run_id, "is not there", f"metawsm.pyz cleanup --run-id {run_id}")
    cleaned(lab, run_id)
    resumed(lab, run_id)
    assert all(list(place.glob("README.md")) for place in lab.checkouts(run_id))
    shutil.rmtree(lab.run(run_id)["workspaces"][0]["path"])
    cleaned(lab, run_id)


def test_ticket_documents_removed_by_hand(quick: Lab) -> None:
    """The gate names what is missing and a command; that command mends it."""
    run_id = quick.bootstrap()
    quick.until(run_id, "completed")
    home = quick.checkouts(run_id)[0]
    git(home, "rm", "-rq", "ttmp")
    git(home, "commit", "-qm", "no documents")
    quick.post(f"/runs/{run_id}/close")
    gates = told(quick, run_id, "check_gates", "docs missing under")["result"]["gates"]
    assert eventually(lambda: quick.run(run_id)["state"] == "completed")
    (mend,) = [gate["mend"] for gate in gates]
    mended = quick.metawsm(*mend.split()[1:-1], "Make them anew.")
    assert mended.returncode == 0, mended.stderr
    quick.until(run_id, "completed")
    quick.post(f"/runs/{run_id}/close")
    quick.until(run_id, "closed")
    cleaned(quick, run_id)


def test_feedback_after_the_documents_were_removed(lab: Lab) -> None:
    """They are made again: feedback reaches its agents."""
    run_id = lab.start()
    lab.until(run_id, "running")
    home = lab.checkouts(run_id)[0]
    shutil.rmtree(home / "ttmp")
    run = done(lab, run_id, "iterate", feedback="Again, please.")
    assert run["state"] == "running"
    assert [p.read_text().count("Again, please.") for p in home.glob("ttmp/**/*feedback*.md")] == [1]
    cleaned(lab, run_id)


@pytest.fixture
def hook(lab: Lab) -> Path:
    """A hook of git that refuses every commit in one of the repositories."""
    hook = lab.repos["alpha"] / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho 'no commits on a Sunday' >&2\nexit 3\n")
    hook.chmod(0o755)
    return hook


def test_a_hook_that_refuses_the_commit(lab: Lab, hook: Path) -> None:
    """Its words are told; with the hook content, resume commits what was written."""
    run_id = lab.start()
    failed(lab, run_id, "git commit failed with exit code 1: no commits on a Sunday")
    lab.post(f"/runs/{run_id}/cleanup")
    failed(lab, run_id, "has uncommitted changes: ttmp/", f"metawsm.pyz cleanup --run-id {run_id} --force")
    ways = [f"metawsm.pyz resume --run-id {run_id}", f"metawsm.pyz cleanup --run-id {run_id} --force"]
    assert lab.run(run_id)["next"] == ways
    hook.unlink()
    resumed(lab, run_id)
    assert git(lab.checkouts(run_id)[0], "status", "--porcelain") == ""
    cleaned(lab, run_id)


def test_what_a_refusing_hook_left_goes_by_force(lab: Lab, hook: Path) -> None:
    """Nothing else than `--force` is needed."""
    run_id = lab.start()
    failed(lab, run_id, "git commit failed")
    cleaned(lab, run_id, force=True)
    assert hook.exists()


def test_a_repository_breaks_in_the_middle(quick: Lab) -> None:
    """Merge, close and cleanup say what git says, and go through once the repository is whole again."""
    run_id = quick.bootstrap()
    quick.until(run_id, "completed")
    head = quick.repos["beta"] / ".git" / "HEAD"
    kept = head.read_text()
    head.unlink()
    for verb, kind in (("merge", "check_gates"), ("close", "check_gates"), ("cleanup", "remove_workspace")):
        quick.post(f"/runs/{run_id}/{verb}")
        told(quick, run_id, kind, "not a git repository")
    assert quick.run(run_id)["state"] == "completed"
    head.write_text(kept)
    done(quick, run_id, "merge")
    cleaned(quick, run_id)


def test_a_repository_that_is_gone(lab: Lab) -> None:
    """Work in its worktree is not thrown away unasked; by force everything goes."""
    run_id = lab.start()
    lab.until(run_id, "running")
    shutil.rmtree(lab.repos["beta"])
    lab.post(f"/runs/{run_id}/cleanup")
    told(lab, run_id, "remove_workspace", "beta", "is gone")
    cleaned(lab, run_id, force=True)


def test_seeded_documents_that_cannot_be_copied(tmp_path: Path) -> None:
    """A pipe among them: named; the state of the copy says failed, then synced, when it is away."""
    with Lab(tmp_path, agents={"bob": REPORTER}, policy={"docs": {"seed_mode": "copy_from_repo_on_start"}}) as lab:
        folder = lab.repos["alpha"] / "ttmp" / "2026" / "01" / "01" / "MET-1--x"
        folder.mkdir(parents=True)
        (folder / "index.md").write_text("---\nTitle: x\nTicket: MET-1\nStatus: active\nDocType: index\n---\n\n# x\n")
        os.mkfifo(folder / "pipe")
        run_id = lab.start()
        failed(lab, run_id, f"{folder / 'pipe'} is neither a file nor a folder nor a link")
        assert [sync["status"] for sync in lab.run(run_id)["docs"]] == ["failed"]
        assert lab.rows("SELECT status FROM doc_sync_states") == [("failed",)]
        (folder / "pipe").unlink()
        lab.post(f"/runs/{run_id}/resume")
        lab.until(run_id, "completed")
        assert lab.rows("SELECT status, revision IS NOT NULL FROM doc_sync_states") == [("synced", 1)]


def test_documents_that_lead_elsewhere(lab: Lab) -> None:
    """An agent that puts a link in the place of the documents' folder makes nobody write outside of its workspace."""
    run_id = lab.start()
    lab.until(run_id, "running")
    home, outside = lab.checkouts(run_id)[0], lab.folder / "outside"
    (home / "ttmp").rename(outside)
    (home / "ttmp").symlink_to(outside)
    before = sorted(outside.rglob("*"))
    lab.post(f"/runs/{run_id}/iterate", feedback="Elsewhere.")
    failed(lab, run_id, f"{home / 'ttmp'} is a link")
    assert sorted(outside.rglob("*")) == before


def test_what_is_left_in_a_workspace_is_listed(lab: Lab) -> None:
    """Cleanup without force keeps uncommitted work and names it; the run can be cleaned up after it was saved."""
    run_id = lab.start()
    lab.until(run_id, "running")
    (lab.checkouts(run_id)[1] / "work \x1b[2J\u202e.txt").write_text("x")
    lab.post(f"/runs/{run_id}/cleanup")
    step = failed(lab, run_id, "has uncommitted changes: work .txt")
    assert not {"\x1b", "\u202e"} & set(json.dumps(step, ensure_ascii=False))
    assert lab.sessions() == [] and leftovers(lab, run_id) != []
    cleaned(lab, run_id, force=True)


def test_a_link_to_another_runs_checkout(lab: Lab) -> None:
    """Cleanup of one run leaves the checkout of the other where it is, and names what it left."""
    run_id, other = lab.start(), lab.start(tickets=["MET-2"])
    lab.until(run_id, "running")
    lab.until(other, "running")
    theirs, link = lab.checkouts(other)[0], lab.checkouts(run_id)[0].parent / "x"
    link.symlink_to(theirs)
    done(lab, run_id, "cleanup")
    assert git(theirs, "status", "--porcelain") == ""
    assert step_of(lab, run_id, "remove_workspace")["result"]["notes"] == [
        f"{link.parent} stays: x in it is not of the run."
    ]
    link.unlink()
    cleaned(lab, run_id, force=True)
    cleaned(lab, other)


def test_a_users_worktree_on_a_disk_that_is_away(lab: Lab) -> None:
    """Runs come and go meanwhile; back in its place, it is a worktree as before."""
    usb, away = lab.folder / "usb", lab.folder / "away"
    git(lab.repos["alpha"], "worktree", "add", "-q", "-b", "usb", str(usb))
    usb.rename(away)
    run_id = lab.start()
    lab.until(run_id, "running")
    cleaned(lab, run_id)
    away.rename(usb)
    assert git(usb, "status", "--porcelain", "--branch") == "## usb"


def test_a_link_in_the_place_of_a_checkout(lab: Lab) -> None:
    """Neither work nor a cleanup goes through it, not even by force; with the checkout back, both do."""
    run_id, other = lab.start(), lab.start(tickets=["MET-2"])
    lab.until(run_id, "running")
    lab.until(other, "running")
    place, theirs = lab.checkouts(run_id)[0], lab.checkouts(other)[0]
    before = sorted(theirs.rglob("*"))
    place.rename(lab.folder / "kept")
    place.symlink_to(theirs)
    lab.post(f"/runs/{run_id}/iterate", feedback="Elsewhere.")
    failed(lab, run_id, f"{place} is a link, which may lead to another's work")
    lab.post(f"/runs/{run_id}/cleanup", force=True)
    step = told(lab, run_id, "remove_workspace", f"{place} is a link", "remove the link itself")
    assert "--force" not in step["error"]
    assert sorted(theirs.rglob("*")) == before
    place.unlink()
    (lab.folder / "kept").rename(place)
    cleaned(lab, run_id)
    cleaned(lab, other)


def test_documents_that_git_ignores(tmp_path: Path) -> None:
    """The run does not begin with documents that would go with the workspace; without the rule it does."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as lab:
        exclude = lab.repos["alpha"] / ".git" / "info" / "exclude"
        exclude.write_text("ttmp/\n")
        run_id = lab.bootstrap()
        step = failed(lab, run_id, "git ignores", "info/exclude:1:ttmp/")
        assert step["kind"] == "prepare_docs" and lab.sessions() == []
        exclude.write_text("")
        resumed(lab, run_id)
        assert git(lab.checkouts(run_id)[0], "log", "-1", "--format=%s").startswith("MET-1: ticket documents")


def test_a_mend_is_typed_as_it_is_shown(tmp_path: Path) -> None:
    """The command of a gate works in a folder with a space in its name, too."""
    (folder := tmp_path / "my code").mkdir()
    with Lab(folder, agents={"bob": REPORTER}) as lab:
        run_id = lab.start()
        lab.until(run_id, "completed")
        (lab.checkouts(run_id)[0] / "work.txt").write_text("x")
        lab.post(f"/runs/{run_id}/close")
        (gate,) = told(lab, run_id, "check_gates", "work.txt")["result"]["gates"]
        env = {**os.environ, "GIT_EDITOR": "sh -c 'echo saved >\"$1\"' -"}
        subprocess.run(["sh", "-c", gate["mend"]], check=True, env=env, capture_output=True)
        assert git(lab.checkouts(run_id)[0], "status", "--porcelain") == ""
