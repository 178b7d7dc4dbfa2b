"""The Transport on real Redis and on the bundled Valkey."""

from __future__ import annotations

from tests.contract.transport_suite import TransportSuite

pytest_plugins = ("tests.support.redis_fixtures",)


class TestRedisTransport(TransportSuite):
    """Both servers, each test on a fresh one."""
