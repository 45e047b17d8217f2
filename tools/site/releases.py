"""The tags of releases, and the commit that the public interface is compared with.

``python -m tools.site.releases`` prints that commit, and fails where this checkout does not have it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TAG: Final = re.compile(r"v\d+\.\d+\.\d+")
FIRST: Final = "356f2f48d6d30aa6e5716ec60cdaf1d0f5b8ac9e"
"""What stands for the last release until there is one."""


def git(*arguments: str) -> str | None:
    """Return what git prints in this checkout, or None if it fails, as it does in an unpacked archive."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def tags() -> list[str]:
    """List the tags of releases, the newest first."""
    return [tag for tag in (git("tag", "--sort=-v:refname") or "").split() if TAG.fullmatch(tag)]


def base(asked: str | None = None) -> str:
    """Return the commit or tag that was asked for, or else the last release before this state of the source.

    Raises:
        LookupError: This checkout does not have it: it is shallow, or no git repository.
    """
    wanted = asked or git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*") or FIRST
    if git("cat-file", "-e", f"{wanted}^{{commit}}") is None:
        raise LookupError(f"{wanted} is not in this checkout: it is shallow, without tags, or no git repository")
    return wanted


def main() -> int:
    """Print the commit to compare with. Return the exit code."""
    try:
        print(base())
    except LookupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
