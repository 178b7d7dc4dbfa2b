"""What every verb that talks to the daemon shares: its address, the token, and the choice of JSON."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from metawsm.cli.output import note
from metawsm.cli.text import one_line
from metawsm.client.address import parse_address
from metawsm.client.http import Client
from metawsm.client.token import Found, find_token

DEFAULT_SERVER = "http://127.0.0.1:3001"


class Session:
    """One run of a verb. `as_json` says that stdout belongs to a program."""

    def __init__(self, server: str, as_json: bool) -> None:
        self.server = server
        self.as_json = as_json
        self.sent = Found(None, "")
        """The token that goes with each request, and where it is from."""

    @functools.cached_property
    def client(self) -> Client:
        """The client, with the token that was found; token files that were passed over are noted."""
        found = find_token(os.environ, _here())
        for text in found.notes:
            note(one_line(f"note: {text}"))
        if found.token and not found.named and not parse_address(self.server).is_loopback:
            told = f"note: the token of {found.source} is not sent to {self.server}; name one in METAWSM_TOKEN_FILE"
            note(one_line(told))
            return Client(self.server, None)
        self.sent = found
        return Client(self.server, found.token)

    def get(self, path: str, query: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The JSON object that a read answers."""
        return self.client.call("GET", path, query)[1]


def thread_named(argument: str | None, option: str | None) -> str:
    """The thread that a verb is about: its argument, or its --thread-id. Raises UsageError for none and for two."""
    if argument is not None and option is not None:
        raise click.UsageError(f'"{argument}" and --thread-id {option} name two threads; or are there quotes missing?')
    wanted = option if argument is None else argument
    if wanted is None:
        raise click.UsageError("say which thread: as an argument, or with --thread-id")
    return wanted


def _here() -> str:
    """The working directory; where it was deleted, the root, above which there is nothing to look for."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def server_option(**settings: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option --server; on the group and on each verb, so that it may stand before and after the verb."""
    return click.option(
        "--server", metavar="URL", help=f"Address of the daemon. [default: {DEFAULT_SERVER}]", **settings
    )


def connected(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options --server and --json and hand it a Session as its first argument."""

    @functools.wraps(verb)
    def run(server: str | None, as_json: bool, **values: Any) -> Any:
        named = server or click.get_current_context().find_object(str) or os.environ.get("METAWSM_SERVER")
        return verb(Session(named or DEFAULT_SERVER, as_json), **values)

    with_json = click.option("--json", "as_json", is_flag=True, help="Print the daemon's JSON answer.")(run)
    return server_option()(with_json)
