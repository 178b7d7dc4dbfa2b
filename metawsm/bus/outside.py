"""The outside as jobs see it: git, tmux, workspaces, ticket documents. The adapters are in `metawsm/effects/`.

Folders and files are absolute `Path`s, times are seconds since the epoch unless a date is asked for. Every method may
be called again after a crash: what is there already in the wanted form is kept, so a repeat is harmless. Every method
may wait (it runs programs and touches files); none may be called inside a transaction.

Errors are those below `OutsideError`: `ProgramMissing`, `ProgramFailed` and `TimedOut` may pass by themselves;
`Obstructed` stays until somebody changes what it names. Their messages carry the tool's own words, made safe to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from attrs import field, frozen


@frozen
class Start:
    """What a new branch begins from: anything git takes for a commit, and what should be told about the choice."""

    commit: str
    note: str = ""


@frozen
class Worktree:
    """One checkout of a repository. `branch` is empty where no branch is checked out; `main` is the first checkout."""

    path: Path
    branch: str
    head: str
    main: bool = False


@frozen
class Checkout:
    """A worktree in which agents work, and the main checkout of the repository that it has to be one of.

    What is in it is not believed about itself: where it is no worktree of `main`, git does nothing there: Obstructed.
    """

    path: Path
    main: Path


@frozen
class Changes:
    """What differs from HEAD in a checkout: the first paths (relative, untracked ones included), and how many more."""

    files: tuple[str, ...] = ()
    more: int = 0


@frozen
class Merged:
    """The branch is in its base: `commit` is the base's newest commit, `changed` whether this call moved it."""

    commit: str
    changed: bool


class Git(Protocol):
    """Repositories. A `repo` is the main checkout. Nothing is ever pushed."""

    def version(self) -> str:
        """The version of git, such as `2.39.5`."""
        ...

    def find(self, names: Sequence[str], roots: Sequence[Path]) -> dict[str, Path]:
        """The main checkout of each repository, by its folder's name, at or below the roots.

        Linked worktrees do not count. Obstructed names all that are missing, or the places of one found twice.
        """
        ...

    def base(self, repo: Path, branch: str) -> Start:
        """What work on `branch` starts from: its newest state at `origin`, else the local branch.

        A fetch that fails, or takes longer than a few seconds, is told as a note. Obstructed when neither exists.
        """
        ...

    def branch_exists(self, repo: Path, branch: str) -> bool:
        """Whether there is a local branch of this name."""
        ...

    def add_worktree(self, repo: Path, path: Path, branch: str, start: str) -> None:
        """Check `branch` out at `path`; a new branch begins at `start`, one that exists is used as it is.

        A branch that exists only at `origin` is tracked. Obstructed when path or branch is taken by something else.
        """
        ...

    def remove_worktree(self, repo: Path, path: Path, *, force: bool = False) -> None:
        """Remove a linked worktree; the branch stays. A missing one is fine.

        Obstructed where `refuse_losses` is, unless `force`; never a main checkout.
        """
        ...

    def drop_branch(self, repo: Path, branch: str, base: str) -> bool:
        """Delete a local branch that is not checked out and has nothing beyond `base`; whether it is gone."""
        ...

    def worktrees(self, repo: Path) -> tuple[Worktree, ...]:
        """All checkouts of the repository that exist, the main one first."""
        ...

    def current_branch(self, path: Checkout) -> str:
        """The branch checked out at `path`; empty when there is none."""
        ...

    def newest_commit(self, path: Checkout) -> str:
        """HEAD's commit at `path`; empty before the first."""
        ...

    def unpublished(self, path: Checkout) -> Mapping[str, Sequence[str]]:
        """By the path of each submodule at `path` the first of its commits that are on no remote, each in a line."""
        ...

    def refuse_losses(self, path: Checkout) -> None:
        """Raise Obstructed where removing the worktree would lose something: changes, or commits that are on nothing.

        Those of a submodule are lost that are on no remote of it.
        """
        ...

    def status(self, path: Checkout) -> Changes:
        """What is not committed at `path`, ignored files left out."""
        ...

    def look(self, path: Checkout) -> tuple[Changes, float]:
        """What is not committed, each new file named; and when work last moved.

        That is the newest of HEAD's commit time and the changed files' times.
        """
        ...

    def ahead(self, repo: Path, branch: str, base: str) -> int:
        """How many commits of `branch` are in no `base`, neither the local one nor that of `origin`."""
        ...

    def merge(self, repo: Path, branch: str, base: str, message: str) -> Merged:
        """Merge `branch` into the local branch `base`, where that is checked out, else in a passing worktree.

        Obstructed when the checkout of `base` has uncommitted changes. MergeConflict, with nothing left half merged,
        when both sides changed the same.
        """
        ...

    def check_merge(self, repo: Path, branch: str, base: str, *, grows: bool = False) -> None:
        """Raise Obstructed or MergeConflict where `merge` would; no branch and no file changes.

        `grows`: the branch gets another commit first. Git before 2.38 finds no conflicts.
        """
        ...

    def commit_all(self, path: Checkout, message: str, only: Sequence[str] = (), needed: Sequence[Path] = ()) -> str:
        """Commit what is uncommitted at `path` (below the relative paths `only`); the new commit, "" without changes.

        Obstructed when git is told to ignore one of the files `needed`: it would be nowhere but in the checkout.
        The user's identity and hooks are used; without an identity, metawsm's.
        """
        ...


