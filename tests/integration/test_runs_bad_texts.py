"""No shell, no tmux and no page ever takes text of a run for anything but text, and no terminal gets its sequences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.eventually import eventually
from tests.support.run_mishaps import REPORTER, SLEEPER, cleaned, done
from tests.support.runs_lab import BRIEF, Lab, git

EVIL = (
    '--force it\'s "done" $(touch PWNED) `touch PWNED` #(touch PWNED) #{pane_pid} ; touch PWNED | tee PWNED & '
    "\\\n---\nTitle: forged\nTicket: MET-9\n## forged\n<script>touch PWNED</script>\n"
    "\x1b]0;owned\x07\x1b[2J\x9b2J\u202etxt\u2066 \u2028end;"
)
UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
KEYS = [
    "Title", "Ticket", "Status", "Topics", "DocType", "Intent", "Owners", "RelatedFiles", "ExternalSources", "Summary",
    "LastUpdated", "WhatFor", "WhenToUse",
]  # fmt: skip

# It asks what it was told to ask, sends what it gets back as its summary, and validates the criteria of the brief.
PARROT = r"""#!/bin/sh
set -eu
metawsm forum signal --type guidance_request --question "$(cat FOLDER/evil)" --context "$(cat FOLDER/evil)"
metawsm forum wait >FOLDER/answer
metawsm forum signal --type completion --summary "$(cat FOLDER/answer)"
metawsm forum signal --type validation --status passed --done-criteria "$(cat FOLDER/evil)"
exec sleep 600
"""


@pytest.fixture
def evil(tmp_path: Path) -> str:
    """A text that would leave a file `pwned` if anything ran a part of it."""
    text = EVIL.replace("PWNED", str(tmp_path / "pwned"))
    (tmp_path / "evil").write_text(text)
    return text


@pytest.fixture
def lab(tmp_path: Path, evil: str) -> Iterator[Lab]:
    """A project whose agent repeats the text."""
    with Lab(tmp_path, agents={"bob": PARROT.replace("FOLDER", str(tmp_path))}) as made:
        yield made
    assert not list(tmp_path.rglob("pwned"))


def head_of(page: str) -> dict[str, str]:
    """The front matter of a document: one line for each key."""
    head = page.split("---\n")[1]
    return dict(line.partition(":")[::2] for line in head.splitlines() if not line.startswith(" "))


def shown(lab: Lab, *arguments: str) -> str:
    """What a command writes, whatever it says; nothing of it moves a terminal."""
    ended = lab.metawsm(*arguments)
    said = ended.stdout + ended.stderr
    assert not UNSHOWN.search(said), UNSHOWN.findall(said)
    return said


def test_a_brief_feedback_question_and_answer(lab: Lab, evil: str) -> None:
    """From the brief to the closed documents: each arrives as it is where programs read, and tame where people do."""
    brief = {name: f"{name}: {evil}" for name in BRIEF} | {"done_criteria": evil, "merge_intent": evil[:250]}
    run_id = lab.start(mode="bootstrap", **brief)
    waiting = lab.until(run_id, "awaiting_guidance")
    assert waiting["guidance"][0]["question"].rstrip("\n") == evil
    assert "forged" in shown(lab, "status", "--run-id", run_id)
    lab.answer(run_id, text=evil)
    lab.until(run_id, "completed")
    assert not UNSHOWN.search((lab.folder / "answer").read_text())
    done(lab, run_id, "iterate", feedback=evil)
    eventually(lambda: lab.run(run_id)["state"] == "awaiting_guidance", timeout=30, interval=0.1)
    lab.answer(run_id, text=evil)
    lab.until(run_id, "completed")
    shown(lab, "status", "--run-id", run_id)
    shown(lab, "forum", "watch", "--run-id", run_id, "--cursor", "0", "--once")
    lab.post(f"/runs/{run_id}/close", entry=evil[:250])
    lab.until(run_id, "closed")
    check_pages(lab)
    for repo in lab.repos.values():
        said = git(repo, "log", "--format=%B%an%ae")
        assert not UNSHOWN.search(said) and "forged" not in said
    cleaned(lab, run_id)


def check_pages(lab: Lab) -> None:
    """The documents in the base: their front matter is ours, and their headings are."""
    (index,) = lab.repos["alpha"].glob("ttmp/**/index.md")
    folder = index.parent
    assert (folder.name.startswith("MET-1--"), folder.is_relative_to(lab.repos["alpha"] / "ttmp")) == (True, True)
    pages = {page: page.read_text() for page in folder.rglob("*.md")}
    assert len(pages) == 6
    for page, text in pages.items():
        assert not UNSHOWN.search(text), page
    for page in (index, *folder.glob("reference/*.md")):
        head = head_of(pages[page])
        assert list(head) == KEYS and head["Ticket"] == ' "MET-1"', page
    assert head_of(pages[index])["Status"] == " complete"
    feedback = pages[folder / "reference" / "99-operator-feedback.md"]
    assert len(re.findall("^## ", feedback, re.MULTILINE)) == 1
    assert len(re.findall("^## ", pages[folder / "changelog.md"], re.MULTILINE)) == 1
    assert not re.search("^<script", feedback + pages[folder / "changelog.md"], re.MULTILINE)


NAMES = (
    "..",
    "../up",
    "-rf",
    "a b",
    "a;b",
    "$(id)",
    "`id`",
    "#{x}",
    "a\nb",
    "a\x1b[2J",
    "\u202eb",
    "",
    "a" * 65,
    ".git",
)


@pytest.mark.parametrize("field", ["tickets", "repos", "agents", "run_id", "doc_home_repo", "source"])
def test_names(lab: Lab, field: str) -> None:
    """What is no name is refused, by the field's name, before anything is done."""
    for name in NAMES:
        wish: dict[str, Any] = {"tickets": ["MET-1"], "repos": ["alpha"], "actor_type": "operator"}
        wish[field] = [name] if field in ("tickets", "repos", "agents") else name
        reply = lab.daemon.request("POST", "/runs", wish)
        assert (reply.status, list(reply.error["fields"])) == (422, [field]), (name, reply.text)
    assert lab.rows("SELECT count(*) FROM runs") == [(0,)]
    flag = {"tickets": "--ticket", "repos": "--repos", "agents": "--agent"}.get(field, f"--{field.replace('_', '-')}")
    told = shown(lab, "run", "--ticket", "MET-1", "--repos", "alpha", f"{flag}=\x1b[2J;id")
    assert "letters, digits" in told


