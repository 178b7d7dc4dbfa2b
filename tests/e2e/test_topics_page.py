"""The page about topics: its command sent by hand is one that the daemon does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import Daemon
from tests.support.eventually import eventually
from tests.support.pages import Terminal, blocks, path_with
from tests.support.redis_tcp import RedisTcp


def test_a_command_sent_by_hand(
    pyz: Path, start_daemon: Callable[..., Daemon], redis_server: Callable[..., RedisTcp]
) -> None:
    """Copied from the page, it asks the question, and the page's second command says that it was done."""
    [example] = [block.text for block in blocks("docs/reference/topics.md") if block.language == "bash"]
    sent, _, outcome = example.partition("metawsm.pyz")
    redis = redis_server()
    daemon = start_daemon("--redis", redis.url, command=[sys.executable, str(pyz)])
    env = {"PATH": path_with(pyz.parent), "METAWSM_SERVER": f"http://127.0.0.1:{daemon.port}"}
    with Terminal(daemon.folder, env, strict=False) as terminal:
        terminal.run(f'redis-cli() {{ command redis-cli -p {redis.port} "$@"; }}')
        assert terminal.run(sent)[0] == 0
        eventually(lambda: "my-command-1 applied" in terminal.run(f"metawsm.pyz{outcome}")[1])
        assert "MET-1" in terminal.run("metawsm.pyz forum list")[1]
