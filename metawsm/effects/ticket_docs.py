"""Ticket documents written by metawsm itself: the port `metawsm.bus.outside.Docs` over plain files.

A workspace belongs to agents. So no link in it is followed, neither for reading nor for writing, and files are replaced
as a whole: nobody sees half of one.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from itertools import count, islice
from pathlib import Path

from metawsm.bus.outside import Seeded
from metawsm.domain.errors import Obstructed, OutsideError
from metawsm.domain.names import name_fault
from metawsm.domain.plain_text import clean
from metawsm.effects import folder_tree, git_call, program, regular_file
from metawsm.effects import ticket_pages as pages

FOLDERS = ("design", "reference", "playbooks", "scripts", "sources", ".meta", "various", "archive")
INDEX, CHANGELOG = "index.md", "changelog.md"
FEEDBACK = ("reference", "99-operator-feedback.md")
MOST_ENTRIES = 20_000
"""Files and folders below the root that are looked through for a ticket."""

DEEPEST = 5
"""Folders below the root in which tickets are looked for; year, month and day are three."""

_DOC_TYPE = re.compile(r"[a-z0-9][a-z0-9-]*")
_NUMBERED = re.compile(r"(\d{2,3})-(.+)\.md")


class TicketDocs:
    """The built-in documents: the same folders and pages as docmgr's."""

    def find(self, root: Path, ticket: str) -> Path | None:
        """See the port."""
        refuse_link(root)
        found = sorted(_tickets(root, _checked(ticket).lower()))
        if len(found) > 1:
            raise Obstructed(f"ticket {ticket} has more than one folder: {', '.join(map(str, found))}.")
        return found[0] if found else None

    def ensure(self, root: Path, ticket: str, title: str, topics: Sequence[str], today: date) -> Path:
        """See the port."""
        found = self.find(root, ticket)
        return found if found is not None else self._create(root, ticket, title, topics, today)

    def add_document(self, root: Path, ticket: str, doc_type: str, title: str, body: str) -> Path:
        """See the port."""
        if not _DOC_TYPE.fullmatch(doc_type):
            raise Obstructed(f"{clean(doc_type)!r} is no type of document: lower-case letters, digits and '-' are.")
        folder = self._needed(root, ticket)
        known = _numbered(folder / doc_type, pages.slug(title))
        file = known or self._new_document(root, ticket, folder, doc_type, title)
        _write(folder, file, pages.with_body(_read(folder, file), clean(body), str(file)))
        return file

    def append_changelog(self, root: Path, ticket: str, title: str, text: str, today: date) -> None:
        """See the port."""
        folder = self._needed(root, ticket)
        entry = pages.changelog_entry(title, text, today)
        if entry not in _read(folder, folder / CHANGELOG):
            self._add_entry(root, ticket, folder, title, text, today)

    def append_feedback(self, root: Path, ticket: str, at: datetime, text: str) -> Path:
        """See the port."""
        folder = self._needed(root, ticket)
        file = folder.joinpath(*FEEDBACK)
        inherited = pages.front_matter(_read(folder, folder / INDEX), str(folder / INDEX))[0]
        empty = pages.document(ticket, "reference", "Operator Feedback", pages.FEEDBACK, inherited)
        page, heading = _read(folder, file) or empty, pages.feedback_heading(at)
        if heading not in page:
            _write(folder, file, f"{page.rstrip()}\n\n{heading}\n{pages.tame(text)}\n")
        return file

    def close(self, root: Path, ticket: str, entry: str, today: date) -> None:
        """See the port."""
        folder = self._needed(root, ticket)
        if pages.status_of(_read(folder, folder / INDEX), str(folder / INDEX)) != "complete":
            self._complete(root, ticket, folder, entry, today)
        elif f"\n\n{pages.tame(entry)}\n" not in _read(folder, folder / CHANGELOG):
            self._add_entry(root, ticket, folder, "", entry, today)

    def seed(self, source: Path, destination: Path, ticket: str) -> Seeded:
        """See the port."""
        folder = self._needed(source, ticket)
        target = destination / folder.relative_to(source)
        present = self.find(destination, ticket)
        if present not in {None, target}:
            raise Obstructed(f"ticket {ticket} is at {present} already: it would be there twice, with {target}.")
        _refuse_links(destination, target.parent)
        _replace(folder, target)
        return Seeded(target, str(time.time_ns()))

    def _needed(self, root: Path, ticket: str) -> Path:
        found = self.find(root, ticket)
        if found is None:
            raise Obstructed(f"ticket {ticket} has no documents below {root}.")
        return found

    def _create(self, root: Path, ticket: str, title: str, topics: Sequence[str], today: date) -> Path:
        """Make the whole folder aside, then give it its name; what somebody left of an earlier one stays in it."""
        parent = root / today.strftime("%Y/%m/%d")
        folder = parent / f"{ticket}--{pages.slug(title, ticket)}"
        _refuse_links(root, folder)
        draft = _aside(folder, "new")
        folder_tree.remove(draft, quietly=True)
        for name in FOLDERS:
            _make(draft / name)
        inherited = {"Topics": pages.items(topics)}
        heading = " ".join(clean(title).split())
        _write(draft, draft / INDEX, pages.document(ticket, pages.INDEX, title, f"# {heading}", inherited))
        _write(draft, draft / "README.md", f"# {heading}\n")
        _write(draft, draft / "tasks.md", pages.TASKS)
        _write(draft, draft / CHANGELOG, pages.CHANGELOG)
        _settle(draft, folder)
        return folder

    def _new_document(self, root: Path, ticket: str, folder: Path, doc_type: str, title: str) -> Path:
        """An empty document with the next number of its folder."""
        place = folder / doc_type
        _refuse_links(folder, place)
        number = max((int(match[1]) for match in _names(place)), default=0) + 1
        file = place / f"{number:02}-{pages.slug(title)}.md"
        inherited = pages.front_matter(_read(folder, folder / INDEX), str(folder / INDEX))[0]
        _write(folder, file, pages.document(ticket, doc_type, title, "", inherited))
        return file

    def _add_entry(self, root: Path, ticket: str, folder: Path, title: str, text: str, today: date) -> None:
        log = _read(folder, folder / CHANGELOG) or pages.CHANGELOG
        _write(folder, folder / CHANGELOG, f"{log.rstrip()}\n{pages.changelog_entry(title, text, today)}")

    def _complete(self, root: Path, ticket: str, folder: Path, entry: str, today: date) -> None:
        self.append_changelog(root, ticket, "", entry, today)
        index = folder / INDEX
        _write(folder, index, pages.with_status(_read(folder, index), "complete", str(index)))


