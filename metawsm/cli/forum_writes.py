"""The verbs that change something: each follows from the spec of its command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from metawsm.bus.fields import Rule, rules_of
from metawsm.bus.specs import THREAD, Attribution, CommandSpec, Expectation, Flag, Verb
from metawsm.cli.accepted import queued
from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.failures import Failure
from metawsm.cli.output import print_json, say
from metawsm.cli.session import Session, connected, thread_named
from metawsm.cli.stdin import read_stdin
from metawsm.cli.text import one_line
from metawsm.client.address import segment
from metawsm.commands import ALL
from metawsm.domain.errors import MetawsmError

ENVIRONMENT = {
    "ticket": "METAWSM_TICKET",
    "run_id": "METAWSM_RUN_ID",
    "agent_name": "METAWSM_AGENT",
    "actor_type": "METAWSM_ACTOR_TYPE",
    "actor_name": "METAWSM_ACTOR_NAME",
    "viewer_type": "METAWSM_ACTOR_TYPE",
    "viewer_id": "METAWSM_ACTOR_NAME",
}
"""Which variable a field comes from when its flag is not given (contract, section 10)."""

KINDS: dict[str, Any] = {"integer": click.INT}


def verbs() -> list[str]:
    """The names of the verbs, in the order of the commands."""
    return [spec.verb.name for spec in ALL if spec.verb]


def write_verb(name: str) -> click.Command | None:
    """The verb of a command, or None."""
    for spec in ALL:
        if spec.verb and spec.verb.name == name:
            return _command(spec)
    return None


def _verb(spec: CommandSpec) -> Verb:
    """The verb of a command that has one."""
    if spec.verb is None:
        raise LookupError(f"{spec.name} has no verb")
    return spec.verb


def _command(spec: CommandSpec) -> click.Command:
    """A click command with an option for every flag of the spec and for what all commands share."""

    about_thread = THREAD in _in_path(spec)

    def run(session: Session, wait: float | None, thread: str | None = None, **values: Any) -> int:
        if about_thread:
            values[THREAD] = thread_named(thread, values[THREAD])
        return _send(spec, session, wait, values)

    # connected() adds options to the function; click wants them on the command
    callback = connected(run)
    shared: list[click.Parameter] = list(reversed(callback.__dict__.pop("__click_params__")))
    options: list[click.Parameter] = [_option(flag, spec) for flag in (*_verb(spec).flags, *_shared(spec))]
    arguments = [click.Argument(["thread"], required=False)] if about_thread else []
    wait = click.Option(["--wait"], type=click.FloatRange(0, 30), metavar="SECONDS", help=WAIT_HELP)
    example = f"\b\nmetawsm.pyz forum {_verb(spec).example}" if _verb(spec).example else ""
    return click.Command(
        _verb(spec).name,
        params=[*arguments, *options, wait, *shared],
        callback=callback,
        help=f"{_verb(spec).help}\n\n{example}",
        short_help=_verb(spec).help,
    )


WAIT_HELP = "How long to wait for the outcome. [default: 5]"


def _shared(spec: CommandSpec) -> list[Flag]:
    """The flags that every command has: who acts, what it belongs to, and what is expected of the thread."""
    taken = {flag.target for flag in _verb(spec).flags}
    parts = (Attribution, Expectation) if spec.loads else (Attribution,)
    names = [name for part in parts for name in rules_of(part) if name not in taken]
    defaults = {"actor_type": _verb(spec).actor}
    return [Flag(f"--{name.replace('_', '-')}", name, default=defaults.get(name)) for name in names]


def _rule(flag: Flag, spec: CommandSpec) -> Rule | None:
    """The rule of the field that a flag sets; None for members of a payload."""
    for part in spec.parts:
        if flag.target in rules_of(part):
            return rules_of(part)[flag.target]
    return None


def _option(flag: Flag, spec: CommandSpec) -> click.Option:
    """One flag as click has it. What a value may be is the daemon's to say, except for numbers."""
    rule = _rule(flag, spec)
    names = [flag.name, *(["--agent", "--agent-name"] if flag.target == "agent_name" else [])]
    about = rule.about if rule else flag.about
    in_words = flag.target == THREAD and flag.required  # an argument may stand for it
    choices = f" ({', '.join(rule.choices)})" if rule and rule.choices else ""
    repeats = bool(rule and rule.kind == "texts")
    more = ("; may be repeated" if repeats else "") + ("; - reads stdin" if flag.stdin else "")
    more += ", required; may also stand as an argument" if in_words else ""
    given: dict[str, Any] = {"default": flag.default} if flag.default and flag.target != "actor_type" else {}
    return click.Option(
        [*dict.fromkeys(names), _parameter(flag.target)],
        required=flag.required and not in_words,
        type=KINDS.get(rule.kind if rule else "", click.STRING),
        multiple=repeats,
        envvar=ENVIRONMENT.get(flag.target),
        show_envvar=True,
        help=_sentence(f"{about}{choices}{more}") + _default_text(flag, spec),
        **given,
    )


