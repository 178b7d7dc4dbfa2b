"""Agents that cannot begin, end early, are killed, or whose session is somebody else's: told, mendable, harmless."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import SLEEPER, check_well, cleaned, done, failed, resumed
from tests.support.runs_lab import Lab, git

HOLDS = "#!/bin/sh\nwhile [ ! -e FILE ]; do sleep 0.1; done\nexit CODE\n"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A project whose agent sleeps."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as made:
        yield made


def rewrite(lab: Lab, agent: str, script: str) -> None:
    """Make the agent another program."""
    file = lab.folder / f"agent-{agent}"
    file.write_text(script)
    file.chmod(0o755)


def policy(lab: Lab) -> Any:
    """The policy file."""
    return json.loads((lab.folder / ".metawsm" / "policy.json").read_text())


def restart_with(lab: Lab, changed: Mapping[str, Any]) -> None:
    """Start the daemon anew under another policy."""
    (lab.folder / ".metawsm" / "policy.json").write_text(json.dumps(changed))
    assert lab.daemon.stop() == 0
    lab.daemon.start()


def until_agent(lab: Lab, run_id: str, state: str, agent: int = 0) -> Any:
    """Wait until an agent is in a state; the run."""

    def look() -> Any:
        run = lab.run(run_id)
        assert run["agents"][agent]["state"] == state, run["agents"]
        return run

    return eventually(look, timeout=20, interval=0.1)


def test_a_command_that_is_not_there(lab: Lab) -> None:
    """127 and the shell's words; once the program is there, resume starts it."""
    (lab.folder / "agent-bob").unlink()
    other = lab.start(tickets=["MET-2"], paused=True)
    run_id = lab.start()
    failed(lab, run_id, "the program of agent bob ended at once with exit code 127", "agent-bob", "not found")
    assert lab.run(run_id)["agents"][0]["state"] == "failed"
    rewrite(lab, "bob", SLEEPER)
    resumed(lab, run_id)
    resumed(lab, other)
    cleaned(lab, run_id)
    assert lab.run(other)["state"] == "running" and len(lab.sessions()) == 1


def test_a_program_that_fails_at_once(lab: Lab) -> None:
    """Its last words are told, tamed; its session is left for looking around, and goes with cleanup."""
    rewrite(lab, "bob", "#!/bin/sh\nprintf '\\033]0;owned\\007no model $(id)\\033[K\\n' >&2\nexit 7\n")
    run_id = lab.start()
    step = failed(lab, run_id, "the program of agent bob ended at once with exit code 7", "no model $(id)")
    assert "\x1b" not in step["error"] and step["attempts"] == 2
    assert len(lab.sessions()) == 1
    cleaned(lab, run_id)
    rewrite(lab, "bob", SLEEPER)
    resumed(lab, run_id)


def test_a_program_that_ends_well_at_once(lab: Lab) -> None:
    """A standard run is completed by it; a bootstrap run waits for the signals, and says how it can go on."""
    rewrite(lab, "bob", "#!/bin/sh\nexit 0\n")
    run_id = lab.start()
    assert lab.until(run_id, "completed")["agents"][0]["exit_code"] == 0
    waiting = lab.bootstrap(tickets=["MET-2"])
    run = until_agent(lab, waiting, "stopped")
    assert run["state"] == "running"
    assert f"metawsm.pyz resume --run-id {waiting}" in run["next"]
    decision = run["operator"]
    assert (decision["action"], decision["agents"]) == ("ask_human", ["bob"])
    assert "bob ended without having reported completion and validation" in decision["reason"]
    cleaned(lab, waiting)


def test_a_program_that_fails_later(tmp_path: Path) -> None:
    """The run fails with its code while the other agent works on; resume starts the one that failed."""
    holds = HOLDS.replace("FILE", str(tmp_path / "end")).replace("CODE", "3")
    with Lab(tmp_path, agents={"ann": SLEEPER, "bob": holds}) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        (tmp_path / "end").touch()
        run = lab.until(run_id, "failed")
        assert run["reason"] == "agent bob: exit code 3"
        assert [agent["state"] for agent in run["agents"]] == ["running", "failed"]
        check_well(lab)
        rewrite(lab, "bob", SLEEPER)
        before = lab.tmux("list-panes", "-a", "-F", "#{session_name} #{pane_pid}").stdout.splitlines()
        resumed(lab, run_id)
        after = lab.tmux("list-panes", "-a", "-F", "#{session_name} #{pane_pid}").stdout.splitlines()
        assert len(set(before) & set(after)) == 1  # the one that was at work was left alone
        cleaned(lab, run_id)


