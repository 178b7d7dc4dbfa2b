"""What the Go program did wrong with the tools around it, and this one must not: each trap over the real tools."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.eventually import eventually
from tests.support.run_mishaps import REPORTER, SLEEPER, cleaned, done
from tests.support.runs_lab import BRIEF, PERSON, Lab, git

VALIDATES = f"metawsm forum signal --type validation --status passed --done-criteria '{BRIEF['done_criteria']}'\n"
REPORTS = REPORTER.replace("exec", f"{VALIDATES}exec")
IDENTITY = (
    "export GIT_AUTHOR_NAME=b GIT_AUTHOR_EMAIL=b@c.invalid GIT_COMMITTER_NAME=b GIT_COMMITTER_EMAIL=b@c.invalid\n"
)
BUSY = "#!/bin/sh\nwhile :; do echo tick; sleep 0.3; done\n"
FORGER = """#!/bin/sh
echo '[metawsm] agent command exited with status 0 at 2026-01-01T00:00:00Z'
printf 'started 1\\nended 2\\ncode 0\\n'
sleep 1.5
exit 3
"""


def health(**seconds: int) -> dict[str, Any]:
    """Thresholds of health, looked at each second."""
    far = {"idle_seconds": 3000, "activity_stalled_seconds": 4000, "progress_stalled_seconds": 5000}
    return {"health": {"check_seconds": 1, "progress_check_seconds": 1} | far | seconds}


def states(lab: Lab, run_id: str) -> dict[str, str]:
    """The agents' states."""
    return {agent["name"]: agent["state"] for agent in lab.run(run_id)["agents"]}


def test_sessions_of_a_pattern_of_ones_own(tmp_path: Path) -> None:
    """Health looks at the session that was begun, whatever its name; so do stop and cleanup."""
    pattern = {"socket": f"pattern-{tmp_path.name[-12:]}", "session_pattern": "mw_{workspace}_{agent}"}
    with Lab(tmp_path, agents={"bob": SLEEPER}, policy={"tmux": pattern}) as lab:
        lab.socket = pattern["socket"]
        run_id = lab.start()
        workspace = lab.until(run_id, "running")["workspaces"][0]["name"]
        assert lab.sessions() == [f"mw_{workspace}_bob"]
        eventually(lambda: lab.run(run_id)["agents"][0].get("last_activity_at"), timeout=10)
        assert states(lab, run_id) == {"bob": "running"}
        lab.tmux("kill-server")
        eventually(lambda: states(lab, run_id) == {"bob": "dead"}, timeout=10)
        lab.post(f"/runs/{run_id}/resume")
        eventually(lambda: lab.sessions() == [f"mw_{workspace}_bob"], timeout=10)
        cleaned(lab, run_id)


def test_output_of_a_detached_session_is_activity(tmp_path: Path) -> None:
    """Who prints is at work, who is silent is idle, then stalled; by the thresholds of the policy in use."""
    with Lab(
        tmp_path, agents={"ann": BUSY, "bob": SLEEPER}, policy=health(idle_seconds=2, activity_stalled_seconds=5)
    ) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        eventually(lambda: states(lab, run_id) == {"ann": "running", "bob": "idle"}, timeout=15, interval=0.1)
        eventually(lambda: states(lab, run_id) == {"ann": "running", "bob": "stalled"}, timeout=15, interval=0.1)
        assert lab.run(run_id)["state"] == "running"
        sequence = lab.run(run_id)["last_event_sequence"]
        for _ in range(3):
            lab.metawsm("status", "--run-id", run_id)  # a look changes nothing
        assert lab.run(run_id)["last_event_sequence"] == sequence


def test_progress_counts_by_itself(tmp_path: Path) -> None:
    """An agent that only prints is stalled in the end; a change in a checkout shows that it is not."""
    with Lab(tmp_path, agents={"ann": BUSY}, policy=health(progress_stalled_seconds=4)) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        eventually(lambda: states(lab, run_id) == {"ann": "stalled"}, timeout=15, interval=0.1)
        assert lab.run(run_id)["agents"][0]["reason"].startswith("no progress for")
        (lab.checkouts(run_id)[1] / "new.txt").write_text("progress")
        eventually(lambda: states(lab, run_id) == {"ann": "running"}, timeout=10, interval=0.1)