@frozen
class Workspace:
    """The checkouts of one run side by side: `<path>/<repository>/` each, all on one branch.

    `notes` are things a person should hear about how it was made.
    """

    name: str
    path: Path
    branch: str
    checkouts: Mapping[str, Path] = field(factory=dict)
    notes: tuple[str, ...] = ()


class Workspaces(Protocol):
    """Workspaces by name. A partly made one is found with the checkouts it has, and can be completed or deleted."""

    def create(self, name: str, repositories: Sequence[str], branch: str, base: str) -> Workspace:
        """Make a worktree per repository on `branch`, new ones from `base`. Obstructed when something is in the way."""
        ...

    def fork(self, name: str, source: str, branch: str) -> Workspace:
        """Make a workspace over the repositories of `source`, its branches beginning at that one's newest commits."""
        ...

    def find(self, name: str) -> Workspace | None:
        """The workspace as it is now, or None."""
        ...

    def delete(
        self, name: str, *, force: bool = False, mains: Mapping[str, Path] | None = None, branch: str = ""
    ) -> None:
        """Remove the worktrees and the folder; branches stay, a missing workspace is fine.

        `mains` (main checkouts by repository) and `branch` are what it was to be made of: a program that was cut off
        may have left worktrees that it does not know of itself. Those go by the same rules.

        Obstructed, before anything is removed, when something would be lost and not `force`. A folder in which
        somebody else's files are left stays.
        """
        ...


@frozen
class Pane:
    """The agent's terminal: what runs in front, and when it last printed something (`activity`).

    `owner` is what the session was marked with when it began; empty where somebody else began it.
    """

    session: str
    dead: bool
    pid: int
    command: str
    activity: float
    width: int
    height: int
    owner: str = ""


class Tmux(Protocol):
    """Detached sessions of one window and pane each, on one tmux server. Session names: `[A-Za-z0-9_-]+`."""

    def version(self) -> str:
        """The version of tmux, such as `3.3a`."""
        ...

    def start(
        self,
        session: str,
        folder: Path,
        env: Mapping[str, str],
        argv: Sequence[str],
        owner: str = "",
    ) -> None:
        """Run `argv` in a new session, which is marked as `owner`'s (letters, digits, `.`, `_`, `-` and `~`).

        Obstructed when the name is taken: ask `owner` first.
        """
        ...

    def owner(self, session: str) -> str | None:
        """Whose the session is, as it was marked; empty where it was not, None where there is no such session."""
        ...

    def has(self, session: str) -> bool:
        """Whether the session exists."""
        ...

    def kill(self, session: str) -> None:
        """End the session and the program in it; a missing one is fine."""
        ...

    def panes(self) -> dict[str, Pane]:
        """The pane of every session, by session, in one call of tmux; empty when no server runs.

        OutsideError when nothing can be known: the server is there, and does not answer.
        """
        ...

    def type_line(self, session: str, line: str) -> bool:
        """Type a constant line, look whether it stands on the screen, press Enter; whether it was seen.

        What was not seen is not entered. Nothing is typed while somebody scrolls back in the pane or types there.
        What stands in its line of input is erased before: it would be run with ours. `line` is ours, never anybody's
        text.
        """
        ...

    def paste(self, session: str, text: str) -> bool:
        """Hand over text as one (bracketed) paste, then Enter; False, and nothing done, where no line would be typed.

        Control characters but newline and tab are left out.
        """
        ...

    def capture(self, session: str, lines: int) -> str:
        """The last `lines` lines of the screen and its history as plain text, for people to look at."""
        ...