def test_a_program_that_is_killed(lab: Lab) -> None:
    """Its shell tells the signal as a code, so it has failed."""
    run_id = lab.start()
    lab.until(run_id, "running")
    (pid,) = (p.name for p in Path("/proc").glob("[0-9]*") if _runs(p, b"sleep\x00600", run_id))
    os.kill(int(pid), signal.SIGKILL)
    assert lab.until(run_id, "failed")["reason"] == "agent bob: exit code 137"
    resumed(lab, run_id)
    cleaned(lab, run_id)


def _runs(process: Path, command: bytes, run_id: str) -> bool:
    try:
        return command in (process / "cmdline").read_bytes() and run_id.encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def test_a_session_that_is_gone(lab: Lab) -> None:
    """Dead, not failed: nobody knows how it ended. The run goes on without it until it is resumed."""
    run_id, other = lab.start(), lab.start(tickets=["MET-2"])
    for each in (run_id, other):
        lab.until(each, "running")
    lab.tmux("kill-session", "-t", lab.run(run_id)["agents"][0]["session"])
    run = until_agent(lab, run_id, "dead")
    assert (run["state"], run["agents"][0]["reason"]) == ("running", "its session is gone")
    assert f"metawsm.pyz resume --run-id {run_id}" in run["next"]
    assert lab.run(other)["agents"][0]["state"] == "running"
    resumed(lab, run_id)
    until_agent(lab, run_id, "running")


def test_the_tmux_server_is_gone(lab: Lab) -> None:
    """Every agent of every run is dead; each run is resumed, on a new server."""
    runs = [lab.start(tickets=[f"MET-{number}"]) for number in (1, 2)]
    for run_id in runs:
        lab.until(run_id, "running")
    lab.tmux("kill-server")
    for run_id in runs:
        until_agent(lab, run_id, "dead")
    check_well(lab)
    for run_id in runs:
        resumed(lab, run_id)
    for run_id in runs:
        cleaned(lab, run_id)


def test_a_profile_that_is_gone(lab: Lab) -> None:
    """Between start and restart the policy lost it: said so; put back, resume completes the restart."""
    run_id = lab.start()
    lab.until(run_id, "running")
    whole = policy(lab)
    other = [{"name": "p-new", "runner": "shell", "runner_options": {"command": "exec sleep 600"}}]
    restart_with(lab, whole | {"agent_profiles": other, "agents": [{"name": "bob", "profile": "p-new"}]})
    lab.post(f"/runs/{run_id}/restart")
    failed(lab, run_id, "the policy has no profile 'p-bob' any more; put it back")
    restart_with(lab, whole)
    resumed(lab, run_id)
    cleaned(lab, run_id)


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ({"agents": [{"name": "bob", "profile": "gone"}]}, "agents[0].profile: no profile is named 'gone'"),
        ({"agent_profiles": [{"name": "p-bob", "runner": "zsh"}]}, "agent_profiles[0].runner"),
        ({"tmux": {"session_pattern": "{agent}"}}, "tmux.session_pattern: must contain {workspace}"),
        ({"workspace": {"branch_prefix": "a..b"}}, "workspace.branch_prefix"),
        ({"workspace": {"branch_prefix": "x.lock"}}, "workspace.branch_prefix"),
        ({"health": {"idle_seconds": 10, "activity_stalled_seconds": 5}}, "health.activity_stalled_seconds"),
    ],
)
def test_pieces_of_a_policy_that_are_wrong(lab: Lab, piece: Mapping[str, Any], words: str) -> None:
    """The daemon does not start with them and names the setting; what ran goes on, and is known when it is mended."""
    run_id = lab.start()
    lab.until(run_id, "running")
    whole = policy(lab)
    lab.daemon.stop()
    (lab.folder / ".metawsm" / "policy.json").write_text(json.dumps(whole | piece))
    refused = lab.metawsm("serve", "--addr", "127.0.0.1:0")
    assert refused.returncode != 0 and words in refused.stderr and "Traceback" not in refused.stderr
    (lab.folder / ".metawsm" / "policy.json").write_text(json.dumps(whole))
    lab.daemon.start()
    assert lab.run(run_id)["agents"][0]["state"] == "running"


