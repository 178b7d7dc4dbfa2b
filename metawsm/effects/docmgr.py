"""Ticket documents through the program `docmgr`: the port `metawsm.bus.outside.Docs`.

It is always asked in its form for programs and told its root, so neither its words for people nor the folder it is
called in matter. What it has no verb for (a document's body, feedback, copies) is done on the files, as it keeps them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from metawsm.domain.errors import Obstructed, OutsideError
from metawsm.domain.plain_text import clean, last_words
from metawsm.effects import program
from metawsm.effects import ticket_pages as pages
from metawsm.effects.ticket_docs import TicketDocs

FORM = ("--with-glaze-output", "--output", "json")


class DocmgrDocs(TicketDocs):
    """The documents of docmgr. Raises ProgramMissing when it is not installed, ProgramFailed with its words."""

    def find(self, root: Path, ticket: str) -> Path | None:
        """See the port."""
        wanted = ticket.lower()
        rows = [row for row in _ask(root, "ticket", "list", ticket=ticket) if _text(row, "ticket").lower() == wanted]
        if len(rows) > 1:
            places = ", ".join(_text(row, "path") for row in rows)
            raise Obstructed(f"ticket {ticket} has more than one folder below {root}: {places}.")
        return _below(root, _text(rows[0], "path")) if rows else None

    def _create(self, root: Path, ticket: str, title: str, topics: Sequence[str], today: date) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        told = {"title": _line(title)} | ({"topics": ",".join(topics)} if topics else {})
        rows = _ask(root, "ticket", "create", ticket=ticket, **told)
        found = self.find(root, ticket)
        if found is None:
            raise OutsideError(f"docmgr created no ticket {ticket} below {root}; it answered {_shown(rows)}.")
        return found

    def _new_document(self, root: Path, ticket: str, folder: Path, doc_type: str, title: str) -> Path:
        rows = _ask(root, "doc", "add", ticket=ticket, doc_type=doc_type, title=_line(title))
        path = _below(root, _text(rows[0], "path")) if rows else root
        if not path.is_file() or not path.is_relative_to(folder):
            raise OutsideError(f"docmgr added no document to {folder}; it answered {_shown(rows)}.")
        return path

    def _add_entry(self, root: Path, ticket: str, folder: Path, title: str, text: str, today: date) -> None:
        told = {"title": _line(title)} if title else {}
        _ask(root, "changelog", "update", ticket=ticket, entry=pages.tame(text), **told)

    def _complete(self, root: Path, ticket: str, folder: Path, entry: str, today: date) -> None:
        _ask(root, "ticket", "close", ticket=ticket, changelog_entry=pages.tame(entry))


def _ask(root: Path, *verb: str, **flags: str) -> list[Mapping[str, Any]]:
    """Call docmgr and return its rows; a sentence instead of rows is none. Flags stand with their values: `--a=b`."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]
    ran = program.check(["docmgr", *verb, f"--root={root}", *given, *FORM])
    begin = ran.out.find("[")
    try:
        rows = json.loads(ran.out[begin:]) if begin >= 0 else []
    except ValueError as error:
        raise OutsideError(f"docmgr {' '.join(verb)} did not answer in JSON: {ran.words}") from error
    return [row for row in rows if isinstance(row, dict)]


def _text(row: Mapping[str, Any], name: str) -> str:
    return str(row.get(name, ""))


def _line(text: str) -> str:
    return " ".join(clean(text).split())


def _below(root: Path, told: str) -> Path:
    """A path as docmgr tells it, relative to the root or whole. Raises Obstructed when it leads elsewhere."""
    path = root / told
    if ".." in path.parts or not path.is_relative_to(root) or path == root:
        raise Obstructed(f"docmgr named {last_words(told, 200)!r}, which is not below {root}.")
    return path


def _shown(rows: Sequence[Mapping[str, Any]]) -> str:
    return last_words(json.dumps(rows), 300)