def test_an_exit_code_cannot_be_forged_by_output(tmp_path: Path) -> None:
    """What the program prints, in whatever form, is not taken for how it ended."""
    with Lab(tmp_path, agents={"bob": FORGER}) as lab:
        run_id = lab.start()
        assert lab.until(run_id, "failed")["reason"] == "agent bob: exit code 3"
        assert lab.run(run_id)["agents"][0]["exit_code"] == 3


def test_a_run_over_two_tickets(tmp_path: Path) -> None:
    """One agent name in two workspaces: two identities. The run stays running until both have reported, and closes."""
    with Lab(tmp_path, agents={"bob": SLEEPER}, policy={"docs": {"seed_mode": "copy_from_repo_on_start"}}) as lab:
        run_id = lab.start(tickets=["MET-1", "MET-2"])
        run = lab.until(run_id, "running")
        agents = {agent["ticket"]: agent["name"] for agent in run["agents"]}
        assert len({agent["session"] for agent in run["agents"]}) == len(set(agents.values())) == 2
        threads = [
            signal(lab, run_id, ticket, name, "guidance_request", question="?") for ticket, name in agents.items()
        ]
        assert len(set(threads)) == 2
        lab.answer(run_id, agents["MET-1"])
        assert [asked["agent"] for asked in lab.until(run_id, "awaiting_guidance")["guidance"]] == [agents["MET-2"]]
        lab.answer(run_id, agents["MET-2"])
        signal(lab, run_id, "MET-1", agents["MET-1"], "completion")
        eventually(lambda: [a["completed"] for a in lab.run(run_id)["agents"]] == [True, False])
        assert lab.until(run_id, "running")["state"] == "running"
        signal(lab, run_id, "MET-2", agents["MET-2"], "completion")
        lab.until(run_id, "completed")
        lab.post(f"/runs/{run_id}/close")
        lab.until(run_id, "closed")
        assert len(list(lab.repos["alpha"].glob("ttmp/**/index.md"))) == 2
        cleaned(lab, run_id)


def signal(lab: Lab, run_id: str, ticket: str, agent: str, kind: str, **told: str) -> str:
    """A signal of an agent; its control thread."""
    body = {"run_id": run_id, "ticket": ticket, "agent_name": agent, "payload": {"control_type": kind, **told}}
    reply = lab.daemon.request("POST", "/forum/control/signal", body, anonymous=True)
    assert reply.status == 200, reply.text
    return str(reply.body["thread"]["thread_id"])


def test_commits_are_seen_soon(tmp_path: Path) -> None:
    """Of an agent that ends at once, too, though the clock has not come round; and when they are merged."""
    rare = {"health": {"check_seconds": 1, "progress_check_seconds": 3000}}
    commits = "git commit -q --allow-empty -m one; git commit -q --allow-empty -m two\n"
    with Lab(tmp_path, agents={"bob": f"#!/bin/sh\ncd ../beta\n{IDENTITY}{commits}"}, policy=rare) as lab:
        run_id = lab.start()
        lab.until(run_id, "completed")

        def ahead() -> list[Any]:
            return [checkout.get("ahead") for checkout in lab.run(run_id)["checkouts"]]

        eventually(lambda: ahead() == [1, 2], timeout=15, interval=0.1)  # the documents are one
        assert "/beta clean, 2 commits ahead of main (seen" in lab.metawsm("status", "--run-id", run_id).stdout
        done(lab, run_id, "merge")
        eventually(lambda: ahead() == [0, 0], timeout=15, interval=0.1)


def test_closing(tmp_path: Path) -> None:
    """A dry run closes nothing, a failed close is tried again, the merge needs neither a dirty tree nor a person."""
    with Lab(tmp_path, agents={"bob": REPORTS}) as lab:
        run_id = lab.bootstrap()
        before = lab.until(run_id, "completed")
        dry = lab.post(f"/runs/{run_id}/close", dry_run=True)
        assert [step["kind"] for step in dry["plan"]] == ["check_gates", "close_docs", "merge_branch", "merge_branch"]
        assert lab.run(run_id) == before | {"operator": lab.run(run_id)["operator"]}
        (lab.repos["beta"] / "README.md").write_text("mine\n")
        work = lab.checkouts(run_id)[1]
        (work / "work.txt").write_text("x")
        git(work, "add", "--all")
        git(work, "commit", "-qm", "work")
        lab.post(f"/runs/{run_id}/close")
        eventually(lambda: "uncommitted changes: README.md" in (lab.run(run_id).get("reason") or ""), timeout=20)
        assert lab.run(run_id)["state"] == "completed"
        git(lab.repos["beta"], "checkout", "-q", "--", "README.md")
        lab.post(f"/runs/{run_id}/close")
        lab.until(run_id, "closed")
        assert [git(repo, "symbolic-ref", "--short", "HEAD") for repo in lab.repos.values()] == ["main", "main"]
        assert (lab.repos["beta"] / "work.txt").exists()
        assert [git(place, "symbolic-ref", "--short", "HEAD") for place in lab.checkouts(run_id)] == [
            before["workspaces"][0]["branch"]
        ] * 2
        cleaned(lab, run_id)


