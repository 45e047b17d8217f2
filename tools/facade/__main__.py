"""The command line: ``python -m tools.facade [--check]``."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.facade.package import generate

ROOT = Path(__file__).parent.parent.parent


def main(words: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Run the generator.

    Args:
        words: The command line, if it is not this process's.
        root: The root directory of the project.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.facade", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if anything would change")
    arguments = parser.parse_args(words)
    wanted = generate(root)
    stale = {name: text for name, text in wanted.items() if _read(root / name) != text}
    marked = {str(path.relative_to(root)) for path in (root / "arker_sync").rglob("*.py") if is_generated(path)}
    left = sorted(marked - wanted.keys())
    if arguments.check:
        for name, text in stale.items():
            old = (_read(root / name) or "").splitlines(keepends=True)
            sys.stdout.writelines(
                difflib.unified_diff(old, text.splitlines(keepends=True), name, f"{name} (generated)")
            )
        for name in left:
            print(f"{name}: nothing gives this file any more")
        return 1 if stale or left else 0
    for name, text in stale.items():
        (root / name).write_text(text)
        print(f"written: {name}")
    for name in left:
        (root / name).unlink()
        print(f"removed: {name}")
    return 0


def is_generated(path: Path) -> bool:
    """Return whether a file's heading says that it was generated."""
    return path.read_text().startswith("# Generated from ")


def _read(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
