"""What runs need outside: git, tmux, the policy's tools and agents' programs, the workspaces' folder, repositories.

The forum works without any of it, so nothing here is worse than WARN.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from metawsm.daemon.checks.files import MOUNTS, NETWORK, TOO_LITTLE, file_system_of, size
from metawsm.daemon.checks.finding import Case, Finding, ok, warn
from metawsm.daemon.run_settings import placed
from metawsm.domain.errors import OutsideError
from metawsm.effects import program
from metawsm.effects.git import GitProgram
from metawsm.effects.tmux import TmuxProgram
from metawsm.policy.sections import AgentProfile, Workspace

NEEDED = "runs need it, the forum does not: {}"
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


def runs(case: Case) -> Iterator[Finding]:
    """Whether a run could be started now."""
    tmux = TmuxProgram(case.policy.tmux.socket)
    yield _version("runs.git", "git", GitProgram().version)
    found = _version("runs.tmux", "tmux", tmux.version)
    yield found
    if found.status == "OK":
        yield _sessions(tmux, case.policy.tmux.socket)
    yield from _tools(case)
    yield _workspaces(placed(case.policy.workspace.root, case.folder), case.folder)
    yield _repositories(case)
    yield from _agents(case)
    yield from _skills(case)


def _version(name: str, program_name: str, ask: Callable[[], str]) -> Finding:
    try:
        return ok(name, f"{program_name} {ask()}")
    except OutsideError as error:
        return warn(name, error.message, NEEDED.format(program.PACKAGES[program_name]))


def _sessions(tmux: TmuxProgram, socket: str) -> Finding:
    server = f"the server at {socket!r}" if socket else "this user's server"
    try:
        count = len(tmux.panes())
    except OutsideError as error:
        hint = "look at the socket's folder and owner (TMUX_TMPDIR, tmux.socket); the daemon's user must own it"
        return warn("runs.sessions", f"{server}: {error.message}", hint)
    return ok("runs.sessions", f"{server} has {count} session(s)" if count else f"{server} has no session")


def _tools(case: Case) -> Iterator[Finding]:
    """The programs of others, where the policy names them."""
    named = {case.policy.workspace.tool: "runs.wsm", case.policy.docs.tool: "runs.docmgr"}
    for tool, name in named.items():
        if tool != "builtin":
            found = shutil.which(tool)
            hint = NEEDED.format(program.PACKAGES[tool])
            yield ok(name, found) if found else warn(name, f"{tool} is not on PATH", hint)


def _workspaces(root: Path, folder: Path) -> Finding:
    """Whether workspaces can be made in their folder, or it in the one above."""
    # os.path answers no for what lies behind a closed door, where pathlib raises.
    there = next(path for path in (root, *root.parents) if os.path.exists(path))
    made = "" if there == root else ", made at the first run"
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        return warn("runs.workspaces", f"{root} cannot be written by this user", "mend its mode, or workspace.root")
    free, kind = shutil.disk_usage(there).free, _kind(there)
    shown = f"{root}{made}; {size(free)} free on {kind}"
    if free < TOO_LITTLE:
        return warn("runs.workspaces", shown, "free some space, or name another folder in workspace.root")
    if kind in NETWORK:
        return warn("runs.workspaces", shown, "git is slow there: name a local folder in workspace.root")
    if os.path.exists(folder) and there.stat().st_dev != folder.stat().st_dev and kind in ("tmpfs", "ramfs"):
        return warn("runs.workspaces", shown, "what is not committed goes with the machine: name another folder")
    return ok("runs.workspaces", shown)


def _kind(folder: Path) -> str:
    try:
        return file_system_of(folder, MOUNTS.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return "a file system that is not told"


def _repositories(case: Case) -> Finding:
    named = case.policy.workspace.repo_roots
    roots = [placed(root, case.folder) for root in named]
    away = [str(root) for root in roots if not os.path.isdir(root)]
    if away:
        hint = "correct workspace.repo_roots; relative ones begin at the database's folder"
        return warn("runs.repositories", f"no such folder: {', '.join(away)}", hint)
    found = sorted({place for root in roots for place in _checkouts(root)})
    shown = f"{len(found)} found in {', '.join(map(str, roots)) or 'no folder'}"
    if not found and named != Workspace().repo_roots:
        return warn("runs.repositories", shown, "name folders that are repositories, or have them directly inside")
    return ok("runs.repositories", f"{shown}: {', '.join(place.name for place in found[:8])}" if found else shown)


def _checkouts(root: Path) -> Iterator[Path]:
    """The main checkouts at a root and directly below it: those whose `.git` is a folder."""
    try:
        inside = [root, *(path for path in root.iterdir() if not path.name.startswith("."))]
        return iter([path.resolve() for path in inside if (path / ".git" / "HEAD").is_file()])
    except OSError:
        return iter(())


def _agents(case: Case) -> Iterator[Finding]:
    """Whether the program of each agent is there."""
    profiles = {profile.name: profile for profile in case.policy.agent_profiles}
    used = dict.fromkeys(agent.profile for agent in case.policy.agents)
    wanted = {name: word for name in used if (word := _program_of(profiles[name]))}
    missing = [f"{name} runs {word}" for name, word in wanted.items() if not _is_known(word)]
    if missing:
        shown = f"not on PATH: {', '.join(missing)}"
        yield warn("runs.agents", shown, "install it, or correct agent_profiles; the daemon's PATH is what counts")
    elif wanted:
        yield ok("runs.agents", ", ".join(f"{name} runs {word}" for name, word in wanted.items()))


def _skills(case: Case) -> Iterator[Finding]:
    """Whether the skills of the agents are anywhere; a run's own branch may have one that is not seen here."""
    used = {agent.profile for agent in case.policy.agents}
    codex = [profile for profile in case.policy.agent_profiles if profile.name in used and profile.runner == "codex"]
    wanted = dict.fromkeys(name for profile in codex for name in profile.skills)
    if not wanted:
        return
    roots = [placed(root, case.folder) for root in case.policy.workspace.repo_roots]
    checkouts = sorted({place / ".metawsm" / "skills" for root in roots for place in _checkouts(root)})
    places = [case.folder / "skills", Path("~/.codex/skills").expanduser(), *checkouts]
    missing = [name for name in wanted if not any(os.path.isfile(place / name / "SKILL.md") for place in places)]
    if missing:
        hint = f"put NAME/SKILL.md into {places[0]} or {places[1]}, or correct skills in agent_profiles"
        yield warn("runs.skills", f"found nowhere: {', '.join(missing)}", hint)
    else:
        yield ok("runs.skills", ", ".join(wanted))


def _program_of(profile: AgentProfile) -> str:
    """The program that a profile begins with; empty where its command line begins with something else than a name."""
    if profile.runner == "codex":
        return "codex"
    words = profile.runner_options.command.split()
    word = next(iter(words[1:] if words[:1] == ["exec"] else words), "")
    return word if PLAIN_NAME.fullmatch(word) else ""


def _is_known(word: str) -> bool:
    """Whether a shell would find it: on PATH, or as a word of its own."""
    return program.run(["/bin/sh", "-c", 'command -v "$1"', "sh", word]).code == 0
