"""Git as jobs use it: the port `metawsm.bus.outside.Git` over the git program."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from metawsm.bus.outside import Changes, Checkout, Merged, Start, Worktree
from metawsm.domain.errors import Obstructed, OutsideError, ProgramMissing
from metawsm.domain.plain_text import clean
from metawsm.effects import git_call, git_merge, git_status, git_submodules, git_worktrees, program
from metawsm.effects.git_call import Where

OLDEST = (2, 31)
"""The first version with `rev-parse --path-format` and with locked and lost worktrees in `worktree list`."""

FETCH_SECONDS = 15.0
MOST_REMEMBERED = 10_000
MOST_NAMED = 12


class GitProgram:
    """The git program. Repositories are looked for at most `depth` (1 or 2) folders below a root."""

    def __init__(self, depth: int = 1, fetch_seconds: float = FETCH_SECONDS) -> None:
        self._depth = depth
        self._fetch_seconds = fetch_seconds
        self._commit_times: dict[str, float] = {}

    def version(self) -> str:
        """See the port. Raises ProgramMissing when it is too old."""
        version = program.check(["git", "version"]).out.split()[2]
        number = re.match(r"(\d+)\.(\d+)", version)
        if number and (int(number[1]), int(number[2])) < OLDEST:
            raise ProgramMissing(f"git {version} is too old: install git 2.31 or newer.")
        return version

    def find(self, names: Sequence[str], roots: Sequence[Path]) -> dict[str, Path]:
        """See the port."""
        found = {name: sorted({place for root in roots for place in self._places(name, root)}) for name in names}
        missing = [name for name, places in found.items() if not places]
        if missing:
            looked = ", ".join(f"{root}{'' if root.is_dir() else ' (no such folder)'}" for root in roots)
            there = f"; there are: {', '.join(names)}" if (names := self._names(roots)) else ""
            raise Obstructed(f"repositories not found: {', '.join(missing)}. Looked in {looked or 'no folder'}{there}.")
        for name, places in found.items():
            if len(places) > 1:
                raise Obstructed(f'repository "{name}" is there more than once: {", ".join(map(str, places))}.')
        return {name: places[0] for name, places in found.items()}

    def base(self, repo: Path, branch: str) -> Start:
        """See the port."""
        branch = branch.removeprefix("origin/")
        note = self._fetch(repo, branch)
        upstream = git_call.commit_at(repo, git_call.upstream(branch))
        local = git_call.commit_at(repo, git_call.local(branch))
        if upstream and local:
            count = int(git_call.tell(repo, "rev-list", "--count", f"{upstream}..{local}"))
            own = f'{repo}: the local "{branch}" has {count} commit(s) that origin has not; work starts without them'
            note = "; ".join(part for part in (note, own if count else "") if part)
        if not upstream and not local:
            mend = "make it there and resume, or begin another run with --base-branch"
            raise Obstructed(f'base branch "{branch}" not found for repo {repo}{_branches(repo)}: {mend}')
        return Start(upstream or local, note)

    def branch_exists(self, repo: Path, branch: str) -> bool:
        """See the port."""
        return bool(git_call.commit_at(repo, git_call.local(branch)))

    def add_worktree(self, repo: Path, path: Path, branch: str, start: str) -> None:
        """See the port."""
        git_worktrees.add(repo, path, branch, start)

    def remove_worktree(self, repo: Path, path: Path, *, force: bool = False) -> None:
        """See the port."""
        git_worktrees.remove(repo, path, force=force)

    def drop_branch(self, repo: Path, branch: str, base: str) -> bool:
        """See the port."""
        if not self.branch_exists(repo, branch):
            return True
        if git_worktrees.has_branch(repo, branch) or self.ahead(repo, branch, base):
            return False
        git_call.tell(repo, "branch", "--delete", "--force", "--quiet", "--", branch)
        return True

    def worktrees(self, repo: Path) -> tuple[Worktree, ...]:
        """See the port."""
        return git_worktrees.listed(repo)

    def current_branch(self, path: Where) -> str:
        """See the port."""
        return git_call.ask(path, "symbolic-ref", "--quiet", "--short", "HEAD").out.strip()

    def newest_commit(self, path: Where) -> str:
        """See the port."""
        return git_call.commit_at(path, "HEAD")

    def unpublished(self, path: Checkout) -> Mapping[str, Sequence[str]]:
        """See the port."""
        return git_submodules.unpublished(path)

    def status(self, path: Where) -> Changes:
        """See the port."""
        return git_submodules.status(path).changes()

    def look(self, path: Where) -> tuple[Changes, float]:
        """See the port."""
        now = git_submodules.status(path, untracked="all")
        return now.changes(), max(now.newest(git_call.folder(path)), self._commit_time(path, now.head))

    def refuse_losses(self, path: Checkout) -> None:
        """See the port."""
        git_worktrees.refuse_losses(path)

    def ahead(self, repo: Path, branch: str, base: str) -> int:
        """See the port."""
        tip, remote = git_call.needed_commit(repo, branch), git_call.commit_at(repo, git_call.upstream(base))
        local = git_call.commit_of(repo, base) if remote else git_call.needed_commit(repo, base)
        return int(git_call.tell(repo, "rev-list", "--count", tip, "--not", *filter(None, (local, remote))))

    def merge(self, repo: Path, branch: str, base: str, message: str) -> Merged:
        """See the port."""
        return git_merge.merge(repo, branch, base, message)

    def check_merge(self, repo: Path, branch: str, base: str, *, grows: bool = False) -> None:
        """See the port."""
        git_merge.check(repo, branch, base, grows=grows)

    def commit_all(self, path: Where, message: str, only: Sequence[str] = (), needed: Sequence[Path] = ()) -> str:
        """See the port."""
        for file in needed:
            _refuse_ignored(path, file)
        changed = git_status.status(path, "all", only).files
        if not changed:
            return ""
        if isinstance(path, Checkout):
            git_submodules.refuse_inside(path, only, changed)
        within = ("--", *only) if only else ()
        git_call.tell(path, "add", "--all", *within)
        commit = ("commit", "--quiet", "-m", message, *within)
        git_call.tell(path, *git_call.identity(path), *commit, timeout=git_call.SLOW_SECONDS)  # hooks may run tests
        return git_call.tell(path, "rev-parse", "HEAD").strip()

    def _places(self, name: str, root: Path) -> Iterator[Path]:
        """The main checkouts named `name` at or below a root: those whose `.git` is a folder, not a pointer to one."""
        return (path.resolve() for path in self._mains(root, name) if path.name == name)

    def _names(self, roots: Sequence[Path]) -> list[str]:
        """What the main checkouts at or below the roots are called: some of them, for somebody who mistyped one."""
        return sorted({clean(path.name) for root in roots for path in self._mains(root, "[!.]*")})[:MOST_NAMED]

    def _mains(self, root: Path, pattern: str) -> Iterator[Path]:
        """The root itself and what fits the pattern below it, where that is a main checkout."""
        patterns = [pattern, f"[!.]*/{pattern}"][: self._depth]
        candidates = [root, *(path for each in patterns for path in root.glob(each))]
        return (path for path in candidates if (path / ".git" / "HEAD").is_file())

    def _fetch(self, repo: Path, branch: str) -> str:
        """Bring `origin/<branch>` up to date; what went wrong, if anything, as a note."""
        if git_call.ask(repo, "remote", "get-url", "origin").code:
            return ""
        refs = f"+{git_call.local(branch)}:{git_call.upstream(branch)}"
        try:
            git_call.tell(repo, "fetch", "--quiet", "--no-tags", "origin", refs, timeout=self._fetch_seconds)
        except OutsideError as error:
            return f'{repo}: origin was not asked for "{branch}": {error.message}'
        return ""

    def _commit_time(self, path: Where, commit: str) -> float:
        """When a commit was made; asked once for each."""
        if not commit:
            return 0.0
        if commit not in self._commit_times:
            if len(self._commit_times) >= MOST_REMEMBERED:
                self._commit_times.clear()
            told = git_call.tell(path, "log", "-1", "--format=%ct", commit).strip()
            self._commit_times[commit] = float(told or 0)  # whoever writes a commit by hand can leave it out
        return self._commit_times[commit]


def _refuse_ignored(path: Where, file: Path) -> None:
    """Raise Obstructed, with the rule, where git would leave out a file that it does not have yet."""
    ran = git_call.ask(path, "check-ignore", "--quiet", "--", str(file))
    if ran.code > 1:
        raise program.failure(["git", "check-ignore"], ran)
    if ran.code == 0:
        rule = clean(git_call.tell(path, "check-ignore", "--verbose", "--", str(file)).partition("\t")[0])
        raise Obstructed(f"git ignores {file} by {rule}: it would be lost with the workspace. Take the rule out.")


def _branches(repo: Path) -> str:
    """The newest local branches of a repository, for somebody who looks for one that is not there."""
    newest = (
        "for-each-ref",
        "--sort=-committerdate",
        "--format=%(refname:short)",
        f"--count={MOST_NAMED}",
        "refs/heads",
    )
    names = git_call.tell(repo, *newest).split()
    return f" (it has {', '.join(map(clean, names))})" if names else ""
