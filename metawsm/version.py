"""Which metawsm this is: the version number, and what the build wrote into the artifact."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import frozen

VERSION = "0.1.0"

_BUILD_FILE = Path(__file__).with_name("build.json")


@frozen
class Build:
    """Where this code comes from.

    `build_id` is the SHA-256 (hex, 32 characters kept) of all files in the artifact, and `source` for a plain checkout.
    `python` is the CPython minor ("3.11") and `platform` the system ("linux-x86_64") it was built for; both are empty
    for a checkout. `valkey` is the version of the bundled server, empty when none is bundled.
    """

    build_id: str
    python: str
    platform: str
    valkey: str


def build_info() -> Build:
    """Read what `build.py` left beside this module; a checkout has no such file and says so."""
    try:
        written = json.loads(_BUILD_FILE.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Build(build_id="source", python="", platform="", valkey="")
    return Build(**written)
