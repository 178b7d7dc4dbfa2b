"""`python -m metawsm`: the command line, from a checkout."""

from __future__ import annotations

from metawsm.cli.main import main

if __name__ == "__main__":
    main()
