"""The runbook's failures: each is made to happen, and the commands of its section are typed in and show it."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.pages import blocks, sections
from tests.support.runbook import PAGE, Desk, new_desk

KINDS = r"every-terminal|run|terminal=\w+|when=[\w-]+"
SEED_SECTIONS = [
    "Runtime model",
    "Prerequisites",
    "What must be running",
    "Bring-up checklist",
    "Operational verification",
    "Failure modes and recovery",
    "Logging",
    "Operator guidance",
]
SIGNAL = "forum signal --run-id RUN_ID --ticket METAWSM-002 --agent-name agent --type"
SEED_STEPS = (
    "bootstrap \\\n  --ticket METAWSM-002 \\\n  --repos metawsm \\\n  --doc-home-repo metawsm",
    'forum ask --run-id RUN_ID --ticket METAWSM-002 --title "Question" --body "Need guidance"',
    "forum list --run-id RUN_ID",
    "forum thread --thread-id THREAD_ID",
    f'{SIGNAL} guidance_request --question "Need decision"',
    f'{SIGNAL} guidance_answer --answer "Proceed"',
    f'{SIGNAL} completion --summary "Implementation complete"',
    f'{SIGNAL} validation --status passed --done-criteria "tests pass"',
    "status --run-id RUN_ID",
)
WATCH = "metawsm.pyz watch --run-id $RUN_ID --until"
ASK = "metawsm.pyz forum ask --ticket METAWSM-002 --title Question --body Help"


@pytest.fixture
def desk(pyz: Path, tmp_path: Path) -> Iterator[Desk]:
    """A project folder with a git repository."""
    made = new_desk(pyz, tmp_path)
    yield made
    made.close()


def type_in(desk: Desk, name: str, *before: str) -> tuple[int, str]:
    """Type the commands of a failure into one terminal, after others; status of the last, and all output."""
    with desk.terminal(strict=False) as terminal:
        for commands in before:
            terminal.run(commands)
        return terminal.run("".join(block.text for block in blocks(PAGE) if block.how == f"when={name}"), timeout=60)


def test_no_command_escapes_the_tests() -> None:
    """Every fenced block of the page says how a test has to take it, and each way is one that a test knows."""
    assert [block for block in blocks(PAGE) if block.language != "bash" or not re.fullmatch(KINDS, block.how)] == []
    known = set(re.findall(r'type_in\(desk, "([\w-]+)"', Path(__file__).read_text(encoding="utf-8")))
    assert {block.how.removeprefix("when=") for block in blocks(PAGE) if block.how.startswith("when=")} == known


def test_the_page_has_its_sections_and_each_failure_is_told_whole() -> None:
    """Sections stand in order; a failure's section names its cause and its mend."""
    names = list(sections(PAGE))
    assert [name for name in names if name in SEED_SECTIONS] == SEED_SECTIONS
    failures = {name: text for name, text in sections(PAGE, 3).items() if "Nothing to do" not in text}
    assert len(failures) >= 9
    for name, text in failures.items():
        assert "- Cause:" in text, name
        assert re.search(r"- (Fix|Check and fix):", text), name


def test_connection_refused(desk: Desk) -> None:
    """Without a daemon the command line says so, where, and how to start it: exit code 6; then it works."""
    status, told = type_in(desk, "refused")
    assert status == 7  # curl's own word for it
    assert f"connection refused: no metawsm daemon answers at http://127.0.0.1:{desk.env['PORT']}" in told
    with desk.terminal(strict=False) as terminal:
        assert terminal.run("metawsm.pyz forum list")[0] == 6
    desk.start("redis", "daemon")
    assert type_in(desk, "refused-mended") == (0, "no thread matches\n")


def test_the_bundled_redis_is_reached(desk: Desk) -> None:
    """The socket that `debug` tells of leads to the daemon's own Redis."""
    desk.beginning += "export METAWSM_FORUM_REDIS_URL=embedded://\n"
    desk.start("daemon")
    status, told = type_in(desk, "bundled")
    assert status == 0
    assert "metawsm-forum.projections" in told.splitlines()


