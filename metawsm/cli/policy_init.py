"""`policy-init`: write the default policy file."""

from __future__ import annotations

from pathlib import Path

import click

from metawsm.cli.output import note, print_json, say


@click.command("policy-init")
@click.option("--policy", default=".metawsm/policy.json", show_default=True, metavar="FILE", help="File to write.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def policy_init(policy: str, force: bool, as_json: bool) -> None:
    """Write the default policy file.

    Every setting stands in it with its default, except forum.redis.url: while that is not set, the daemon uses a Redis
    that answers at its usual place, or starts the bundled one. docs/reference/policy.md explains each setting.
    """
    from metawsm.policy import write_default

    write_default(Path(policy), force)
    if as_json:
        print_json({"policy": {"path": policy}})
    else:
        say(policy)
    note("the default policy is written; docs/reference/policy.md explains each setting")
    note("a daemon reads it when it starts: after a change, restart it")