def _sentence(text: str) -> str:
    """A text with a capital and a full stop; one that begins with a word of the interface keeps it as it is."""
    first = text.split(maxsplit=1)[0].rstrip(":,;")
    plain = first.islower() and first.isalpha() and not text.startswith(f"{first}:")
    return f"{text[:1].upper() if plain else text[:1]}{text[1:].rstrip('.')}."


def _default_text(flag: Flag, spec: CommandSpec) -> str:
    """The default as the help shows it."""
    default = flag.default or ("normal" if flag.target == "priority" and not flag.required else "")
    if flag.target == "actor_type" and _verb(spec).name == "signal":
        default = f"{default}; operator for a guidance_answer"
    return f"  [default: {default}]" if default else ""


def _parameter(target: str) -> str:
    """The name of the Python parameter for a field or a member of the payload."""
    return target.replace(".", "__")


def _send(spec: CommandSpec, session: Session, wait: float | None, values: Mapping[str, Any]) -> int:
    """Send the command and tell what came of it."""
    flags = {flag.target: flag.name for flag in (*_verb(spec).flags, *_shared(spec))}
    try:
        body = _body(spec, values)
        key = body.pop("command_id", None)
        status, answer = session.client.call(
            "POST", _path(spec, body), {"wait": wait}, body, {"Idempotency-Key": key} if key else None
        )
    except MetawsmError as error:
        raise Failure(error, flags, session.sent, agents=not _is_answer(spec, values)) from None
    if session.as_json:
        print_json(answer)
    if status == 202:
        return queued(answer)
    if not session.as_json:
        say(_summary(answer))
    return ExitCode.DONE


def _body(spec: CommandSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """The body that the flags describe: what was not given is left out, `-` is replaced by stdin."""
    body: dict[str, Any] = {}
    for flag in (*_verb(spec).flags, *_shared(spec)):
        value = values[_parameter(flag.target)]
        if value is None or value == ():
            continue
        value = read_stdin(flag.name) if flag.stdin and value == "-" else value
        member, _dot, inner = flag.target.partition(".")
        if inner:
            body.setdefault(member, {})[inner] = value
        else:
            body[member] = list(value) if isinstance(value, tuple) else value
    body.setdefault("actor_type", _default_actor(spec, body))
    return body


def _default_actor(spec: CommandSpec, body: Mapping[str, Any]) -> str:
    """Who acts when nobody is named; an answer to a guidance request is an operator's."""
    if body.get("payload", {}).get("control_type") == "guidance_answer":
        return "operator"
    return _verb(spec).actor


def _is_answer(spec: CommandSpec, values: Mapping[str, Any]) -> bool:
    """Whether only people may do it."""
    return _verb(spec).name == "answer" or values.get("payload__control_type") == "guidance_answer"


def _path(spec: CommandSpec, body: dict[str, Any]) -> str:
    """The route, with the values that stand in it taken out of the body."""
    return spec.path.format(**{name: segment(name, body.pop(name)) for name in _in_path(spec)})


def _in_path(spec: CommandSpec) -> list[str]:
    return [name for part in spec.parts for name, rule in rules_of(part).items() if rule.where == "path"]


def _summary(answer: Mapping[str, Any]) -> str:
    """What came of a write, in one line."""
    thread = answer.get("thread")
    if isinstance(thread, Mapping):
        assignee = f", assigned to {thread['assignee_name']}" if thread.get("assignee_name") else ""
        count = thread.get("posts_count", 0)
        posts = f"{count} post{'' if count == 1 else 's'}"
        facts = f"{thread.get('state')}, {thread.get('priority')}{assignee}, {posts}: {thread.get('title')}"
        return f"{one_line(thread.get('thread_id'))}  {one_line(facts)}"
    if "read" in answer:
        return _read_summary(answer["read"])
    seen = answer.get("seen", {})
    return f"{one_line(seen.get('thread_id'))}  seen up to #{seen.get('last_seen_event_sequence')}"


def _read_summary(read: Mapping[str, Any]) -> str:
    """What an agent has read now, and whether there is more."""
    count = len(read.get("post_ids", ()))
    more = "; there are more, repeat it" if read.get("more") else ""
    answers = f"{count} answer{'' if count == 1 else 's'}"
    return f"{one_line(read.get('thread_id'))}  {one_line(read.get('reader_name'))} has read {answers}{more}"
