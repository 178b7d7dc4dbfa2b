"""The verbs of runs against a real daemon, with real git repositories and tmux sessions: what a person types."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.runs_lab import BRIEF, Lab, git
from tests.support.shell import environment

START = ["--ticket", "MET-1", "--repos", "alpha,beta"]
FLAGS = [part for name, value in BRIEF.items() for part in (f"--{name.replace('_', '-')}", value)]
SLEEPER = "#!/bin/sh\nexec sleep 600\n"
REPORTS = """#!/bin/sh
metawsm forum signal --type completion --summary done
metawsm forum signal --type validation --status passed --done-criteria "{criteria}"
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent asks, waits, works and reports."""
    with Lab(tmp_path) as made:
        yield made


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agents only sleep."""
    with Lab(tmp_path, agents={"ann": SLEEPER, "bob": SLEEPER}) as made:
        yield made


def done(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that must succeed."""
    ended = lab.metawsm(*arguments)
    assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
    return ended


def next_command(lab: Lab) -> list[str]:
    """The first command that status recommends, without the program's name."""
    lines = done(lab, "status", "--ticket", "MET-1").stdout.splitlines()
    return shlex.split(lines[lines.index("Next:") + 1])[1:]


def test_a_ticket_from_the_brief_to_the_end(lab: Lab) -> None:
    """Each command says what it did and what is next, and the next command is the one that status recommends."""
    begun = done(lab, "bootstrap", *START, *FLAGS)
    assert begun.stdout.split()[1] in ("running,", "awaiting_guidance,")
    assert "] session of bob: done in " in begun.stderr
    done(lab, "watch", "--ticket", "MET-1", "--until", "awaiting_guidance")
    assert "      Which greeting, bob?" in done(lab, "status", "--ticket", "MET-1").stdout.splitlines()
    *answer, last = next_command(lab)
    assert (answer[:2], last) == (["forum", "signal"], "<answer>")
    done(lab, *answer, "good morning")
    watched = done(lab, "watch", "--ticket", "MET-1")
    assert watched.returncode == 0
    assert "dirty files=" not in done(lab, "status", "--ticket", "MET-1").stdout
    ahead = re.compile(r"/(?:alpha|beta) clean, \d commits? ahead of main")
    eventually(
        lambda: len(ahead.findall(done(lab, "status", "--ticket", "MET-1").stdout)) == 2, timeout=30, interval=0.2
    )
    dry = done(lab, "merge", "--ticket", "MET-1", "--dry-run")
    kinds = [line.split()[1] for line in dry.stdout.splitlines()[1:]]
    assert kinds == ["check_gates", "merge_branch", "merge_branch"]
    assert len(ahead.findall(dry.stderr)) == 2, dry.stderr
    assert not any((repo / "greeting-bob.txt").exists() for repo in lab.repos.values())
    done(lab, "merge", "--ticket", "MET-1")
    assert [(repo / "greeting-bob.txt").read_text() for repo in lab.repos.values()] == ["good morning\n"] * 2
    closed = json.loads(done(lab, "close", "--ticket", "MET-1", "--json").stdout)
    assert closed["run"]["state"] == "closed"
    assert done(lab, "close", "--ticket", "MET-1").stdout.split()[1] == "closed,"
    done(lab, "cleanup", "--ticket", "MET-1")
    assert lab.sessions() == []
    assert list((lab.folder / ".metawsm" / "workspaces").glob("*")) == []


def test_a_dry_run_changes_nothing(quiet: Lab) -> None:
    """No run, no folder, no session, no event; of a run that there is, nothing moves."""
    planned = done(quiet, "bootstrap", *START, *FLAGS, "--dry-run")
    kinds = [line.split()[1] for line in planned.stdout.splitlines()[1:]]
    assert kinds[:2] == ["find_repositories", "create_workspace"] and kinds[-2:] == ["start_session"] * 2
    assert "there are no runs" in quiet.metawsm("status", "--all").stderr
    assert quiet.sessions() == [] and not (quiet.folder / ".metawsm" / "workspaces").exists()
    done(quiet, "run", *START)
    before = json.loads(done(quiet, "status", "--ticket", "MET-1", "--json").stdout)["run"]
    for verb in (["stop"], ["restart"], ["iterate", "--feedback", "x"], ["cleanup"]):
        assert "nothing was done" in done(quiet, *verb, "--ticket", "MET-1", "--dry-run").stderr
    after = json.loads(done(quiet, "status", "--ticket", "MET-1", "--json").stdout)["run"]
    assert after["last_event_sequence"] == before["last_event_sequence"]
    assert len(quiet.sessions()) == 2


def test_stop_resume_restart_iterate(quiet: Lab) -> None:
    """Sessions end and begin as the words say; each new round counts."""
    run_id = done(quiet, "run", *START).stdout.split()[0]
    assert len(quiet.sessions()) == 2
    assert done(quiet, "stop", "--run-id", run_id).stdout.split()[1] == "stopped,"
    assert quiet.sessions() == []
    assert quiet.metawsm("watch", "--run-id", run_id).returncode == 1
    done(quiet, "resume", "--run-id", run_id)
    assert len(quiet.sessions()) == 2
    restarted = done(quiet, "restart", "--run-id", run_id, "--agent", "ann")
    assert "round 2 of MET-1" in restarted.stdout and restarted.stderr.startswith("[1/1] session of ann")
    done(quiet, "iterate", "--run-id", run_id, "--feedback", "greet louder")
    workspace = quiet.run(run_id)["workspaces"][0]["path"]
    pages = Path(workspace, "alpha", "ttmp").rglob("*feedback*")
    assert ["greet louder" in page.read_text() for page in pages] == [True]
    unknown = quiet.metawsm("restart", "--run-id", run_id, "--agent", "nobody")
    assert unknown.returncode == 7 and "--agent no agent 'nobody'; known are: ann, bob" in unknown.stderr
    completion = ("forum", "signal", "--run-id", run_id, "--ticket", "MET-1", "--type", "completion")
    unknown = quiet.metawsm(*completion, "--agent-name", "bobb")
    assert unknown.returncode == 7 and "--agent-name must be one of: ann, bob" in unknown.stderr


def test_a_closing_that_is_barred_names_what_mends_it(tmp_path: Path) -> None:
    """First the run's own gate, mended by the command it names; then what lies about in a checkout."""
    with Lab(tmp_path, agents={"bob": REPORTS.format(criteria="something else")}) as lab:
        run_id = done(lab, "bootstrap", *START, *FLAGS).stdout.split()[0]
        done(lab, "watch", "--run-id", run_id)
        barred = lab.metawsm("close", "--run-id", run_id)
        assert (barred.returncode, barred.stdout) == (4, "")
        head, gate, mend = barred.stderr.splitlines()
        assert head == "metawsm: close blocked"
        assert "validated other done criteria" in gate
        *command, _dots = shlex.split(mend.partition("metawsm.pyz ")[2])
        done(lab, *command, BRIEF["done_criteria"])
        place = Path(lab.run(run_id)["workspaces"][0]["path"], "beta")
        (place / "left lying.txt").write_text("x")
        dirty = lab.metawsm("close", "--run-id", run_id)
        assert dirty.returncode == 4
        assert any("repo beta has uncommitted changes: left lying.txt" in line for line in dirty.stderr.splitlines())
        assert lab.run(run_id)["state"] == "completed"
        (place / "left lying.txt").unlink()
        for repo in ("alpha", "beta"):
            git(place.parent / repo, "add", "--all")
            git(place.parent / repo, "commit", "--allow-empty", "-qm", "the documents")
        done(lab, "close", "--run-id", run_id)


def test_a_step_that_fails_is_told_and_leaves_a_run_to_clean_up(quiet: Lab) -> None:
    """A repository that is nowhere: the words of who looked, 1, and nothing left behind."""
    failed = quiet.metawsm("run", "--ticket", "MET-1", "--repos", "alpha,nowhere")
    assert failed.returncode == 1
    assert "nowhere" in failed.stderr and "find alpha, nowhere: failed" in failed.stderr
    assert "next: metawsm.pyz resume --run-id " in failed.stderr
    done(quiet, "cleanup", "--ticket", "MET-1")
    assert quiet.sessions() == []
    workspaces = quiet.folder / ".metawsm" / "workspaces"
    assert not workspaces.exists() or os.listdir(workspaces) == []


def test_runs_that_are_not_there_and_people_who_may_not(quiet: Lab) -> None:
    """3 for what is unknown, 5 for an agent, 4 for what the state does not allow."""
    assert quiet.metawsm("status", "--run-id", "run-none").returncode == 3
    assert quiet.metawsm("stop", "--run-id", "run-none").returncode == 3
    assert quiet.metawsm("stop", "--ticket", "MET-9").returncode == 3
    done(quiet, "run", *START)
    agent = quiet.metawsm("stop", "--ticket", "MET-1", "--actor-type", "agent")
    assert agent.returncode == 5 and "--actor-type operator" in agent.stderr
    assert quiet.metawsm("merge", "--ticket", "MET-1").returncode == 4
    assert len(quiet.sessions()) == 2


def test_the_latest_run_of_a_ticket_is_meant(quiet: Lab) -> None:
    """A second run takes the place of the first; a run of another ticket is refused."""
    first = done(quiet, "run", *START, "--agent", "ann", "--paused").stdout.split()[0]
    second = done(quiet, "run", *START, "--agent", "ann", "--run-id", "run-second").stdout.split()[0]
    assert second == "run-second"
    assert json.loads(done(quiet, "status", "--ticket", "MET-1", "--json").stdout)["run"]["run_id"] == second
    listed = done(quiet, "status").stdout
    assert second in listed and first in listed
    done(quiet, "stop", "--run-id", first)
    assert first not in done(quiet, "status").stdout
    assert first in done(quiet, "status", "--all", "--ticket", "MET-1").stdout
    other = quiet.metawsm("stop", "--run-id", first, "--ticket", "MET-9")
    assert other.returncode == 2 and "is of ticket MET-1, not MET-9" in other.stderr
    again = quiet.metawsm("run", *START, "--run-id", "run-second")
    assert again.returncode == 4 and "there is a run run-second already" in again.stderr


def test_following_survives_a_daemon_that_is_killed(quiet: Lab) -> None:
    """Steps go on where they were, and so does the telling."""
    run_id = done(quiet, "run", *START, "--paused").stdout.split()[0]
    process = subprocess.Popen(
        [*quiet.daemon.command, "resume", "--run-id", run_id],
        cwd=quiet.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(METAWSM_SERVER=quiet.daemon.url),
    )  # fmt: skip
    eventually(lambda: quiet.daemon.request("GET", "/health").body["components"]["http"]["streams"] == 1, timeout=20)
    quiet.daemon.kill()
    quiet.daemon.start()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert out.decode().split()[1] == "running,"
    assert "lost the daemon" in err.decode()
