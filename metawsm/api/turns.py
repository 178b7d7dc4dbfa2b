"""Giving way to others who share the loop."""

from __future__ import annotations

NEXT_TURN = 1e-9
"""Seconds of `gevent.sleep` for one turn of the loop, in which sockets and timers are looked at.

With 0 they are not: gevent runs callbacks, fifty before it looks at its clock, until 5 ms have passed (`_run_callbacks`
in its corecext.pyx, `sys.getswitchinterval`). With callbacks of 4 ms that is fifty of them.
"""
