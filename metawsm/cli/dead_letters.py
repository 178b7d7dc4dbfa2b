"""The verbs of `forum dead-letters`: list, show, replay, discard."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.forum_reads import PAGE, option, reading
from metawsm.cli.lazy import Group
from metawsm.cli.output import Column, age, indented, key, note, print_json, say, table
from metawsm.cli.session import Session
from metawsm.cli.text import one_line
from metawsm.client.address import quote

BASE = "/forum/dead-letters"
FILTERS = (
    option("--reason", "Only letters of this reason, such as handler_failed."),
    option("--handler", "Only what this handler or read model failed on."),
    option("--topic", "Only messages of this topic."),
    option("--message-id", "Only this message or command."),
    option("--thread-id", "Only commands of this thread."),
    option("--since", "Only what failed last at this time (RFC 3339) or later."),
    option("--until", "Only what failed last at this time (RFC 3339) or before."),
)
ACTING = (
    *FILTERS,
    option("--all", "Every open letter.", is_flag=True),
    option("--dry-run", "Only count.", is_flag=True),
    option("--yes", "Do not ask; needed where there is no terminal to ask on.", is_flag=True),
    option("--actor-type", "Who acts: operator (default) or human.", envvar="METAWSM_ACTOR_TYPE"),
    option("--actor-name", "Name of who acts.", envvar="METAWSM_ACTOR_NAME"),
)
FACTS = (
    "id", "status", "reason", "error", "attempts", "handler", "topic", "entry_id", "consumer_group", "message_id",
    "command_id", "thread_id", "first_failed_at", "last_failed_at", "ended_at", "ended_by_type", "ended_by_name", "cut",
    "metadata",
)  # fmt: skip


class LetterId(click.ParamType[str]):
    """The number of a dead letter, kept as text."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The digits as they were given."""
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            self.fail(f"{text!r} is not the number of a dead letter; `forum dead-letters list` shows them", param, ctx)
        return text


@click.group("dead-letters", cls=Group)
def dead_letters() -> None:
    """Look at messages that nobody could handle; replay or discard them.

    \b
    metawsm.pyz forum dead-letters list --status open
    metawsm.pyz forum dead-letters show 7
    metawsm.pyz forum dead-letters replay --reason handler_failed --dry-run
    """


@dead_letters.command("list")
@reading(option("--status", "open, replayed or discarded."), *FILTERS, *PAGE)
def list_letters(session: Session, **query: Any) -> None:
    """List dead letters, the newest first."""
    answer = session.get(BASE, query)
    if session.as_json:
        print_json(answer)
        return
    columns = [
        Column("ID", key("id")),
        Column("STATUS", key("status"), drop=2),
        Column("REASON", key("reason")),
        Column("FAILED", lambda row: age(row.get("last_failed_at"))),
        Column("TIMES", key("attempts"), drop=6),
        Column("HANDLER", key("handler"), drop=3),
        Column("THREAD", key("thread_id"), drop=4),
        Column("TOPIC", key("topic"), drop=5),
        Column("ERROR", key("error"), flexible=True),
    ]
    asked = any(value is not None for name, value in query.items() if name != "limit")
    empty = "no dead letter matches" if asked else "there are no dead letters"
    table(columns, answer.get("dead_letters", ()), empty)
    if answer.get("next_cursor"):
        note(f"there is more: add --cursor {one_line(answer['next_cursor'])}")


@dead_letters.command()
@click.argument("letter_id", type=LetterId())
@reading()
def show(session: Session, letter_id: str) -> None:
    """Show a dead letter with its payload and traceback."""
    answer = session.get(f"{BASE}/{quote(letter_id)}")
    if session.as_json:
        print_json(answer)
        return
    letter = answer.get("dead_letter", {})
    for name in FACTS:
        if name in letter:
            value = letter[name]
            say(f"{name:16} {one_line(json.dumps(value) if isinstance(value, dict) else value)}")
    for name in ("traceback", "payload", "payload_base64"):
        if name in letter:
            say(f"{name}\n{indented(letter[name])}")


@dead_letters.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...", type=LetterId())
@reading(*ACTING)
def replay(session: Session, letter_ids: tuple[str, ...], **values: Any) -> int:
    """Give messages a fresh look: by id, by filters, or --all.

    A command is applied once, at a new position; what fails again stays open. Foreign and restored ones are replayed
    only by id or with --reason.
    """
    return _act(session, "replay", letter_ids, values)


@dead_letters.command()
@click.argument("letter_ids", nargs=-1, metavar="[ID]...", type=LetterId())
@reading(*ACTING)
def discard(session: Session, letter_ids: tuple[str, ...], **values: Any) -> int:
    """Decide that nothing more is to be done: by id, by filters, or --all."""
    return _act(session, "discard", letter_ids, values)