def codex_lab(folder: Path, *skills: str) -> Lab:
    """A lab whose agent is a program by the name of codex: it writes down what it is told, and waits."""
    profile = {"name": "p", "runner": "codex", "base_prompt": "Be brief.", "skills": skills}
    more = {"agent_profiles": [profile], "agents": [{"name": "bob", "profile": "p"}]}
    programs = folder / "programs"
    programs.mkdir()
    (programs / "codex").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{folder}/arguments\nexec sleep 600\n')
    (programs / "codex").chmod(0o755)
    return Lab(folder, policy=more, env={"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder / "home")})


def test_a_skill_that_is_missing(tmp_path: Path) -> None:
    """Where it was looked for is told; put there, resume hands it over, that of the project before the user's own."""
    with codex_lab(tmp_path, "review", "write") as lab:
        run_id = lab.start()
        places = tmp_path / ".metawsm" / "skills", tmp_path / "home" / ".codex" / "skills"
        failed(lab, run_id, "there is no skill review", *map(str, places), str(lab.checkouts(run_id)[0]))
        for place, name in zip((*places, places[1]), ("review", "write", "review"), strict=True):
            (place / name).mkdir(parents=True)
            (place / name / "SKILL.md").write_text(f"# To {name}\n")
        resumed(lab, run_id)
        told = eventually((tmp_path / "arguments").read_text)
        assert f"- {places[0]}/review/SKILL.md\n- {places[1]}/write/SKILL.md\n" in told
        cleaned(lab, run_id)


def test_a_codex_agent_is_told_what_lies_around(tmp_path: Path) -> None:
    """The documents, the brief and the other repository, and from the second round on the feedback: all are there."""
    with codex_lab(tmp_path) as lab:
        run_id = lab.bootstrap()
        lab.until(run_id, "running")
        place = lab.checkouts(run_id)[0]
        told = eventually((tmp_path / "arguments").read_text)
        for sign in (r"are in (ttmp/\S+) in this", r"brief of this run: (\S+\.md)\.", r"this one: (\.\./beta)\."):
            assert (place / re.findall(sign, told)[0]).exists(), told
        assert "The operator wants" not in told
        (tmp_path / "arguments").unlink()
        lab.post(f"/runs/{run_id}/iterate", feedback="Shorter.")
        again = eventually((tmp_path / "arguments").read_text)
        (page,) = re.findall(r"something changed: (\S+) says", again)
        assert "Shorter." in (place / page).read_text() and "round 2." in again
        cleaned(lab, run_id)


def test_a_session_that_is_somebody_elses(lab: Lab) -> None:
    """A person has a session of that name: it bars the agent, and no action of the run ever ends it."""
    run_id = lab.start(run_id="run-7", paused=True)
    session = lab.run(run_id)["agents"][0]["session"]
    lab.tmux("new-session", "-d", "-s", session, "sleep", "500")
    lab.post(f"/runs/{run_id}/resume")
    failed(lab, run_id, f"there is a tmux session {session} already, and this run did not begin it")
    lab.post(f"/runs/{run_id}/stop")
    lab.until(run_id, "stopped")
    lab.post(f"/runs/{run_id}/cleanup")
    lab.ended(run_id, "cleanup")
    assert lab.tmux("list-panes", "-a", "-F", "#{pane_start_command}").stdout == "sleep 500\n"
    lab.tmux("rename-session", "-t", f"={session}", "mine")
    resumed(lab, run_id)
    lab.tmux("kill-session", "-t", f"={session}")
    lab.tmux("new-session", "-d", "-s", session, "sleep", "500")
    assert until_agent(lab, run_id, "dead")["agents"][0]["reason"] == "its session is gone"


def test_two_runs_in_one_workspace(lab: Lab) -> None:
    """With strategy reuse both want the same session for their agent: the second is barred, the first goes on."""
    first = lab.start()
    place = lab.until(first, "running")["workspaces"][0]
    second = lab.start(tickets=["MET-2"], strategy="reuse", source=place["name"])
    failed(lab, second, f"it is that of agent bob of {first}")
    assert lab.run(first)["agents"][0]["state"] == "running"
    lab.post(f"/runs/{second}/stop")
    lab.until(second, "stopped")
    assert len(lab.sessions()) == 1
    done(lab, first, "stop")
    run = resumed(lab, second)
    assert (run["workspaces"][0]["path"], run["workspaces"][0]["branch"]) == (place["path"], place["branch"])
    done(lab, second, "cleanup")
    assert Path(place["path"]).is_dir() and lab.sessions() == []
    assert not (lab.folder / ".metawsm" / "agents" / second).exists()
    cleaned(lab, first)


def test_two_projects_on_one_tmux_server(tmp_path: Path) -> None:
    """Run ids may be alike in them: neither takes the other's session for its own."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with Lab(tmp_path / "one", agents={"bob": SLEEPER}) as one:
        more = {"tmux": {"socket": one.socket}}
        with Lab(tmp_path / "two", agents={"bob": SLEEPER}, policy=more) as two:
            one.start(run_id="run-1")
            one.until("run-1", "running")
            two.start(run_id="run-1")
            failed(two, "run-1", "already, and it is that of agent bob of run-1")
            two.post("/runs/run-1/cleanup")
            two.ended("run-1", "cleanup")
            assert len(one.sessions()) == 1 and one.run("run-1")["state"] == "running"


LEAKS = {
    "METAWSM_TOKEN": "x" * 43,
    "METAWSM_FORUM_REDIS_RETENTION_HOURS": "71",
    "GIT_DIR": "/nowhere",
    "TMUX": "/no,1,0",
}


def test_what_an_agent_finds_in_its_environment(tmp_path: Path) -> None:
    """What the issue names, the user's own variables, and nothing of the daemon's; a token that is its own alone."""
    script = f"#!/bin/sh\nenv >{tmp_path}/env.new && mv {tmp_path}/env.new {tmp_path}/env\nexec sleep 600\n"
    leaks = {name: value for name, value in LEAKS.items() if name != "METAWSM_TOKEN"}
    with Lab(tmp_path, agents={"bob": script}, env=leaks | {"EDITOR": "my-editor"}) as lab:
        run_id = lab.start()
        run = lab.until(run_id, "running")
        lines = eventually((tmp_path / "env").read_text).splitlines()
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        token = found.pop("METAWSM_TOKEN")
        assert token.startswith(f"mwa~{run_id}~bob~") and lab.daemon.token not in "".join(lines)
        assert token not in subprocess.run(["ps", "-wweo", "args"], capture_output=True, text=True).stdout
        assert {name: value for name, value in found.items() if name.startswith("METAWSM_")} == {
            "METAWSM_SERVER": lab.daemon.url, "METAWSM_RUN_ID": run_id, "METAWSM_TICKET": "MET-1",
            "METAWSM_AGENT": "bob", "METAWSM_WORKSPACE": run["workspaces"][0]["name"], "METAWSM_ACTOR_TYPE": "agent",
            "METAWSM_ACTOR_NAME": "bob", "METAWSM_ROUND": "1",
            "METAWSM_DOCS": str(next(lab.checkouts(run_id)[0].glob("ttmp/*/*/*/MET-1--*"))),
        }  # fmt: skip
        assert "GIT_DIR" not in found and found["EDITOR"] == "my-editor"
        commanded = lab.daemon.request("POST", f"/runs/{run_id}/stop", {}, {"Authorization": f"Bearer {token}"})
        assert commanded.status == 403, commanded.text


def test_nobody_else_reads_what_is_an_agents(lab: Lab) -> None:
    """Prompts and status files are in a folder that is the user's alone, and so is what is put on an agent's PATH."""
    run_id = lab.start()
    lab.until(run_id, "running")
    state = lab.folder / ".metawsm"
    (kept,) = (state / "agents" / run_id).iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (kept, state / "bin", state / "bin" / "metawsm")] == [
        0o700
    ] * 3


def test_commits_of_the_run_have_the_users_name(lab: Lab) -> None:
    """What metawsm commits is signed by the user where git knows one."""
    git(lab.repos["alpha"], "config", "user.name", "Tess Ter")
    git(lab.repos["alpha"], "config", "user.email", "tess@example.org")
    run_id = lab.start()
    lab.until(run_id, "running")
    assert git(lab.checkouts(run_id)[0], "log", "-1", "--format=%an <%ae>") == "Tess Ter <tess@example.org>"
