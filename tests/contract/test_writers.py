"""Both writers keep the contract of the port."""

from __future__ import annotations

import gevent
import pytest

from tests.contract.writer_suite import Lab, WriterSuite
from tests.support.storage_lab import insert


class TestHubWriter(WriterSuite):
    """Commits as callbacks of the hub."""

    kind = "hub"

    def test_a_job_that_wants_to_block_is_refused(self, lab: Lab) -> None:
        """A job may not switch greenlets; one that tries fails alone."""
        with pytest.raises(gevent.exceptions.BlockingSwitchOutError):
            lab.writer.run(lambda db: (insert(db, 1), gevent.sleep(0.01)))
        assert lab.values() == []


class TestThreadWriter(WriterSuite):
    """Commits in a thread of its own."""

    kind = "thread"
