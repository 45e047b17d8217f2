"""How each block of each page is run: ``python -m tests.pages`` prints it, without running any."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.pages.blocks import KINDS, PAGES, ROOT, Page


def main() -> int:
    """Print a table of the pages, and the reason for each block that is not run."""
    columns = [*KINDS, "hidden", "not run"]
    width = max(len(str(path.relative_to(ROOT))) for path in PAGES)
    print("page".ljust(width), *(column.rjust(8) for column in columns))
    total: Counter[str] = Counter()
    reasons: list[str] = []
    for path in PAGES:
        name = str(path.relative_to(ROOT))
        with TemporaryDirectory() as directory:
            page = Page(path, Path(directory), {})
            blocks = list(page.blocks())
            page.close()
        counts = Counter("not run" if block.reason else "hidden" if block.hidden else block.kind for block in blocks)
        reasons += [f"{name}:{block.line}: {block.kind}: {block.reason}" for block in blocks if block.reason]
        total += counts
        if counts:
            print(name.ljust(width), *(str(counts[column] or "").rjust(8) for column in columns))
    print("all".ljust(width), *(str(total[column]).rjust(8) for column in columns))
    print("", *reasons, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
