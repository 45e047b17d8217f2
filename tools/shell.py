"""A check of the packages' shell programs: ``python -m tools.shell``, a part of ``nox -s lint``.

shellcheck looks for mistakes in POSIX ``sh`` mode, and each shell that is to run the programs parses them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = ("arker", "arker_pytest", "arker_sync")
SHELLS: Final = ("dash", "bash")


def programs() -> list[Path]:
    """Find all shell programs of the packages."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.sh"))]


def check(paths: list[Path]) -> bool:
    """Check programs, and print the faults. Return whether there are none."""
    # SC2016: what is handed to another `sh -c` stands in single quotes, since it is that shell which expands it.
    commands = [["shellcheck", "--shell=sh", "--severity=style", "--exclude=SC2016", *map(str, paths)]]
    commands += [[shell, "-n", str(path)] for shell in SHELLS for path in paths]
    missing = {name for name, *_ in commands if shutil.which(name) is None}
    if missing:
        # A check that is left out must not look like one that has passed.
        print(f"these programs are needed, and not installed: {', '.join(sorted(missing))}", file=sys.stderr)
        return False
    failures = [command for command in commands if subprocess.run(command, check=False).returncode]
    return not failures


if __name__ == "__main__":
    found = programs()
    print(f"shell programs: {len(found)}")
    sys.exit(0 if check(found) else 1)