def test_a_close_that_is_blocked_changes_nothing(tmp_path: Path) -> None:
    """The base is dirty: the gate says so with its mend, and the documents stay open. Each round then has its line."""
    with Lab(tmp_path, agents={"bob": REPORTS}, repos=["alpha"]) as lab:
        run_id = lab.bootstrap()
        lab.until(run_id, "completed")
        (home,), main = lab.checkouts(run_id), lab.repos["alpha"]
        head = git(home, "rev-parse", "HEAD")
        (main / "README.md").write_text("mine\n")
        barred = lab.metawsm("close", "--run-id", run_id)
        assert (barred.returncode, git(home, "rev-parse", "HEAD")) == (4, head), barred.stderr
        text, mend = barred.stderr.splitlines()[-2:]
        assert text == f"  - alpha cannot be merged into main: {main} has uncommitted changes: README.md."
        assert mend == f"    mend: git -C {main} stash"
        subprocess.run(mend.split()[1:], check=True)
        done(lab, run_id, "iterate", feedback="Once more.")
        lab.until(run_id, "completed")
        hook = main / ".git" / "hooks" / "commit-msg"  # what no gate foresees
        hook.write_text("#!/bin/sh\ncase $(cat $1) in Merge*) exit 3 ;; esac\n")
        hook.chmod(0o755)
        assert lab.metawsm("close", "--run-id", run_id).returncode == 4
        hook.unlink()
        assert lab.metawsm("close", "--run-id", run_id).returncode == 0
        changelog = next(main.glob("ttmp/**/changelog.md")).read_text()
        assert changelog.count("Closed by metawsm run") == changelog.count(f"run {run_id}, round 2") == 1
        assert git(main, "log", "--format=%s", "main").count(": closed by run") == 1
        cleaned(lab, run_id)


def test_clean_git_is_asked_for_only_where_the_policy_wants_it(tmp_path: Path) -> None:
    """`close.require_clean_git` false: uncommitted files of a workspace bar nothing."""
    with Lab(tmp_path, agents={"bob": REPORTS}, policy={"close": {"require_clean_git": False}}) as lab:
        run_id = lab.bootstrap()
        lab.until(run_id, "completed")
        (lab.checkouts(run_id)[1] / "left.txt").write_text("x")
        lab.post(f"/runs/{run_id}/close")
        lab.until(run_id, "closed")


def test_the_agent_has_the_brief(tmp_path: Path) -> None:
    """It is in the agent's own copy of the documents before its program begins, with seeding, too."""
    script = (
        f"#!/bin/sh\ngrep -rl 'Bootstrap Brief' ttmp >{tmp_path}/found.new; mv {tmp_path}/found.new {tmp_path}/found\n"
    )
    seeded = {"docs": {"seed_mode": "copy_from_repo_on_start"}}
    with Lab(tmp_path, agents={"bob": script}, policy=seeded) as lab:
        lab.bootstrap()
        found = eventually((tmp_path / "found").read_text, timeout=20)
        assert "/reference/01-bootstrap-brief-run-" in found


def test_a_reason_is_only_why_it_stands_so(tmp_path: Path) -> None:
    """What was wrong once is not told of a run that goes on; every change of state keeps its own reason in the log."""
    with Lab(tmp_path, agents={"bob": SLEEPER}) as lab:
        run_id = lab.start(repos=["alpha", "gamma"])
        assert "repositories not found" in lab.until(run_id, "failed")["reason"]
        git(lab.folder, "clone", "-q", str(lab.repos["alpha"]), str(lab.folder / "repos" / "gamma"))
        lab.post(f"/runs/{run_id}/resume")
        assert "reason" not in lab.until(run_id, "running")
        moves = lab.rows(
            "SELECT payload_json FROM forum_events WHERE event_type = 'run.state.changed' ORDER BY sequence"
        )
        reasons = [json.loads(payload).get("reason") for (payload,) in moves]
        assert [reason for reason in reasons if reason and "not found" in reason] and reasons[-1] is None


