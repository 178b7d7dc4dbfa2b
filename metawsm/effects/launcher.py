"""What runs inside an agent's pane: the agent's program, and afterwards a shell for people to look around in.

The script below is constant. Commands, prompts and paths reach it as arguments or files and are never read as shell
text. The token comes in a file: the server of tmux shows, as long as it lives, what its first session was given. Job
control gives the agent a process group of its own, so that tmux names it, and not the script, as the program in front,
and Ctrl-C ends it alone. What was typed or pasted and not read by the agent is thrown away before the shell begins: it
would run it. The end is written down by the EXIT trap, because a bash leaves a script there when its foreground job was
ended by Ctrl-C (the code is 1 then, 130 in other shells). A bash also gets there when the terminal is gone; then
nothing is known, and the script has to end at once, because its end is what hangs up the agent.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from metawsm.bus.outside import Exit
from metawsm.domain.errors import Obstructed, OutsideError
from metawsm.effects import folder_tree, regular_file
from metawsm.effects.agent_program import takes_text

SCRIPT = """\
status=$1 prompt=$2 token=$3 shell=$4
shift 4
tell() { printf '%s\\n' "$@" >"$status.new" && mv -f "$status.new" "$status"; }
finish() {
    code=$?
    trap - EXIT
    [ -t 0 ] || exit
    tell "started $started" "ended $(date +%s)" "code $code"
    stty -icanon min 0 time 1
    cat >/dev/null
    stty sane
    printf '\\nmetawsm: the agent has ended with exit code %s; this shell is for looking around.\\n' "$code"
    exec "$shell"
}
started=$(date +%s)
tell "started $started"
[ -z "$token" ] || export METAWSM_TOKEN="$(cat "$token")"
[ -z "$prompt" ] || set -- "$@" "$(cat "$prompt")"
trap finish EXIT
trap : INT QUIT
trap '' TSTP
set -m
"$@"
exit $?
"""

STATUS, PROMPT, TOKEN = "status", "prompt", "token"
_TOLD = re.compile(r"(started|ended) ([0-9]{1,18})|(code) ([0-9]{1,3})")
"""A line of a status file; the agent could write there what no number holds."""

MOST_PROMPT = 100_000
"""Bytes; the system takes 128 KiB for one argument."""


class PaneLauncher:
    """The port `metawsm.bus.outside.Launcher`.

    `programs` is a folder of ours that panes find first on their PATH. In it, `metawsm` calls `invocation`, such as
    (python, the artifact). `shell` is what people get after the agent's end.
    """

    def __init__(self, programs: Path, invocation: Sequence[str], shell: str = "") -> None:
        self._programs = programs
        self._invocation = tuple(invocation)
        wanted = shell or os.environ.get("SHELL", "")
        self._shell = (shutil.which(wanted) if wanted else None) or "/bin/sh"

    def prepare(self, folder: Path, command: Sequence[str], prompt: str = "", token: str = "") -> tuple[str, ...]:
        """See the port. Raises Obstructed for too long a prompt, OutsideError when the disk does not take it."""
        if len(prompt.encode()) > MOST_PROMPT:
            raise Obstructed(f"The prompt has {len(prompt.encode())} bytes, more than the {MOST_PROMPT} that fit.")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / STATUS).unlink(missing_ok=True)
            for name, text in ((PROMPT, prompt), (TOKEN, token)):
                _write(folder / name, text, 0o600)
        except OSError as error:
            raise OutsideError(f"{folder} cannot be prepared for an agent: {error.strerror}.") from error
        given = [str(folder / name) if text else "" for name, text in ((PROMPT, prompt), (TOKEN, token))]
        return ("/bin/sh", "-c", SCRIPT, "metawsm-agent", str(folder / STATUS), *given, self._shell, *command)

    def exit(self, folder: Path) -> Exit:
        """See the port."""
        try:
            lines = regular_file.read(folder / STATUS).splitlines()
        except (OSError, Obstructed):  # the agent can put anything there; it must not keep us from ending it
            return Exit()
        told = {match[1] or match[3]: int(match[2] or match[4]) for match in map(_TOLD.fullmatch, lines) if match}
        return Exit(told.get("code"), told.get("started"), told.get("ended"))

    def forget(self, folder: Path) -> None:
        """See the port."""
        folder_tree.remove(folder)

    def search_path(self) -> str:
        """See the port. The wrapper is written if it is not there, or calls something else."""
        wrapper = self._programs / "metawsm"
        text = f'#!/bin/sh\nexec {shlex.join(self._invocation)} "$@"\n'
        try:
            self._programs.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _holds(wrapper, text):
                _write(wrapper, text, 0o700)
        except OSError as error:
            raise OutsideError(f"{wrapper} cannot be written: {error.strerror}.") from error
        return f"{self._programs}:{os.environ.get('PATH', os.defpath)}"

    def takes_text(self, front: str, command: str) -> bool:
        """See the port."""
        return takes_text(front, command, self.search_path())


def _holds(file: Path, text: str) -> bool:
    with suppress(FileNotFoundError, Obstructed):
        return regular_file.read(file) == text
    return False


def _write(file: Path, text: str, mode: int) -> None:
    """Write a file so that nobody ever sees half of it."""
    draft = file.with_name(f"{file.name}.new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(file)
