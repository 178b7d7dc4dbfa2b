"""The page of failure messages: complete, not stale, and true where the failures are made to happen."""

from __future__ import annotations

import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from metawsm.cli.main import root
from metawsm.storage.errors import _ADVICE
from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.messages import GAP, SHORTEST, all_texts, failures, with_gaps
from tests.support.pages import page, sections
from tests.support.redis_tcp import RedisTcp
from tests.support.shell import environment

PAGE = "docs/runbook-failures.md"
SPAN = re.compile(r"`([^`]+)`")
CHECK = re.compile(r"^- Check: .*`[^`]+`", re.MULTILINE)
GO_TABLE = "CREATE TABLE forum_outbox (id INTEGER PRIMARY KEY); CREATE TABLE runs (run_id TEXT)"
ASK = {"ticket": "T", "title": "t", "body": "b", "actor_type": "agent"}

MESSAGES = {
    message: heading
    for heading, text in sections(PAGE, 3).items()
    for message in SPAN.findall(heading + text.split("- Cause:")[0])
}
"""Each message of the page, and the heading under which it stands."""


def test_each_message_is_one_of_the_program() -> None:
    """A message that the program's text no longer has would send people astray."""
    texts = "\n".join(all_texts())
    assert [message for message in MESSAGES if with_gaps(message) not in texts] == []


def test_each_message_of_the_program_is_on_the_page() -> None:
    """Whoever meets an error for operators, or a warning in the log, finds it on the page."""
    told = failures() | {with_gaps(advice): "metawsm/storage/errors.py" for advice in _ADVICE.values()}
    known = [with_gaps(message) for message in MESSAGES]
    assert sorted((place, text) for text, place in told.items() if not any(m in text for m in known)) == []


def test_each_message_says_enough_to_be_found() -> None:
    """A message of a few letters would hide that another one is missing; these few are as the program has them."""
    short = [message for message in MESSAGES if len(re.findall("[A-Za-z]", message)) < SHORTEST]
    assert short == ["policy file …: …", "… is not valid: …", "redis at …: …", "attempt …: …"]


def test_each_section_says_what_to_do() -> None:
    """Cause, a command to look with, and the mend."""
    for heading, text in sections(PAGE, 3).items():
        assert re.search(r"^- Cause: ", text, re.MULTILINE), heading
        assert CHECK.search(text), heading
        assert re.search(r"^- Fix: ", text, re.MULTILINE), heading


