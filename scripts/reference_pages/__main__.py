"""Write the reference pages, or with --check say which are out of date (exit code 1)."""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.reference_pages.pages import pages

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"


def main(check: bool) -> int:
    """Compare each page with what is there; write it unless only checking."""
    old = [
        name
        for name, text in pages().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    if not check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name in old:
            (FOLDER / name).write_text(pages()[name], encoding="utf-8")
    for name in old:
        print(f"docs/reference/{name} {'is out of date: run scripts/reference' if check else 'written'}")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
