"""The reference page of the command line, written from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from metawsm.cli.exit_codes import ExitCode
from metawsm.cli.main import root

HEAD = """\
# The command line

`metawsm.pyz COMMAND`. Every verb of `forum` and of runs takes `--server` (for `forum` also before the verb, or
METAWSM_SERVER) and `--json`: the daemon's answer as it is on stdout, everything else on stderr. Ticket, run, agent and
actor default to METAWSM_TICKET, METAWSM_RUN_ID, METAWSM_AGENT, METAWSM_ACTOR_TYPE and METAWSM_ACTOR_NAME. The token is
taken from METAWSM_TOKEN, from the file METAWSM_TOKEN_FILE, or from `.metawsm/token` in the working directory or above
it. Proxies are never used.

A write carries a key of its own (`--command-id` of the verbs of `forum` sets it), so it is repeated safely, up to three
times in all, when the connection is lost before the answer or the daemon asks to come back.

A verb of a run is about `--run-id`, or about the latest run of `--ticket`; with both, the run must be one of the
ticket. What changes a run tells its steps on stderr as they begin and end, and ends with 0 when they were done, with 1
when one failed; with `--json` stdout then has the run as it is after them. An interrupt ends the telling, not the run.

This page is generated from the commands in `metawsm/cli/`.
"""
MEANING = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "mistake in the command line",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.CONFLICT: "conflict or illegal transition",
    ExitCode.NOT_ALLOWED: "not allowed",
    ExitCode.UNREACHABLE: "daemon unreachable",
    ExitCode.INVALID: "invalid values",
    ExitCode.QUEUED: "accepted but still queued or pending",
    ExitCode.INTERRUPTED: "interrupted",
}


def reference() -> str:
    """The page `docs/reference/cli.md` as Markdown."""
    codes = [f"| {int(code)} | {meaning} |" for code, meaning in MEANING.items()]
    codes.insert(len(codes) - 1, "| 78 | the file was built for another Python; said before anything else is loaded |")
    parts = [HEAD, "\n".join(["## Exit codes", "", "| code | meaning |", "|---|---|", *codes, ""])]
    parts += [f"## {path}\n\n```text\n{text}\n```\n" for path, text in _helps(root, "metawsm.pyz", None)]
    return "\n".join(parts)


def _helps(command: click.Command, path: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    """Path and help of a command and of all below it."""
    context = command.make_context(path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True)
    context.terminal_width = 100
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _helps(inner, f"{path} {name}", context)