def _checked(ticket: str) -> str:
    if name_fault(ticket):
        raise Obstructed(f"{clean(ticket)!r} is no name of a ticket: it {name_fault(ticket)}.")
    return ticket


def _tickets(root: Path, ticket: str) -> Iterator[Path]:
    """Folders of this ticket (in lower case) below the root; links, hidden and `_` folders are not entered."""
    places, seen = [(str(root), DEEPEST)], count(1)
    while places:
        folder, depth = places.pop()
        for entry in _entries(folder):
            if (number := next(seen)) % 100 == 0:
                time.sleep(0.001)  # in the serving process others have their turn
            if number > MOST_ENTRIES:
                raise Obstructed(f"{root} has more than {MOST_ENTRIES} files and folders: remove what does not belong.")
            if not entry.is_dir(follow_symlinks=False):
                continue
            name, complete = entry.name.lower(), os.path.exists(os.path.join(entry.path, INDEX))
            if complete and (name == ticket or name.startswith(f"{ticket}--")):
                yield Path(entry.path)
            elif not complete and depth > 1 and name[0] not in "._":
                places.append((entry.path, depth - 1))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        yield from entries


def _names(folder: Path) -> list[re.Match[str]]:
    names = (entry.name for entry in islice(_entries(str(folder)), MOST_ENTRIES))
    return [match for match in map(_NUMBERED.fullmatch, names) if match and match[0] != FEEDBACK[1]]


def _numbered(folder: Path, slug: str) -> Path | None:
    """The document with this slug, whatever its number."""
    return next((folder / match[0] for match in _names(folder) if match[2] == slug), None)


def _refuse_links(root: Path, path: Path) -> None:
    """Raise Obstructed where a step from `root` to `path` is a link: it might lead anywhere."""
    for part in (path, *path.parents):
        if part == root:
            return
        refuse_link(part)


def refuse_link(path: Path) -> None:
    """Raise Obstructed for a link."""
    if path.is_symlink():
        raise Obstructed(f"{path} is a link: ticket documents are not read or written through it.")


def _read(root: Path, file: Path) -> str:
    """A page's text, "" when it is not there."""
    _refuse_links(root, file)
    try:
        return regular_file.read(file)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise OutsideError(f"{file} cannot be read: {error.strerror}.") from error


def _write(root: Path, file: Path, text: str) -> None:
    _refuse_links(root, file)
    draft = _aside(file, "new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        with draft.open("x", encoding="utf-8") as page:
            page.write(text)
        draft.replace(file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise OutsideError(f"{file} cannot be written: {error.strerror}.") from error


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise OutsideError(f"{folder} cannot be made: {error.strerror}.") from error


def _settle(draft: Path, folder: Path) -> None:
    """Give a ticket's folder its name, or move what that lacks into it: the index last, since with it, it counts."""
    try:
        if not folder.exists():
            draft.rename(folder)
            return
        for path in sorted(draft.iterdir(), key=lambda each: each.name == INDEX):
            if not (folder / path.name).exists():
                path.rename(folder / path.name)
        folder_tree.remove(draft)
    except OSError as error:
        raise OutsideError(f"{folder} cannot be made: {error.strerror}.") from error


def _aside(path: Path, what: str) -> Path:
    """A hidden neighbour, which is no ticket and no document."""
    return path.with_name(f".{path.name}.{what}")


def _replace(source: Path, target: Path) -> None:
    """Put a copy in the target's place by renaming; what a crash left aside goes first."""
    _refuse_strange(source)
    new, old = _aside(target, "new"), _aside(target, "old")
    for path in (new, old):
        folder_tree.remove(path, quietly=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        program.check(["cp", "-RPp", str(source), str(new)], timeout=git_call.SLOW_SECONDS)
        if target.exists():
            target.rename(old)
        new.rename(target)
    except OSError as error:
        raise OutsideError(f"{target} cannot be replaced: {error.strerror}.") from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for path in (new, old):
            folder_tree.remove(path, quietly=True)


def _refuse_strange(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            mode = (Path(place) / name).lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise Obstructed(f"{Path(place) / name} is neither a file nor a folder nor a link.")
