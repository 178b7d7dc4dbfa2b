"""`doctor` about runs: programs, workspaces, repositories, agents, sessions and jobs, as they are on a real machine."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from metawsm.daemon.checks.runs import _program_of
from metawsm.daemon.read_models import ago
from metawsm.policy.sections import AgentProfile, RunnerOptions
from tests.support import tmux_server
from tests.support.daemon import Daemon
from tests.support.doctor import Told, ask
from tests.support.repositories import own_settings, repository
from tests.support.services import program

JOB = (
    "INSERT INTO jobs (kind, job_key, lane, payload_json, epoch, status, not_before, created_at, updated_at)"
    " VALUES ('unheard_of', ?1, ?1, '{}', 1, ?1, ?2, ?2, ?2)"
)


def asked(folder: Path, policy: dict[str, Any] | None = None, **env: str) -> Told:
    """Doctor's words in a project folder with this policy; nothing of it is FAIL."""
    (folder / ".metawsm").mkdir(mode=0o700, exist_ok=True)
    (folder / ".metawsm" / "policy.json").write_text(json.dumps({"version": 2, **(policy or {})}))
    told = ask(folder, "--addr", "127.0.0.1:0", "--redis", "embedded://", **env)
    assert told.code == 0
    return told


def said(told: Told, name: str) -> tuple[str, str]:
    """Status and words of a line."""
    return told.checks[f"runs.{name}"]["status"], told.checks[f"runs.{name}"]["detail"]


def test_a_machine_without_the_programs(tmp_path: Path) -> None:
    """Git, tmux, the policy's tools and agents' programs are missed by name; the forum would work all the same."""
    codex = {"name": "thinker", "runner": "codex", "base_prompt": "Think."}
    policy = {
        "workspace": {"tool": "wsm"}, "docs": {"tool": "docmgr"},
        "agent_profiles": [codex], "agents": [{"name": "bob", "profile": "thinker"}],
    }  # fmt: skip
    (tmp_path / "nothing").mkdir()
    told = asked(tmp_path, policy, PATH=str(tmp_path / "nothing"))
    missing = "git is not installed or not on PATH: install git 2.31 or newer (Debian: apt install git)."
    assert said(told, "git") == ("WARN", missing)
    assert said(told, "tmux")[0] == "WARN"
    assert "runs.sessions" not in told.checks
    assert [said(told, name) for name in ("wsm", "docmgr")] == [
        ("WARN", "wsm is not on PATH"), ("WARN", "docmgr is not on PATH"),
    ]  # fmt: skip
    assert said(told, "agents") == ("WARN", "not on PATH: thinker runs codex")


def test_a_machine_with_old_programs(tmp_path: Path) -> None:
    """What is too old is told with the version that is needed; tools that the policy does not name are not missed."""
    for name, words in {"git": "git version 2.20.1", "tmux": "tmux 3.1c"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{words}'\n")
        (tmp_path / name).chmod(0o755)
    told = asked(tmp_path, PATH=str(tmp_path))
    assert said(told, "git") == ("WARN", "git 2.20.1 is too old: install git 2.31 or newer.")
    assert said(told, "tmux") == ("WARN", "tmux 3.1c is too old: install tmux 3.2 or newer.")
    assert not {"runs.wsm", "runs.docmgr"} & told.checks.keys()


def test_repositories_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default in the project's folder and beside it; in a root that is a repository it counts, worktrees do not."""
    own_settings(monkeypatch, tmp_path)
    project, beside = repository(tmp_path / "work" / "project"), repository(tmp_path / "work" / "beside")
    repository(project / "inside")
    subprocess.run(["git", "-C", str(beside), "worktree", "add", "-q", str(project / "linked")], check=True)
    status, words = said(asked(project), "repositories")
    assert (status, words.split(": ")[1]) == ("OK", "beside, project, inside")
    assert words.startswith(f"3 found in {project}, {tmp_path / 'work'}")


def test_roots_that_are_not_there_or_hold_nothing(tmp_path: Path) -> None:
    """Both are told of roots that the policy names; an empty project folder alone is no reason to warn."""
    (tmp_path / "a" / "empty").mkdir(parents=True)
    assert said(asked(tmp_path / "a" / "empty"), "repositories")[0] == "OK"
    gone = asked(tmp_path / "a", {"workspace": {"repo_roots": ["../gone"]}})
    assert said(gone, "repositories") == ("WARN", f"no such folder: {tmp_path / 'a' / 'gone'}")
    none = asked(tmp_path / "a", {"workspace": {"repo_roots": ["../empty"]}})
    assert said(none, "repositories") == ("WARN", f"0 found in {tmp_path / 'a' / 'empty'}")


def test_the_folder_of_workspaces(tmp_path: Path) -> None:
    """It is made at the first run, where that can be; a file in its place is told."""
    status, words = said(asked(tmp_path), "workspaces")
    assert status == "OK" and words.startswith(f"{tmp_path}/.metawsm/workspaces, made at the first run; ")
    (tmp_path / "taken").touch()
    taken = asked(tmp_path, {"workspace": {"root": "../taken/ws"}})
    assert said(taken, "workspaces") == ("WARN", f"{tmp_path}/taken/ws cannot be written by this user")


def test_sessions_are_counted(tmp_path: Path) -> None:
    """On the server of the policy's socket, and no server is begun by the asking."""
    with tmux_server.socket(tmp_path) as socket:
        policy = {"tmux": {"socket": socket}}
        assert said(asked(tmp_path, policy), "sessions") == ("OK", f"the server at {socket!r} has no session")
        assert not Path(socket).exists()
        subprocess.run([program("tmux"), "-S", socket, "-f/dev/null", "new-session", "-d", "-s", "one"], check=True)
        assert said(asked(tmp_path, policy), "sessions") == ("OK", f"the server at {socket!r} has 1 session(s)")
    (tmp_path / "file").touch()
    broken = asked(tmp_path, {"tmux": {"socket": str(tmp_path / "file" / "s")}})
    assert said(broken, "sessions")[0] == "WARN"


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("bash", "bash"), ("claude --print", "claude"), ("exec agent", "agent"), ("exec -a x y", ""), ("A=1 agent", ""),
        ("/opt/agent", ""),
        ("'my agent' x", ""), ("~/agent", ""), ("$HOME/agent", ""), ("(cd x && y)", ""),
    ],
)  # fmt: skip
def test_only_a_plain_name_is_looked_for(command: str, word: str) -> None:
    """What else a shell's line may begin with cannot be judged without running it."""
    assert _program_of(AgentProfile(name="p", runner="shell", runner_options=RunnerOptions(command=command))) == word


