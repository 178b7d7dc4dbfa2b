"""The form of `git status` for programs, read without git."""

from __future__ import annotations

from metawsm.effects.git_status import MOST_FILES, parse

HEAD = "# branch.oid 0123\0# branch.head main\0"


def test_each_kind_of_entry_has_its_path() -> None:
    """Changed, renamed (the new path), unmerged and untracked ones; blanks belong to a path."""
    out = (
        "1 .M N... 100644 100644 100644 aa bb a file\0"
        "2 R. N... 100644 100644 100644 aa bb R100 new name\x00? old name\0"
        "u UU N... 100644 100644 100644 100644 aa bb cc both changed\0"
        "? not known\0"
        "! ignored\0"
    )
    status = parse(HEAD + out)
    assert (status.head, status.files) == ("0123", ("a file", "new name", "both changed", "not known"))


def test_an_output_that_was_cut_off_loses_its_last_entry() -> None:
    """Half a name would be a wrong one."""
    assert parse(HEAD + "? first\0? secon\0? th", cut=True).files == ("first",)


def test_before_the_first_commit_there_is_no_head() -> None:
    """Git says so in brackets."""
    assert parse("# branch.oid (initial)\0").head == ""


def test_the_files_that_are_not_named_are_counted() -> None:
    """Names and number together are all."""
    changes = parse(HEAD + "".join(f"? {number}\0" for number in range(MOST_FILES + 3))).changes()
    assert (len(changes.files), changes.more) == (MOST_FILES, 3)
