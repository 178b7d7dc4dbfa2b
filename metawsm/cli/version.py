"""`version`: what this program is made of."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

import click

from metawsm.cli.output import print_json, say


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def version(as_json: bool) -> None:
    """Print the versions of metawsm, Python, SQLite and the bundled Valkey."""
    facts = _facts()
    if as_json:
        print_json({"version": facts})
    else:
        say("\n".join(f"{name:8} {text}" for name, text in facts.items() if text))


def _facts() -> dict[str, str]:
    """Versions by name; an empty text for what is not bundled."""
    from metawsm.version import VERSION, build_info

    build = build_info()
    return {
        "metawsm": VERSION,
        "build": build.build_id,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "sqlite": _sqlite(),
        "valkey": build.valkey,
    }


def _sqlite() -> str:
    """The SQLite inside apsw: the first three numbers of its version are SQLite's, so it need not be loaded."""
    try:
        return ".".join(version_of("apsw").split(".")[:3])
    except PackageNotFoundError:
        return ""
