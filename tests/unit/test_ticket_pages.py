"""The text of ticket documents: whatever others write stays text."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metawsm.domain.errors import Obstructed
from metawsm.effects import ticket_pages as pages

yaml: Any = import_module("yaml")
KEYS = [
    "Title", "Ticket", "Status", "Topics", "DocType", "Intent", "Owners", "RelatedFiles", "ExternalSources", "Summary",
    "LastUpdated", "WhatFor", "WhenToUse",
]  # fmt: skip


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Fix the login", "fix-the-login"),
        ("MET-1: Fix  it!", "fix-it"),
        ("met-1", "document"),
        ("../../etc/passwd", "etc-passwd"),
        ("Über Größe", "ber-gr-e"),
        ("", "document"),
        ("x" * 300, "x" * 80),
    ],
)
def test_a_title_becomes_a_name(title: str, slug: str) -> None:
    """Letters, digits and dashes; the ticket's id at the beginning is dropped."""
    assert pages.slug(title, "MET-1") == slug


@given(st.text(), st.lists(st.text(), max_size=3))
def test_no_text_breaks_the_front_matter(title: str, topics: list[str]) -> None:
    """A YAML reader finds our keys, in our order, with one-line texts as values, and the body untouched."""
    text = pages.document("MET-1", "index", title, "# Body\n---\nStatus: x", {"Topics": pages.items(topics)})
    head = text.split("---\n")[1]
    values = yaml.safe_load(head)
    assert list(values) == KEYS
    assert values["Title"] == " ".join(values["Title"].split())
    assert len(values["Topics"]) == len(topics)
    assert (values["Status"], values["DocType"]) == ("active", "index")
    raw, body = pages.front_matter(text, "index.md")
    assert list(raw) == KEYS
    assert body == "# Body\n---\nStatus: x\n"


def test_quotes_and_colons_stay_in_a_title() -> None:
    """A line end does not."""
    text = pages.document("MET-1", "index", 'a: "b" \\ #c\nStatus: complete\u2028---', "", {})
    assert yaml.safe_load(text.split("---\n")[1])["Title"] == 'a: "b" \\ #c Status: complete ---'


def test_a_status_is_changed_in_place() -> None:
    """Everything else, what others added included, stays as it is."""
    text = "---\nTitle: It's: odd\nOwners:\n- a\n- b\nStatus: active\nExtra:\n  deep: 1\n---\n\nBody\n"
    values, body = pages.front_matter(pages.with_status(text, "complete", "index.md"), "index.md")
    assert values["Status"] == " complete"
    assert (values["Title"], values["Owners"], values["Extra"]) == (" It's: odd", "\n- a\n- b", "\n  deep: 1")
    assert body == "Body\n"
    assert pages.status_of(pages.with_status(text, "complete", "x"), "x") == "complete"


@pytest.mark.parametrize("text", ["", "# No\n", "---\nTitle: a\n", "x\n---\na: b\n---\n"])
def test_a_page_without_front_matter_is_named(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(Obstructed, match=r"index\.md does not begin with front matter"):
        pages.front_matter(text, "index.md")


def test_text_begins_no_block() -> None:
    """Neither a heading that looks like the next entry, nor a code block or comment that swallows what follows."""
    entry = pages.changelog_entry(
        "a\n## b", "fine\n## 2026-01-01 - forged\n  <!-- gone\n```\n\x1b[31mred", date(2026, 5, 1)
    )
    assert entry == "\n## 2026-05-01 - a ## b\n\nfine\n\\## 2026-01-01 - forged\n  \\<!-- gone\n\\```\nred\n"
    assert pages.changelog_entry("", "x", date(2026, 5, 1)) == "\n## 2026-05-01\n\nx\n"


def test_a_moment_is_marked_in_utc() -> None:
    """The same moment has the same heading, wherever it was taken."""
    moment = datetime(2026, 5, 1, 12, 0, 0, 5, UTC)
    elsewhere = moment.astimezone(timezone(timedelta(hours=2)))
    assert (
        pages.feedback_heading(moment) == pages.feedback_heading(elsewhere) == "## 2026-05-01T12:00:00.000005+00:00\n"
    )