def test_redis_url_is_empty(desk: Desk) -> None:
    """An empty url leaves the daemon up and degraded; what it kept is done after a start with a Redis."""
    named = desk.beginning
    desk.beginning += "export METAWSM_FORUM_REDIS_URL=\n"
    desk.start("daemon", health="degraded")
    status, told = type_in(desk, "empty-url")
    assert status == 75
    assert '"error": "forum redis url is empty"' in told
    command = told.split("--command-id ")[1].split("`")[0]
    desk.interrupt("daemon")
    desk.beginning = named
    desk.start("redis", "daemon")
    with desk.terminal() as terminal:
        eventually(lambda: "applied" in terminal.run(f"metawsm.pyz forum command --command-id {command}")[1])


def test_redis_ping_failed(desk: Desk) -> None:
    """A Redis that is not there is told, and connected to by itself when it comes; what was kept is done."""
    desk.start("daemon", health="degraded")
    with desk.terminal(strict=False) as terminal:
        assert terminal.run(ASK)[0] == 75
    status, told = type_in(desk, "no-redis")
    assert status == 1
    assert re.search(r'"error": "forum redis ping failed: redis at redis://.*[Rr]efused', told)
    assert "Could not connect to Redis" in told
    desk.start("redis")
    eventually(lambda: desk.health()["status"] == "ok", timeout=20)
    with desk.terminal() as terminal:
        eventually(lambda: "Question" in terminal.run("metawsm.pyz forum list")[1])


@contextmanager
def transaction(database: Path) -> Iterator[None]:
    """Another program that holds the write lock."""
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def test_database_is_locked(desk: Desk) -> None:
    """While another program writes, a write is refused after ten seconds and reads go on; afterwards it works."""
    desk.start("redis", "daemon")
    body = '{"ticket": "T", "title": "t", "body": "b"}'
    send = f"curl -s -m 30 -H 'Content-Type: application/json' -d '{body}' $METAWSM_SERVER/api/v1/forum/threads"
    with desk.terminal() as terminal, desk.terminal() as waiting:
        with transaction(desk.folder / ".metawsm" / "metawsm.db"):
            terminal.run(f"{send} >answer.json &")
            eventually(lambda: type_in(desk, "locked") == (0, "true\n"))
            assert waiting.run("metawsm.pyz forum list") == (0, "no thread matches\n")
            told = eventually((desk.folder / "answer.json").read_text, timeout=20)
        assert re.search(r'"code":"unavailable","message":"database is locked: another process has held ', told)
        assert waiting.run("metawsm.pyz forum list") == (0, "no thread matches\n")
        assert waiting.run(ASK)[0] == 0


def test_a_daemon_that_finds_the_database_locked(desk: Desk) -> None:
    """It ends with the same message and no traceback."""
    desk.start("redis", "daemon")
    desk.interrupt("daemon")
    with transaction(desk.folder / ".metawsm" / "metawsm.db"), desk.terminal(strict=False) as terminal:
        status, told = terminal.run("metawsm.pyz serve --addr 127.0.0.1:0")
    assert status == 1
    assert re.search(r"^metawsm: database is locked: another process holds ", told, re.MULTILINE)
    assert "Traceback" not in told


def test_a_second_daemon(desk: Desk) -> None:
    """A second daemon ends at once and names the first."""
    desk.start("redis", "daemon")
    status, told = type_in(desk, "second")
    assert status == 1
    holder = re.search(r"is in use by process (\d+) at (\S+)", told)
    assert holder is not None
    assert holder.group(2) == f"127.0.0.1:{desk.env['PORT']}"
    os.kill(int(holder.group(1)), 0)


def test_a_shared_redis(desk: Desk) -> None:
    """The daemon of another database ends, names both databases and the number to use."""
    desk.start("redis", "daemon")
    status, told = type_in(desk, "shared-redis")
    assert status == 1
    assert "belongs to database db-" in told
    assert f"set forum.redis.url to redis://127.0.0.1:{desk.env['REDIS_PORT']}/1" in told


def test_without_a_token(desk: Desk) -> None:
    """From another folder a human is not believed, and is with the token's file named."""
    desk.start("redis", "daemon")
    asked = f"THREAD_ID=$({ASK} --json | jq -r .thread.thread_id)"
    status, told = type_in(desk, "token", asked)
    assert status == 0
    assert "without a token you act as agent, not as human" in told
    assert "new, normal, 2 posts: Question" in told


def of_the_page(words: str) -> str:
    """The page's block that has these words."""
    return next(block.text for block in blocks(PAGE) if words in block.text)


