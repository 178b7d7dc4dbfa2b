"""The text of ticket documents, in docmgr's form: front matter in YAML, then Markdown.

Text of others is put in so that it stays text: as a quoted one-line scalar in the front matter, and in a page without
control characters and without beginning a heading, a code block or HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from metawsm.domain.errors import Obstructed
from metawsm.domain.plain_text import clean

LONGEST_SLUG = 80
TASKS = "# Tasks\n\n## \x54ODO\n\n"  # docmgr's heading for what is to be done
CHANGELOG = "# Changelog\n"
FEEDBACK = "# Operator Feedback\n"
INDEX = "index"

_KEY = re.compile(r"^([A-Za-z]\w*):", re.MULTILINE)
_BEGINS_A_BLOCK = re.compile(r"^(\s{0,3})([#<`~])", re.MULTILINE)
_UNSLUGGABLE = re.compile(r"[^a-z0-9]+")


def slug(title: str, ticket: str = "") -> str:
    """The part of a file's name that a title gives; the ticket's id at its beginning is dropped."""
    rest = title.lower()
    rest = rest.removeprefix(ticket.lower()) if ticket else rest
    return _UNSLUGGABLE.sub("-", rest).strip("-")[:LONGEST_SLUG].rstrip("-") or "document"


def scalar(text: str) -> str:
    """A YAML scalar that is this text in one line, whatever is in it."""
    plain = " ".join(clean(text).replace("\ufeff", "").split())
    return '"{}"'.format(plain.replace("\\", "\\\\").replace('"', '\\"'))


def items(texts: Sequence[str]) -> str:
    """A YAML list of texts, to stand behind its key."""
    return "".join(f"\n    - {scalar(text)}" for text in texts) or " []"


def tame(text: str) -> str:
    """Text of others as it may stand in a page: it begins no block that would swallow or imitate what follows."""
    return _BEGINS_A_BLOCK.sub(r"\1\\\2", clean(text)).strip()


def document(ticket: str, doc_type: str, title: str, body: str, inherited: Mapping[str, str]) -> str:
    """A whole document. `inherited` has the raw values of Topics, Intent and Owners as the index has them."""
    values = {
        "Title": f" {scalar(title)}",
        "Ticket": f" {scalar(ticket)}",
        "Status": " active",
        "Topics": inherited.get("Topics", " []"),
        "DocType": f" {doc_type}",
        "Intent": inherited.get("Intent", " long-term"),
        "Owners": inherited.get("Owners", " []"),
        "RelatedFiles": " []",
        "ExternalSources": " []",
        "Summary": ' ""',
        "LastUpdated": f" {_now()}",
        "WhatFor": ' ""',
        "WhenToUse": ' ""',
    }
    return _with_front_matter(values, body)


def front_matter(text: str, name: str) -> tuple[dict[str, str], str]:
    """The raw values by key, in order, and the body. Raises Obstructed when `name` has no front matter."""
    begin, _, rest = text.partition("---\n")
    head, end, body = rest.partition("\n---\n")
    if begin.strip() or not end:
        raise Obstructed(f"{name} does not begin with front matter between two lines of ---.")
    starts = [*_KEY.finditer(head)]
    ends = [*(key.start() for key in starts[1:]), len(head)]
    return {key[1]: head[key.end() : stop].rstrip() for key, stop in zip(starts, ends, strict=True)}, body.lstrip("\n")


def with_body(text: str, body: str, name: str) -> str:
    """A document with another body."""
    return _with_front_matter(front_matter(text, name)[0] | {"LastUpdated": f" {_now()}"}, body)


def with_status(text: str, status: str, name: str) -> str:
    """A document with another status."""
    values, body = front_matter(text, name)
    return _with_front_matter(values | {"Status": f" {status}", "LastUpdated": f" {_now()}"}, body)


def status_of(text: str, name: str) -> str:
    """The status that a document has."""
    return front_matter(text, name)[0].get("Status", "").strip().strip("\"'")


def changelog_entry(title: str, text: str, today: date) -> str:
    """An entry of a changelog, with the blank line before it."""
    heading = " ".join(clean(title).split())
    return f"\n## {today.isoformat()}{f' - {heading}' if heading else ''}\n\n{tame(text)}\n"


def feedback_heading(at: datetime) -> str:
    """What marks the feedback of one moment."""
    return f"## {at.astimezone(UTC).isoformat(timespec='microseconds')}\n"


def _with_front_matter(values: Mapping[str, str], body: str) -> str:
    head = "".join(f"{key}:{value}\n" for key, value in values.items())
    return f"---\n{head}---\n\n{body.strip()}\n"


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
