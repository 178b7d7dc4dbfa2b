"""Giving way to others who share the loop."""

from __future__ import annotations

NEXT_TURN = 1e-9
"""Seconds of `gevent.sleep` for one turn of the loop, in which sockets and timers are looked at.

With 0 they are not, until fifty callbacks have run (`_run_callbacks` in gevent's corecext.pyx).
"""