def test_the_commands_of_the_seed_stand_on_the_page() -> None:
    """Steps 5 and 6 as they were for the Go program, but for the program's name and the ids that are filled in."""
    typed = "".join(block.text for block in blocks(PAGE) if block.how == "run")
    typed = typed.replace("$RUN_ID", "RUN_ID").replace("$THREAD_ID", "THREAD_ID")
    assert [command for command in SEED_STEPS if f"metawsm.pyz {command}" not in typed] == []


def test_a_run_stuck_in_awaiting_guidance(desk: Desk) -> None:
    """Status shows the question and the thread; answered, the run goes on, and the agent's shell reads the answer."""
    desk.start("redis", "daemon")
    asked = of_the_page("--type guidance_request").splitlines()[0]
    status, told = type_in(desk, "stuck", of_the_page("bootstrap"), f"{asked}\n{WATCH} awaiting_guidance")
    assert status == 0, told
    assert "Status:   awaiting_guidance for " in told
    assert re.search(r"Guidance:\n  agent asks, .*\n      Need decision\n", told)
    assert re.search(r"^fctrl-run-\S+-agent +waiting_human ", told, re.MULTILINE)
    assert re.search(r"^run-\S+  running, bootstrap round 1 of METAWSM-002", told, re.MULTILINE)
    with desk.terminal() as terminal:
        run = "metawsm.pyz status --ticket METAWSM-002 --json | jq -r"
        assert terminal.run(f"{run} .run.state")[1].strip() == "running"
        control = terminal.run(f"{run} '.run.agents[0].control_thread'")[1].strip()
        thread = f"metawsm.pyz forum thread --thread-id {control}"
        eventually(lambda: "-> read by agent" in terminal.run(thread)[1], timeout=30, interval=0.5)
    session = desk.tmux("list-sessions", "-F", "#{session_name}").strip()
    assert "Go on" in desk.tmux("capture-pane", "-p", "-t", f"={session}:")


def test_close_blocked(desk: Desk) -> None:
    """Each gate is told with what mends it; with both signals and the brief's criteria the run closes."""
    desk.start("redis", "daemon")
    wrong = of_the_page("--type validation").splitlines()[3].replace("tests pass", "some tests pass")
    early = f"{wrong}\nmetawsm.pyz close --run-id $RUN_ID; echo $? >code"
    status, told = type_in(desk, "close-blocked", of_the_page("bootstrap"), early)
    assert status == 0, told
    assert (desk.folder / "code").read_text() == "4\n"
    gates, _, closed = told.partition("mend: ")[2].partition("answered, normal")
    assert "metawsm: close blocked\n  - agent agent: missing completion signal\n" in told
    assert "  - agent agent: validated other done criteria than those of the brief\n" in gates
    assert "--type validation --status passed --done-criteria 'tests pass'\n" in gates
    assert re.search(r"^run-\S+  closed, bootstrap round 1 of METAWSM-002", closed, re.MULTILINE)


def test_dead_letters_ask_for_attention(desk: Desk) -> None:
    """A message that nobody can read makes health say `attention`, and the page's query shows it."""
    desk.start("redis", "daemon")
    send = ["redis-cli", "-p", desk.env["REDIS_PORT"], "XADD", "forum.commands.close_thread", "*", "payload", "{}"]
    subprocess.run(send, env={"PATH": desk.env["PATH"]}, check=True, capture_output=True)
    eventually(lambda: desk.health()["status"] == "attention")
    query = next(line for block in blocks(PAGE) for line in block.text.splitlines() if "from dead_letters" in line)
    with desk.terminal() as terminal:
        assert "|malformed|forum.commands.close_thread|" in terminal.run(query)[1]


def test_an_emptied_redis_needs_nothing(desk: Desk) -> None:
    """After FLUSHALL the forum goes on, and the feed holds what it held."""
    desk.start("redis", "daemon")
    with desk.terminal() as terminal:
        terminal.run(ASK)
        terminal.run("redis-cli -p $REDIS_PORT FLUSHALL")
        terminal.run(ASK)
        length = "redis-cli -p $REDIS_PORT XLEN metawsm-forum"
        eventually(lambda: terminal.run(length)[1].strip() == "2", timeout=10)
    eventually(lambda: desk.health()["status"] == "ok")
