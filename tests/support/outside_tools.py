"""Programs named `docmgr` and `wsm` for the tests of their adapters, which cannot be installed where the tests run.

They stand in for tools of others, not for anything of ours: they do with files and git what those are documented to do,
say what they say, and note down how they were called. `python -m tests.support.outside_tools NAME ARGS` is one call.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.support.repositories import git
from tests.support.sources import ROOT

STATE = "OUTSIDE_TOOLS_STATE"


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> Path:
    """Put the program on PATH; returns the folder in which it keeps and notes things."""
    programs, state = folder / "programs", folder / f"state-{name}"
    for each in (programs, state):
        each.mkdir(exist_ok=True)
    (programs / name).write_text(f"#!/bin/sh\n{call_of(name)}\n")
    (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv(STATE, str(state))
    return state


def call_of(name: str) -> str:
    """The line of a shell script that is the program of that name."""
    return f'exec env PYTHONPATH="{ROOT}" "{sys.executable}" -m tests.support.outside_tools {name} "$@"'


def calls(state: Path) -> list[list[str]]:
    """How it was called so far, oldest first."""
    return [json.loads(line) for line in (state / "calls").read_text().splitlines()]


def will(state: Path, **behaviour: str) -> None:
    """What the next calls do instead: `fail` with these words, or `say` this and do nothing.

    With `after`, wsm does so in the middle of making a workspace: when the first repository has its "branch", or its
    "worktree" too; without `fail` it is killed there.
    """
    (state / "behaviour").write_text(json.dumps(behaviour))


def _behaviour(state: Path) -> dict[str, str]:
    file = state / "behaviour"
    return dict(json.loads(file.read_text())) if file.exists() else {}


def main(name: str, args: list[str]) -> int:
    """One call of the program."""
    state = Path(os.environ[STATE])
    with (state / "calls").open("a") as log:
        log.write(json.dumps(args) + "\n")
    behaviour = _behaviour(state)
    if "fail" in behaviour and "after" not in behaviour:
        print(behaviour["fail"], file=sys.stderr)
        return 1
    if "say" in behaviour:
        print(behaviour["say"])
        return 0
    words = [arg for arg in args if not arg.startswith("-")]
    flags = {key: value for key, _, value in (arg[2:].partition("=") for arg in args if arg.startswith("--"))}
    verb: Callable[..., int] = TOOLS[name, " ".join(words[:2] if name == "docmgr" else words[:1])]
    return verb(state, args, flags)


def _row(**values: Any) -> int:
    print(json.dumps([values]))
    return 0


def _docmgr_list(state: Path, args: list[str], flags: dict[str, str]) -> int:
    root = Path(flags["root"])
    found = [path.parent for path in root.rglob("index.md") if path.parent.name.startswith(f"{flags['ticket']}--")]
    rows = [{"ticket": flags["ticket"], "path": str(path.relative_to(root))} for path in found]
    print(json.dumps(rows) if rows else "No tickets found.")
    return 0


def _docmgr_create(state: Path, args: list[str], flags: dict[str, str]) -> int:
    folder = Path(flags["root"]) / date.today().strftime("%Y/%m/%d") / f"{flags['ticket']}--slug"  # noqa: DTZ011
    (folder / "reference").mkdir(parents=True)
    head = f"---\nTitle: {json.dumps(flags['title'])}\nTicket: {flags['ticket']}\nStatus: active\n---\n"
    (folder / "index.md").write_text(f"{head}\n# x\n")
    (folder / "changelog.md").write_text("# Changelog\n")
    return _row(ticket=flags["ticket"], path=str(folder), title=flags["title"], status="created")


def _ticket(flags: dict[str, str]) -> Path:
    (index,) = Path(flags["root"]).rglob(f"{flags['ticket']}--*/index.md")
    return index.parent


def _docmgr_add(state: Path, args: list[str], flags: dict[str, str]) -> int:
    file = _ticket(flags) / flags["doc-type"] / f"01-{flags['title'].lower().replace(' ', '-')}.md"
    file.write_text(f"---\nTitle: {json.dumps(flags['title'])}\nDocType: {flags['doc-type']}\n---\n\nDescribe it.\n")
    path = str(file.relative_to(flags["root"]))
    return _row(ticket=flags["ticket"], doc_type=flags["doc-type"], title=flags["title"], path=path, status="created")


def _docmgr_changelog(state: Path, args: list[str], flags: dict[str, str]) -> int:
    file, title = _ticket(flags) / "changelog.md", f" - {flags['title']}" if "title" in flags else ""
    with file.open("a") as log:
        log.write(f"\n## {date.today().isoformat()}{title}\n\n{flags['entry']}\n")  # noqa: DTZ011
    return _row(file=str(file), status="updated")


def _docmgr_close(state: Path, args: list[str], flags: dict[str, str]) -> int:
    index = _ticket(flags) / "index.md"
    index.write_text(index.read_text().replace("Status: active", "Status: complete"))
    return _docmgr_changelog(state, args, flags | {"entry": flags["changelog-entry"]})


def _after(args: list[str], flag: str) -> str:
    return args[args.index(flag) + 1]


def _cut_off(state: Path) -> int:
    behaviour = _behaviour(state)
    if "fail" not in behaviour:
        os.kill(os.getpid(), signal.SIGKILL)
    print(behaviour["fail"], file=sys.stderr)
    return 1


def _wsm_make(state: Path, name: str, branch: str, base: str, mains: dict[str, str]) -> int:
    path = state / "made" / name
    for repository, main_checkout in mains.items():
        git(Path(main_checkout), "branch", branch, base)
        if _behaviour(state).get("after") == "branch":
            return _cut_off(state)
        git(Path(main_checkout), "worktree", "add", str(path / repository), branch)
        if _behaviour(state).get("after") == "worktree":
            return _cut_off(state)
    repositories = [{"name": repository, "path": place} for repository, place in mains.items()]
    told = {"name": name, "path": str(path), "branch": branch, "base_branch": base, "repositories": repositories}
    (state / "workspaces").mkdir(exist_ok=True)
    (state / "workspaces" / f"{name}.json").write_text(json.dumps(told))
    print("\033[32m\u2713 done\033[0m")
    return 0


def _wsm_create(state: Path, args: list[str], flags: dict[str, str]) -> int:
    known = {repo["name"]: repo["path"] for repo in json.loads((state / "registry.json").read_text())["repositories"]}
    mains = {name: known[name] for name in _after(args, "--repos").split(",")}
    return _wsm_make(state, args[1], _after(args, "--branch"), _after(args, "--base-branch"), mains)


def _wsm_fork(state: Path, args: list[str], flags: dict[str, str]) -> int:
    source = json.loads((state / "workspaces" / f"{args[2]}.json").read_text())
    mains = {repo["name"]: repo["path"] for repo in source["repositories"]}
    return _wsm_make(state, args[1], _after(args, "--branch"), source["branch"], mains)


def _wsm_delete(state: Path, args: list[str], flags: dict[str, str]) -> int:
    file = state / "workspaces" / f"{args[1]}.json"
    told = json.loads(file.read_text())
    for repo in told["repositories"]:
        checkout = Path(told["path"], repo["name"])
        if "??" in git(checkout, "status", "--porcelain"):
            if "force-worktrees" not in flags:
                print("\u2717 Error: untracked files present", file=sys.stderr)
                return 1
            if sys.stdin.readline().strip() != "y":
                print("Operation cancelled.")
                return 0
        git(Path(repo["path"]), "worktree", "remove", "--force", str(checkout))
    file.unlink()
    if "remove-files" in flags:
        shutil.rmtree(told["path"], ignore_errors=True)
    return 0


TOOLS: dict[tuple[str, str], Callable[..., int]] = {
    ("docmgr", "ticket list"): _docmgr_list,
    ("docmgr", "ticket create"): _docmgr_create,
    ("docmgr", "ticket close"): _docmgr_close,
    ("docmgr", "doc add"): _docmgr_add,
    ("docmgr", "changelog update"): _docmgr_changelog,
    ("wsm", "create"): _wsm_create,
    ("wsm", "fork"): _wsm_fork,
    ("wsm", "delete"): _wsm_delete,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