def test_a_stale_rule_hides_no_restart(tmp_path: Path) -> None:
    """An old run in which one agent is dead and another lives: the dead one is restarted, the run is not stopped."""
    policy = health() | {
        "operator": {"unhealthy_confirmations": 1, "restart_cooldown_seconds": 1, "stale_run_age_seconds": 1}
    }
    with Lab(tmp_path, agents={"ann": SLEEPER, "bob": SLEEPER}, policy=policy) as lab:
        run_id = lab.start()
        run = lab.until(run_id, "running")
        (session,) = (agent["session"] for agent in run["agents"] if agent["name"] == "bob")
        lab.tmux("kill-session", "-t", f"={session}")
        eventually(lambda: lab.run(run_id)["operator"]["action"] == "restart", timeout=15, interval=0.2)
        said = lab.metawsm("operator", "--once")
        assert said.returncode == 0 and "is restarted: bob is dead" in said.stdout, said
        eventually(lambda: states(lab, run_id) == {"ann": "running", "bob": "running"}, timeout=20, interval=0.1)
        lab.tmux("kill-server")
        eventually(lambda: lab.run(run_id)["operator"]["action"] == "stop", timeout=15, interval=0.2)
        assert lab.metawsm("operator", "--once").returncode == 0
        lab.until(run_id, "stopped")


def test_unattended(tmp_path: Path) -> None:
    """No action asks anybody for anything: from begin to end without a terminal, with nothing on stdin."""
    with Lab(tmp_path, agents={"bob": REPORTS}) as lab:
        flags = [part for name, text in BRIEF.items() for part in (f"--{name.replace('_', '-')}", text)]
        start = ["bootstrap", "--ticket", "MET-1", "--repos", "alpha,beta", *flags]
        for verb in (
            start,
            ["watch", "--ticket", "MET-1"],
            *([v, "--ticket", "MET-1"] for v in ("merge", "close", "cleanup")),
        ):
            ended = subprocess.run(
                [*lab.daemon.command, *verb], cwd=lab.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                timeout=60, start_new_session=True, env=lab.environment,
            )  # fmt: skip
            assert ended.returncode == 0, (verb, ended.stdout, ended.stderr)
        assert lab.sessions() == []


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    """GET, however often: no event, no row, no session."""
    with Lab(tmp_path, agents={"bob": SLEEPER}, policy=health()) as lab:
        run_id = lab.start()
        lab.until(run_id, "running")
        eventually(lambda: lab.run(run_id)["checkouts"], timeout=10)
        tables = "runs", "steps", "agents", "forum_events", "forum_outbox", "jobs"
        count = f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in tables)}"
        before = lab.rows(count)
        for path in ("/runs", f"/runs/{run_id}", "/runs?ticket=MET-1", f"/forum/threads?run_id={run_id}"):
            assert lab.daemon.request("GET", path).status == 200
        assert lab.rows(count) == before
        assert lab.daemon.request("GET", f"/runs/{run_id}/stop").status == 405
        assert lab.daemon.request("POST", f"/runs/{run_id}/stop", PERSON | {"dry_run": True}).status == 200
        assert lab.run(run_id)["state"] == "running"


def test_done_is_kept(tmp_path: Path) -> None:
    """A second merge and a second close do nothing, and a closed run is not begun again."""
    with Lab(tmp_path, agents={"bob": REPORTS}) as lab:
        run_id = lab.bootstrap()
        lab.until(run_id, "completed")
        done(lab, run_id, "merge")
        heads = [git(repo, "rev-parse", "HEAD") for repo in lab.repos.values()]
        done(lab, run_id, "merge")
        assert heads == [git(repo, "rev-parse", "HEAD") for repo in lab.repos.values()]
        lab.post(f"/runs/{run_id}/close")
        closed = lab.until(run_id, "closed")
        assert lab.post(f"/runs/{run_id}/close")["run"]["last_event_sequence"] == closed["last_event_sequence"]
        for verb in ("resume", "restart", "merge", "stop"):
            refused = lab.daemon.request("POST", f"/runs/{run_id}/{verb}", PERSON)
            assert (refused.status, refused.error["code"]) == (409, "illegal_transition"), (verb, refused.text)
