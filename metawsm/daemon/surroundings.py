"""The outside of this daemon as jobs see it: which programs, which folders, which server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from attrs import define, frozen

import metawsm
from metawsm.bus.jobs import JobTools
from metawsm.bus.outside import Workspaces
from metawsm.bus.ports import Db
from metawsm.daemon.options import Options
from metawsm.daemon.read_models import now
from metawsm.daemon.run_settings import placed, profiles_of
from metawsm.daemon.token import read_or_create
from metawsm.domain.agent_token import agent_token
from metawsm.domain.errors import NotFound
from metawsm.domain.run import Run
from metawsm.effects.docmgr import DocmgrDocs
from metawsm.effects.git import GitProgram
from metawsm.effects.launcher import PaneLauncher
from metawsm.effects.ticket_docs import TicketDocs
from metawsm.effects.tmux import TmuxProgram
from metawsm.effects.workspace import WorktreeWorkspaces
from metawsm.effects.wsm import WsmWorkspaces
from metawsm.storage.run_rows import find_run

Query = Callable[[Callable[[Db], Any]], Any]
_READ = "SELECT 1 FROM forum_post_receipts WHERE post_id = ? AND read_at IS NOT NULL"
_BODY = "SELECT body FROM forum_posts WHERE post_id = ?"
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - an address that was asked for


@define
class Place:
    """Where this daemon is reached; known once it listens."""

    server: str = ""


def job_tools(options: Options, query: Query, place: Place) -> JobTools:
    """The adapters that the policy asks for."""
    policy, folder = options.loaded.policy, options.folder
    git = GitProgram()
    roots = [placed(root, folder) for root in policy.workspace.repo_roots]
    workspaces: Workspaces = (
        WsmWorkspaces(git)
        if policy.workspace.tool == "wsm"
        else WorktreeWorkspaces(git, placed(policy.workspace.root, folder), roots)
    )
    return JobTools(
        git=git,
        tmux=TmuxProgram(policy.tmux.socket),
        docs=DocmgrDocs() if policy.docs.tool == "docmgr" else TicketDocs(),
        workspaces=workspaces,
        launcher=PaneLauncher(folder / "bin", invocation()),
        reads=Lookups(query),
        profile=profiles_of(policy),
        agent_token=lambda run_id, agent: agent_token(read_or_create(folder / "token"), run_id, agent),
        now=now,
        server=lambda: place.server,
        repo_roots=roots,
        state_folder=folder,
        require_clean_git=policy.close.require_clean_git,
    )


def invocation() -> tuple[str, ...]:
    """How this very program is called: the artifact it runs from, or its sources."""
    if is_zipfile(sys.argv[0]):
        return sys.executable, os.path.abspath(sys.argv[0])
    root = Path(metawsm.__file__).parent.parent
    code = f"import sys; sys.path.insert(0, {str(root)!r}); from metawsm.cli.main import main; main()"
    return sys.executable, "-c", code


@frozen
class Lookups:
    """What jobs look up in the database."""

    query: Query

    def run(self, run_id: str) -> Run:
        """The run. Raises NotFound."""
        found: Run | None = self.query(lambda db: find_run(db, run_id))
        if found is None:
            raise NotFound(f"there is no run {run_id}")
        return found

    def is_read(self, post_id: str) -> bool:
        """Whether an agent has read the answer."""
        return bool(self.query(lambda db: any(db.execute(_READ, (post_id,)))))

    def answer(self, post_id: str) -> str:
        """The answer's text. Raises NotFound."""
        found = self.query(lambda db: list(db.execute(_BODY, (post_id,))))
        if not found:
            raise NotFound(f"there is no post {post_id}")
        return str(found[0][0])


def url_of(address: tuple[str, int]) -> str:
    """Where programs on this machine reach the daemon."""
    host, port = EVERYWHERE.get(address[0], address[0]), address[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
