"""The look at agents over a real database and the real tmux: one fault stays one, and news is told once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from metawsm.daemon.agent_watch import AgentWatch
from metawsm.domain.run_health import Thresholds
from metawsm.effects.git import GitProgram
from metawsm.effects.launcher import PaneLauncher
from metawsm.effects.tmux import TmuxProgram
from tests.support import tmux_server
from tests.support.run_lab import RunLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RunLab]:
    """A database."""
    lab = RunLab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[TmuxProgram]:
    """A server of this test's own; it does not run yet."""
    with tmux_server.socket(tmp_path) as socket:
        yield TmuxProgram(socket)


@pytest.fixture
def watch(lab: RunLab, tmux: TmuxProgram, tmp_path: Path) -> AgentWatch:
    """A look at the agents of the lab's runs."""
    launcher = PaneLauncher(tmp_path / "bin", ["true"])
    return AgentWatch(
        lab.writer, lab.read, tmux, GitProgram(), launcher, lab.internal, Thresholds(60, 120, 180),
        lambda run_id, agent: f"{run_id}~{agent}", lab.sent.extend,
    )  # fmt: skip


def two_runs(lab: RunLab) -> None:
    """Run 7 and run 8, each with an agent at work as far as is known."""
    lab.started()
    lab.started(run_id="run-8", tickets=["MET-2"])


def change(lab: RunLab, sql: str) -> None:
    """Somebody damages rows."""
    lab.writer.run(lambda db: list(db.execute(sql)))


def test_an_agent_that_cannot_be_looked_at_hides_no_other(
    lab: RunLab, watch: AgentWatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its fault is logged once and shown until it is mended; what became of the other is told."""
    two_runs(lab)
    change(lab, "UPDATE agents SET folder = 'a' || char(0) WHERE run_id = 'run-7'")
    for _ in range(2):
        watch.look_at_sessions()
        lab.settle()
    assert lab.run("run-8").agents[0].state == "dead"
    assert lab.run("run-7").agents[0].state == "running"
    assert watch.fault is not None and watch.fault.startswith("agent agent of run-7: ") and "null byte" in watch.fault
    assert len([each for each in caplog.records if each.levelno >= logging.WARNING]) == 1
    change(lab, "UPDATE agents SET folder = NULL")
    watch.look_at_sessions()
    lab.settle()
    assert lab.run("run-7").agents[0].state == "dead"
    assert not watch.fault


def test_a_fault_goes_with_its_agent(lab: RunLab, watch: AgentWatch) -> None:
    """Of a run that is over, nothing is told any more."""
    lab.started()
    change(lab, "UPDATE agents SET folder = 'a' || char(0)")
    watch.look_at_sessions()
    assert watch.fault is not None
    change(lab, "UPDATE agents SET state = 'stopped'")
    watch.look_at_sessions()
    assert watch.fault is None


def test_a_workspace_that_cannot_be_looked_at_hides_no_other(lab: RunLab, watch: AgentWatch, tmp_path: Path) -> None:
    """Its fault is shown until it is mended; the other's checkouts are looked at."""
    two_runs(lab)
    change(lab, "UPDATE runs SET repositories_json = 'damaged' WHERE run_id = 'run-7'")
    change(lab, f"UPDATE runs SET workspaces_json = json_set(workspaces_json, '$[0].path', '{tmp_path}')")
    watch.look_at_checkouts()
    assert lab.rows("SELECT run_id FROM checkout_measures") == [("run-8",)]
    assert watch.fault is not None and watch.fault.startswith("workspace met-1-7 of run-7: "), watch.fault
    change(lab, "UPDATE runs SET repositories_json = '{}'")
    watch.look_at_checkouts()
    assert watch.fault is None


def test_the_same_news_is_told_once(lab: RunLab, watch: AgentWatch) -> None:
    """While its command waits, nothing is added at each look; what is news of another agent is, once."""
    two_runs(lab)
    change(lab, "UPDATE agents SET state = 'stopped' WHERE run_id = 'run-8'")
    before = len(lab.sent)
    for _ in range(3):
        watch.look_at_sessions()
    assert len(lab.sent) - before == 1
    change(lab, "UPDATE agents SET state = 'running' WHERE run_id = 'run-8'")
    for _ in range(3):
        watch.look_at_sessions()
    assert len(lab.sent) - before == 2
    lab.settle()
    assert [lab.run(run_id).agents[0].state for run_id in ("run-7", "run-8")] == ["dead", "dead"]


def test_the_same_news_of_a_later_life_is_told_again(lab: RunLab, watch: AgentWatch) -> None:
    """An agent that was begun anew can die once more."""
    lab.started()
    for _ in range(2):
        watch.look_at_sessions()
        lab.settle()
        assert lab.run().agents[0].state == "dead"
        lab.do("restart_run", "run-7")
        while lab.run().busy is not None:
            lab.end_step()
        assert lab.run().agents[0].state == "running"