def _act(session: Session, verb: str, letter_ids: Sequence[str], values: dict[str, Any]) -> int:
    """Count, ask, act; the exit code says whether all ended."""
    given = {name: value for name in ("actor_type", "actor_name") if (value := values.pop(name))}
    who = {"actor_type": "operator"} | given
    dry_run, yes, every = (bool(values.pop(name)) for name in ("dry_run", "yes", "all"))
    filters = {name: value for name, value in values.items() if value is not None}
    if bool(letter_ids) + bool(filters) + every != 1:
        raise click.UsageError("say which letters: either ids, or filters, or --all")
    query = filters | ({"all": "true"} if every else {})
    if not (dry_run or yes or sys.stdin.isatty() or (letter_ids and verb == "replay")):
        raise click.UsageError(f"there is no terminal to ask on; say --yes to {verb}, or --dry-run to count")
    if letter_ids:
        return _by_id(session, verb, letter_ids, who, _asker(verb, yes), dry_run)
    return _by_filter(session, verb, query, who, _asker(verb, yes), dry_run)


def _asker(verb: str, yes: bool) -> Callable[[int], None]:
    """Says how many letters are meant and, on a terminal, asks; ends the verb when the answer is no."""

    def ask(count: int) -> None:
        letters = f"{count} dead letter{'' if count == 1 else 's'}"
        note(f"{letters} to {verb}")
        if count and not yes and sys.stdin.isatty():
            click.confirm(f"{verb} {letters}?", abort=True, err=True)

    return ask


def _by_id(
    session: Session,
    verb: str,
    letter_ids: Sequence[str],
    who: Mapping[str, str],
    ask: Callable[[int], None],
    dry_run: bool,
) -> int:
    """Act on one after the other, up to the first that is refused; the worst of their exit codes."""
    if dry_run:
        found = [session.get(f"{BASE}/{quote(letter_id)}")["dead_letter"] for letter_id in letter_ids]
        return _counted(session, verb, sum(letter.get("status") == "open" for letter in found))
    ask(len(letter_ids))
    answers = []
    for letter_id in letter_ids:
        answers.append(session.client.call("POST", f"{BASE}/{quote(letter_id)}/{verb}", body=who)[1])
        if not session.as_json:
            say(_line(answers[-1]))
    if session.as_json:
        print_json(answers[0] if len(answers) == 1 else {"answers": answers})
    return max(_code(answer) for answer in answers)


def _by_filter(
    session: Session,
    verb: str,
    query: Mapping[str, Any],
    who: Mapping[str, str],
    ask: Callable[[int], None],
    dry_run: bool,
) -> int:
    """Act on all that match, a thousand or so at a time."""
    path = f"{BASE}/{verb}"
    counted = session.client.call("POST", path, {**query, "dry_run": "true"}, who)[1]
    matched = counted["result"]["matched"]
    if dry_run:
        return _counted(session, verb, matched)
    ask(matched)
    total = counted["result"] | {"dry_run": False}
    cursor = counted["next_cursor"]  # up to the newest letter that was counted, not further
    while matched:
        answer = session.client.call("POST", path, {**query, "cursor": cursor}, who)[1]
        total |= {name: total[name] + answer["result"][name] for name in ("done", "failed", "skipped", "rebuild")}
        cursor = answer.get("next_cursor")
        if cursor is None:
            break
        note(f"{total['done']} of {matched}")
    if session.as_json:
        print_json({"result": total})
    else:
        say(_sum(verb, total))
    return ExitCode.FAILED if total["failed"] or total["skipped"] else ExitCode.DONE


def _sum(verb: str, total: Mapping[str, Any]) -> str:
    if verb == "discard":  # which cannot fail
        skipped = f", {total['skipped']} skipped (ended otherwise)" if total["skipped"] else ""
        return f"{total['done']} discarded{skipped}"
    skipped = f", {total['skipped']} skipped (ended otherwise, or no whole payload)" if total["skipped"] else ""
    rebuild = "; the read models are being rebuilt" if total["rebuild"] else ""
    return f"{total['done']} replayed, {total['failed']} failed again{skipped}{rebuild}"


def _counted(session: Session, verb: str, count: int) -> int:
    if session.as_json:
        print_json({"result": {"matched": count, "done": 0, "failed": 0, "skipped": 0, "rebuild": 0, "dry_run": True}})
    else:
        say(f"{count} open dead letter{'' if count == 1 else 's'} would be {verb}ed")
    return ExitCode.DONE


def _line(answer: Mapping[str, Any]) -> str:
    """What became of a letter, and of its command."""
    letter, command = answer.get("dead_letter", {}), answer.get("command")
    told = f"{letter.get('id')} {letter.get('status')}"
    if answer.get("rebuild"):
        return one_line(f"{told}: the read models are being rebuilt, which ends it")
    if letter.get("status") == "open":
        return one_line(f"{told}: failed again: {letter.get('error', '')}")
    if not answer.get("done"):
        told += " already"
    if command:
        error = command.get("error") or {}
        told += f", command {command.get('id')} {command.get('status')} {error.get('message', '')}"
    return one_line(told)


def _code(answer: Mapping[str, Any]) -> int:
    """0 done, 1 open again, 4 the command was rejected, 75 it waits."""
    if answer.get("rebuild"):
        return ExitCode.QUEUED
    if answer.get("dead_letter", {}).get("status") == "open":
        return ExitCode.FAILED
    status = (answer.get("command") or {}).get("status")
    return {"rejected": ExitCode.CONFLICT, "queued": ExitCode.QUEUED}.get(str(status), ExitCode.DONE)