def test_words_of_the_shell_are_no_missing_programs(tmp_path: Path) -> None:
    """`eval` is found by a shell and by nobody else; a name that is nowhere is missed."""
    options = {"exec": "exec bash", "builtin": "eval bash", "nowhere": "no-such-agent --fast"}
    policy = {
        "agent_profiles": [
            {"name": name, "runner": "shell", "runner_options": {"command": line}} for name, line in options.items()
        ],
        "agents": [{"name": f"a-{name}", "profile": name} for name in options],
    }
    assert said(asked(tmp_path, policy), "agents") == ("WARN", "not on PATH: nowhere runs no-such-agent")
    assert said(asked(tmp_path), "agents") == ("OK", "default-shell runs bash")


def test_skills_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the project, of the user and of the repositories are known; what no agent reads is not missed."""
    own_settings(monkeypatch, tmp_path)
    project, api = tmp_path / "project", repository(tmp_path / "api")
    names = ("ours", "mine", "theirs", "gone")
    profile = {"name": "p", "runner": "codex", "base_prompt": "Think.", "skills": names}
    shell = {"name": "s", "runner": "shell", "runner_options": {"command": "bash"}, "skills": ["unread"]}
    agents = [{"name": "bob", "profile": "p"}, {"name": "ann", "profile": "s"}]
    policy = {"agent_profiles": [profile, shell], "agents": agents}
    places = project / ".metawsm", tmp_path / "home" / ".codex", api / ".metawsm"
    for place, name in zip(places, names, strict=False):
        (place / "skills" / name).mkdir(parents=True)
        (place / "skills" / name / "SKILL.md").touch()
    told = asked(project, policy, HOME=str(tmp_path / "home"))
    assert said(told, "skills") == ("WARN", "found nowhere: gone")
    assert str(project / ".metawsm" / "skills") in told.checks["runs.skills"]["hint"]
    profile["skills"] = names[:3]
    assert said(asked(project, policy, HOME=str(tmp_path / "home")), "skills") == ("OK", "ours, mine, theirs")
    assert "runs.skills" not in asked(project).checks


def test_jobs(daemon: Daemon) -> None:
    """Held, late and endless ones are told, each with what to do; the counts stand there in any case."""

    def add(status: str, seconds: float) -> dict[str, str]:
        with closing(sqlite3.connect(daemon.database, isolation_level=None, timeout=10)) as db:
            db.execute(JOB, (status, ago(seconds)))
        return ask(daemon.folder).checks["database.jobs"]

    late = add("pending", 90)
    assert late["status"] == "WARN" and "1 pending, 0 running, 0 held; one is due for 9" in late["detail"]
    endless = add("running", 3600)
    assert endless["status"] == "WARN" and "1 running, 0 held; one is at work for 36" in endless["detail"]
    held = add("held", 0)
    assert (held["status"], held["detail"]) == ("WARN", "1 pending, 1 running, 1 held")
    assert "jobs release" in held["hint"]
    daemon.kill()
    with closing(sqlite3.connect(daemon.database, isolation_level=None, timeout=10)) as db:
        db.execute("DELETE FROM jobs WHERE status = 'held'")
    left = ask(daemon.folder).checks["database.jobs"]
    assert (left["status"], left["detail"]) == (
        "OK", "1 pending, 1 running, 0 held; they go on when the daemon starts",
    )  # fmt: skip
    with closing(sqlite3.connect(daemon.database, isolation_level=None, timeout=10)) as db:
        db.execute("DROP TABLE jobs")
    assert ask(daemon.folder).checks["database.jobs"]["detail"] == "the next start makes the table of jobs"
