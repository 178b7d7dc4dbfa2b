"""One daemon for all contract tests of REST; each test works on tickets and threads of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon
from tests.support.rest import Rest


@pytest.fixture(scope="session")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rest]:
    """The REST interface of a running daemon with the bundled Redis."""
    daemon = Daemon(None, tmp_path_factory.mktemp("rest"), "--redis", "embedded://")
    yield Rest(daemon)
    daemon.end()
