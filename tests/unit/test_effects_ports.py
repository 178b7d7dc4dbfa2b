"""The adapters of the outside are what the jobs' ports ask for; the type checker compares them here."""

from __future__ import annotations

from pathlib import Path

from metawsm.bus import outside
from metawsm.effects.docmgr import DocmgrDocs
from metawsm.effects.git import GitProgram
from metawsm.effects.launcher import PaneLauncher
from metawsm.effects.ticket_docs import TicketDocs
from metawsm.effects.tmux import TmuxProgram
from metawsm.effects.workspace import WorktreeWorkspaces
from metawsm.effects.wsm import WsmWorkspaces


def test_each_port_has_its_adapters(tmp_path: Path) -> None:
    """Making them starts no program and touches no file."""
    git: outside.Git = GitProgram()
    tmux: outside.Tmux = TmuxProgram("metawsm-test")
    launcher: outside.Launcher = PaneLauncher(tmp_path / "bin", ["metawsm"])
    docs: tuple[outside.Docs, ...] = (TicketDocs(), DocmgrDocs())
    workspaces: tuple[outside.Workspaces, ...] = (
        WorktreeWorkspaces(git, tmp_path / "ws", [tmp_path]),
        WsmWorkspaces(git, tmp_path / "wsm"),
    )
    assert len({id(port) for port in (git, tmux, launcher, *docs, *workspaces)}) == 7
    assert list(tmp_path.iterdir()) == []
