"""The public interface, compared with that of the last release: ``python -m tools.site.interface [COMMIT]``.

Until there is a release, it is compared with the commit that ``FIRST`` names. What breaks callers is printed, and has
to be in the changelog; a release with such changes has a new major version (before 1.0: minor).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FIRST: Final = "356f2f48d6d30aa6e5716ec60cdaf1d0f5b8ac9e"
PACKAGES: Final = ("arker", "arker_sync", "arker_pytest")


def base(arguments: list[str]) -> str:
    """Return the commit to compare with."""
    if arguments:
        return arguments[0]
    command = ["git", "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or FIRST


def main() -> int:
    """Compare each package. Return 1 if an interface that callers may use has changed."""
    against = base(sys.argv[1:])
    print(f"compared with {against}")
    failed = 0
    for package in PACKAGES:
        command = [sys.executable, "-m", "griffe", "check", package, "--against", against, "--search", "."]
        done = subprocess.run(command, cwd=ROOT, check=False)
        print(f"{package}: {'as before, or more' if done.returncode == 0 else 'changed'}")
        failed += done.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