@pytest.mark.parametrize(
    "base", ["-f", "a..b", "a b", "a\x1b", "a~1", "a:b", "@{u}", "/a", "a.lock", "a\n--upload-pack=x"]
)
def test_bases_that_git_would_misread(lab: Lab, base: str) -> None:
    """What is no branch is refused before git sees it."""
    wish = {"tickets": ["MET-1"], "repos": ["alpha"], "actor_type": "operator", "base": base}
    reply = lab.daemon.request("POST", "/runs", wish)
    assert (reply.status, list(reply.error["fields"])) == (422, ["base"]), reply.text


def test_a_base_that_a_shell_would_run(tmp_path: Path) -> None:
    """Git takes nearly anything for a branch; work starts from it and is merged into it."""
    base = "x/$(touch${IFS}pwned)`touch${IFS}pwned`;'\"&|<>!#()\u202e\x9b"
    with Lab(tmp_path, agents={"bob": REPORTER}) as lab:
        for repo in lab.repos.values():
            git(repo, "branch", base)
        refused = lab.daemon.request("POST", "/runs", {"tickets": ["M"], "repos": ["alpha"], "actor_type": "operator",
                                                       "base": base})  # fmt: skip
        assert list(refused.error["fields"]) == ["base"]  # nobody could tell it from another on a screen
        base = base[:-2]
        for repo in lab.repos.values():
            git(repo, "branch", base)
        run_id = lab.start(base=base)
        lab.until(run_id, "completed")
        done(lab, run_id, "merge")
        assert "MET-1: ticket documents" in git(lab.repos["alpha"], "log", "--format=%s", base)
        shown(lab, "status", "--run-id", run_id)
        cleaned(lab, run_id)
        assert not list(tmp_path.rglob("pwned"))


def test_a_project_in_a_folder_with_a_name_like_a_command(tmp_path: Path) -> None:
    """tmux runs `#(...)` in what it takes for a format, and cuts at a semicolon: a path is neither."""
    folder = tmp_path / '#(touch pwned)#{pane_pid} $(touch pwned)`touch pwned`; "x" \u00fc;'
    folder.mkdir()
    with Lab(folder, agents={"bob": SLEEPER}) as lab:
        run_id = lab.start()
        run = lab.until(run_id, "running")
        place = lab.tmux("list-panes", "-a", "-F", "#{pane_current_path}").stdout.rstrip("\n")
        assert place == str(lab.checkouts(run_id)[0]) and run["agents"][0]["state"] == "running"
        assert not list(tmp_path.rglob("pwned"))
        cleaned(lab, run_id)


def test_files_with_evil_names_in_a_checkout(lab: Lab) -> None:
    """An agent's files are named in status and in gates as text."""
    run_id = lab.start()
    lab.until(run_id, "awaiting_guidance")
    home = lab.checkouts(run_id)[0]
    (home / "x\x1b[2J\u202e$(id)\n.txt").write_text("x")
    eventually(lambda: "$(id)" in shown(lab, "status", "--run-id", run_id), timeout=10)
    lab.answer(run_id)
    lab.until(run_id, "completed")
    lab.post(f"/runs/{run_id}/close")
    eventually(lambda: "uncommitted" in (lab.run(run_id).get("reason") or ""), timeout=20)
    said = shown(lab, "close", "--run-id", run_id)
    assert "has uncommitted changes: x$(id)" in said
    gates = [step for step in lab.run(run_id)["steps"] if step["kind"] == "check_gates"][-1]
    assert not {"\x1b", "\u202e"} & set(str(gates["error"]) + gates["result"]["gates"][0]["text"])
