"""The command line: finds the command, runs it, and turns whatever happens into an exit code."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, NoReturn

import click

from metawsm.cli.exit_codes import ExitCode, exit_code
from metawsm.cli.failures import Failure, bug_line, lines, system_line, usage_line
from metawsm.cli.lazy import UNCUT, LazyGroup
from metawsm.cli.output import note, print_json, say, silence_stdout
from metawsm.domain.errors import MetawsmError


class Root(LazyGroup):
    """The commands of metawsm, and the sections in which its help shows them."""

    sections = {
        "The daemon": {
            "serve": "metawsm.cli.serve:serve",
            "policy-init": "metawsm.cli.policy_init:policy_init",
            "doctor": "metawsm.cli.doctor:doctor",
            "backup": "metawsm.cli.backup:backup",
            "jobs": "metawsm.cli.jobs:jobs",
            "import": "metawsm.cli.import_:import_",
            "version": "metawsm.cli.version:version",
        },
        "Questions and answers": {
            "forum": "metawsm.cli.forum:forum",
        },
        "Runs (agents at work)": {
            "bootstrap": "metawsm.cli.run_start:bootstrap",
            "run": "metawsm.cli.run_start:run",
            "status": "metawsm.cli.run_status:status",
            "watch": "metawsm.cli.run_watch:watch",
            "resume": "metawsm.cli.run_verbs:resume",
            "stop": "metawsm.cli.run_verbs:stop",
            "restart": "metawsm.cli.run_verbs:restart",
            "iterate": "metawsm.cli.run_verbs:iterate",
            "merge": "metawsm.cli.run_verbs:merge",
            "close": "metawsm.cli.run_verbs:close",
            "cleanup": "metawsm.cli.run_verbs:cleanup",
            "operator": "metawsm.cli.run_operator:operator",
        },
    }
    where = {name: place for section in sections.values() for name, place in section.items()}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A list of commands for each section."""
        for head, names in self.sections.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(head):
                formatter.write_dl([(name, command.get_short_help_str(UNCUT)) for name, command in found if command])


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from metawsm.version import VERSION

        say(f"metawsm {VERSION}")
        context.exit()


@click.command(
    cls=Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 5 not allowed, 6 no daemon, 7 invalid"
    " values, 75 accepted but not done yet, 130 interrupted.",
)
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
def root() -> None:
    """A durable forum in which agents ask and operators and humans answer, and the runs that agents work in.

    Start the daemon with `metawsm.pyz serve`; everything else talks to it.
    """


def main() -> NoReturn:
    """Run the command line of this process and end it with the right exit code."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: Any = getattr(sys, name) or open(os.devnull, mode)  # noqa: SIM115 - it was closed before we began
        if mode == "w":
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(run(sys.argv[1:]))


def _stop(number: int, frame: FrameType | None) -> None:
    """End like an interrupt does; the daemon sets its own handler."""
    raise SystemExit(128 + number)


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code. Errors become lines on stderr."""
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return ExitCode.DONE
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        note(error.format_message())
        return ExitCode.USAGE
    except click.ClickException as error:
        note(usage_line(error))
        return ExitCode.USAGE
    except Failure as failure:
        told = lines(failure.error, failure.flags, failure.sent, agents=failure.agents)
        return _told(failure.error, told, as_json="--json" in arguments)
    except MetawsmError as error:
        return _told(error, lines(error, {}), as_json="--json" in arguments)
    except OSError as error:
        silence_stdout()  # where the fault is its own, the interpreter's last flush would fail again
        note(system_line(error))
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - a bug, or a fault that no driver's list knows; people get a line of it
        note(bug_line(error))
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.DONE


def _invoke(arguments: list[str]) -> object:
    """Let click run the command; its own `main` would print a line of its own for interrupts and broken pipes.

    `help` is what many type first: `help forum ask` shows what `forum ask --help` shows.
    """
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        with root.make_context("metawsm.pyz", list(arguments)) as context:
            return root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code


def _told(error: MetawsmError, texts: list[str], as_json: bool) -> int:
    """Write the lines, the daemon's own answer for a program, and return the exit code of the error."""
    if as_json and (answer := getattr(error, "answer", None)):
        try:
            print_json(answer)
        except BrokenPipeError:  # the code tells enough
            silence_stdout()
    for text in texts:
        note(text)
    return exit_code(error)
