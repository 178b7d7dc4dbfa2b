"""How long to wait before trying again."""

from __future__ import annotations

import os


def pause(failures: int, first: float, factor: float, longest: float) -> float:
    """Seconds to wait after so many failures (0 for the first), with chance in it so that clients spread out."""
    return min(longest, first * factor**failures) * (0.5 + os.urandom(1)[0] / 256)