@frozen
class Exit:
    """How an agent's program ended. `started` without `ended`: it runs, or was cut off; code None: not known, not 0."""

    code: int | None = None
    started: float | None = None
    ended: float | None = None


class Launcher(Protocol):
    """What runs inside a pane: the agent's program, then a shell in which people can look around.

    Each start of an agent has a folder of its own for its prompt and its status file.
    """

    def prepare(self, folder: Path, command: Sequence[str], prompt: str = "", token: str = "") -> tuple[str, ...]:
        """Make `folder`, forget an earlier end, and return what `Tmux.start` should run.

        `command` is the agent's program with arguments; `prompt`, if any, becomes its last argument. A command line of
        the policy's is `shell_command(text)`. `token` becomes its METAWSM_TOKEN, and stands in no list of processes.
        """
        ...

    def exit(self, folder: Path) -> Exit:
        """How the program that was prepared in `folder` ended, as far as is known."""
        ...

    def forget(self, folder: Path) -> None:
        """Remove a folder with everything in it; a missing one is fine."""
        ...

    def search_path(self) -> str:
        """The value of PATH in a pane: `metawsm` is found first."""
        ...

    def takes_text(self, front: str, command: str) -> bool:
        """Whether the program in front of a pane, as tmux names it, is the one a command line names, and no shell."""
        ...


def shell_command(text: str) -> tuple[str, ...]:
    """The command for a line of the policy file that is meant for a shell. Never for text from a thread or ticket."""
    return ("sh", "-c", text)


@frozen
class Seeded:
    """A ticket's documents as copied into a workspace: where they are, and the revision of this copy."""

    folder: Path
    revision: str


class Docs(Protocol):
    """The documents of tickets below one `root` (a folder named `ttmp`). A ticket's folder is `.../TICKET--slug`.

    Obstructed where a ticket that is needed has no folder, or two.
    """

    def find(self, root: Path, ticket: str) -> Path | None:
        """The ticket's folder, upper and lower case being the same."""
        ...

    def ensure(self, root: Path, ticket: str, title: str, topics: Sequence[str], today: date) -> Path:
        """The ticket's folder, made with its index, tasks and changelog if it is not there."""
        ...

    def add_document(self, root: Path, ticket: str, doc_type: str, title: str, body: str) -> Path:
        """Write a document into the ticket's folder; one of the same type and title gets the new body."""
        ...

    def append_changelog(self, root: Path, ticket: str, title: str, text: str, today: date) -> None:
        """Add an entry at the end of the ticket's changelog; the same entry is not added twice."""
        ...

    def append_feedback(self, root: Path, ticket: str, at: datetime, text: str) -> Path:
        """Add what an operator wants changed to the ticket's feedback page; one entry for each moment `at`."""
        ...

    def close(self, root: Path, ticket: str, entry: str, today: date) -> None:
        """Set the ticket to `complete` and say so in its changelog, each `entry` once."""
        ...

    def seed(self, source: Path, destination: Path, ticket: str) -> Seeded:
        """Copy the ticket's folder from one root to the same place below another, replacing what is there.

        Links and modes are kept. Obstructed when it holds something else than files, folders and links.
        """
        ...
