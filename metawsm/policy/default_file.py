"""The file that `policy-init` writes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from metawsm.domain.errors import Refused
from metawsm.policy.sections import Policy
from metawsm.policy.structuring import unstructure


def default_text() -> str:
    """Every setting with its default, as JSON; without `forum.redis.url`, so that the choice of a Redis stays open."""
    plain = unstructure(Policy())
    del plain["forum"]["redis"]["url"]
    return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"


def write_default(path: Path, force: bool) -> None:
    """Write the default policy to `path`, whole or not at all; parents are made.

    Raises Refused when the file exists and `force` is false, or when it cannot be written.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _place(default_text(), path, force)
    except FileExistsError:
        raise Refused(f"policy file {path} exists already; use --force to replace it") from None
    except OSError as error:
        raise Refused(f"policy file {path} cannot be written: {error.strerror}") from None


def _place(text: str, path: Path, force: bool) -> None:
    """Write beside the target, then move (force) or link (which fails if the target exists)."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        (os.replace if force else os.link)(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