def test_each_command_of_the_page_can_be_typed() -> None:
    """Verbs and options of ours are known to the command line."""
    for command in re.findall(r"`metawsm\.pyz ([^`]+)`", re.sub(r"(?m)^#.*", "", page(PAGE))):
        words = command.split()
        found: click.Command | None = root
        while words and isinstance(found, click.Group):
            found = found.get_command(click.Context(found), words.pop(0))
        assert found is not None, command
        known = {option for parameter in found.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, command


def test_each_line_of_doctor_that_the_page_names_is_one() -> None:
    """The names of checks stand in the program's text."""
    named = set(re.findall(r"`((?:program|policy|files|database|redis|runs|daemon|clock)\.[a-z-]+)`", page(PAGE)))
    assert len(named) > 15
    assert named <= set(all_texts())


def test_the_reasons_of_dead_letters_are_those_of_the_program() -> None:
    """Each reason of the table stands in the program's text."""
    table = page(PAGE).split("| reason |")[1].split("\n\n")[0]
    reasons = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(reasons) == 9
    assert set(reasons) <= set(all_texts())


def told(message: str, text: str) -> bool:
    """Whether a message of the page stands in what the program said, whatever is filled in."""
    assert message in MESSAGES
    return re.search(".*".join(map(re.escape, message.split(GAP))), text) is not None


@pytest.fixture
def run(pyz: Path, tmp_path: Path) -> Callable[..., str]:
    """Run the artifact in a project folder; it has to fail, and all that it wrote is returned."""

    def once(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(pyz), *arguments],
            cwd=tmp_path, env=environment(METAWSM_FORUM_REDIS_URL=""), capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        return done.stderr

    return once


@pytest.fixture
def serve(run: Callable[..., str]) -> Callable[..., str]:
    """Run `serve` where it cannot start."""
    return lambda *options: run("serve", "--addr", "127.0.0.1:0", *options)


def test_an_address_that_is_taken(run: Callable[..., str]) -> None:
    """The port belongs to another program."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        text = run("serve", "--addr", f"127.0.0.1:{other.getsockname()[1]}")
    assert told("cannot listen on …:…: …; choose another with --addr", text)


def test_nobody_at_the_address(run: Callable[..., str], free_port: int) -> None:
    """No daemon runs."""
    assert told("no metawsm daemon answers at …", run("forum", "list", "--server", f"http://127.0.0.1:{free_port}"))


def test_another_program_at_the_address(run: Callable[..., str], redis_server: Callable[..., RedisTcp]) -> None:
    """What answers is not taken for the daemon, whatever it makes of the request."""
    text = run("forum", "list", "--server", f"http://127.0.0.1:{redis_server().port}")
    assert told("no metawsm daemon answers at …", text) or told("does not speak as metawsm does", text)


def test_databases_that_are_not_ours(serve: Callable[..., str], tmp_path: Path) -> None:
    """A folder, a text, another program's, the Go program's, a newer one's."""
    assert told("… is a folder; name a file with --db", serve("--db", str(tmp_path)))
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at as one\n" * 40)
    assert told("… is not a SQLite database; name another file with --db", serve("--db", "text.db"))
    for name, script in {
        "other.db": "CREATE TABLE theirs (x)",
        "go.db": GO_TABLE,
        "newer.db": "PRAGMA application_id = 1836544817; PRAGMA user_version = 999",
    }.items():
        with closing(sqlite3.connect(tmp_path / name)) as db:
            db.executescript(script)
    assert told("database … belongs to another program; name another file with --db", serve("--db", "other.db"))
    assert told("database … was written by the Go program", serve("--db", "go.db"))
    newer = serve("--db", "newer.db")
    assert told("database … has schema version …, this program", newer)


def test_a_folder_that_is_a_file(serve: Callable[..., str], tmp_path: Path) -> None:
    """The database's folder cannot be made."""
    (tmp_path / "file").touch()
    assert told("lock … cannot be opened: …; check the folder and its mode", serve("--db", "file/metawsm.db"))


def test_a_token_that_is_no_secret(serve: Callable[..., str], tmp_path: Path) -> None:
    """Open to others, then without a line."""
    token = tmp_path / ".metawsm" / "token"
    token.parent.mkdir(mode=0o700)
    token.write_text("abc\n")
    token.chmod(0o644)
    assert told("… can be read by others (mode …)", serve())
    token.chmod(0o600)
    token.write_text("")
    assert told("… must hold one line, the token", serve())


def test_policies(run: Callable[..., str], serve: Callable[..., str], tmp_path: Path) -> None:
    """Missing, no JSON, not valid, and there already."""
    policy = tmp_path / "policy.json"
    assert told("policy file … cannot be read: …", serve("--policy", "policy.json"))
    policy.write_text("{")
    assert told("policy file … is not JSON: line … column …", serve("--policy", "policy.json"))
    policy.write_text('{"version": 2, "forum": {"sla": {"escalation_minutes": "soon"}}}')
    assert told("… is not valid: …", serve("--policy", "policy.json"))
    assert told(
        "policy file … exists already; use --force to replace it", run("policy-init", "--policy", "policy.json")
    )


@pytest.fixture
def watched(
    pyz: Path, start_daemon: Callable[..., Daemon], redis_server: Callable[..., RedisTcp]
) -> tuple[Daemon, RedisTcp]:
    """A daemon of the artifact, and its Redis."""
    redis = redis_server()
    return start_daemon("--redis", redis.url, command=[sys.executable, str(pyz)]), redis


def test_a_second_daemon(watched: tuple[Daemon, RedisTcp], serve: Callable[..., str]) -> None:
    """On the same database it names the first; on another one it must not use the same Redis number."""
    daemon, redis = watched
    assert told("database … is in use by …", serve("--db", str(daemon.database)))
    assert told("… belongs to …; this is …", serve("--redis", redis.url))


def redis_says(redis: RedisTcp, *words: str) -> str:
    """Type a command into redis-cli."""
    command = ["redis-cli", "-p", str(redis.port), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout


def test_what_happens_to_redis(watched: tuple[Daemon, RedisTcp]) -> None:
    """Emptied, out of memory, gone: the log and health say so in the words of the page."""
    daemon, redis = watched
    assert daemon.request("POST", "/forum/threads", ASK).status == 201
    redis_says(redis, "FLUSHALL")
    eventually(lambda: told("made again in Redis: …", daemon.log.read_text()), timeout=15)
    redis_says(redis, "CONFIG", "SET", "maxmemory", "1")
    assert daemon.request("POST", "/forum/threads?wait=0", ASK).status == 202
    refused = "Redis refused … message(s), they stay in the outbox: …"
    eventually(lambda: told(refused, daemon.log.read_text()), timeout=15)
    eventually(lambda: told("Redis refuses messages", daemon.request("GET", "/health").text), timeout=15)
    redis.kill()
    eventually(lambda: told("forum redis ping failed: …", daemon.request("GET", "/health").text), timeout=15)


def test_without_a_token(watched: tuple[Daemon, RedisTcp]) -> None:
    """Nobody is believed to be a human without it, nor with a wrong one."""
    daemon, _ = watched
    answer = daemon.request("POST", "/forum/threads", ASK | {"actor_type": "human"}, anonymous=True)
    assert told("without a token you act as agent, not as …", answer.text)
    wrong = daemon.request("GET", "/forum/threads", headers={"Authorization": "Bearer wrong"})
    assert told("the Authorization header is not", wrong.text)
