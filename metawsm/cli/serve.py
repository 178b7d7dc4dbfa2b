"""`serve`: the daemon's options; everything it needs is loaded only then."""

from __future__ import annotations

import re

import click

DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h))")
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Address(click.ParamType[tuple[str, int]]):
    """`host:port`; `:3001` means this machine only, another interface must be named."""

    name = "address"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """The host (without brackets) and the port (0: any free one)."""
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        good = colon and port.isascii() and port.isdigit() and int(port[:6]) < 65536
        if not good or (":" in host and not str(value).startswith("[")):
            self.fail(f"{value!r} is not an address such as 127.0.0.1:3001, :3001 or [::1]:3001", param, ctx)
        return host or "127.0.0.1", int(port)


class Duration(click.ParamType[float]):
    """A time such as 5s, 500ms or 1m30s; a bare number is seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The time in seconds."""
        if isinstance(value, float):
            return value
        text = str(value)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            return float(text)
        if not re.fullmatch(f"({DURATION.pattern})+", text):
            self.fail(f"{value!r} is not a time such as 5s, 500ms or 1m30s", param, ctx)
        return sum(float(number) * UNITS[unit] for number, unit in DURATION.findall(text))


@click.command()
@click.option(
    "--addr",
    type=Address(),
    default="127.0.0.1:3001",
    show_default=True,
    help="Where to listen; :3001 means this machine only, another interface must be named (0.0.0.0:3001).",
)
@click.option("--db", default=".metawsm/metawsm.db", show_default=True, metavar="FILE", help="The database.")
@click.option("--policy", metavar="FILE", help="The policy file. [default: .metawsm/policy.json, if it is there]")
@click.option("--redis", metavar="URL", help="The Redis to use; embedded:// is the bundled one. [default: policy]")
@click.option(
    "--shutdown-timeout",
    type=Duration(),
    default="5s",
    show_default=True,
    help="How long requests in work may take when the daemon is stopped.",
)
def serve(addr: tuple[str, int], db: str, policy: str | None, redis: str | None, shutdown_timeout: float) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    \b
    metawsm.pyz serve
    metawsm.pyz serve --addr 0.0.0.0:3001 --redis redis://127.0.0.1:6379/1
    """
    from metawsm.daemon.serve import run

    run(address=addr, database=db, policy=policy, redis=redis, shutdown_timeout=shutdown_timeout)
