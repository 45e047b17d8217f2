"""Build what a release consists of, and check it: ``python -m tools.package``, what ``nox -s package`` runs.

The source distribution and the wheel are built twice and must be the same, byte for byte. Then twine, pyroma and
check-wheel-contents look at them, and the components that the wheel needs are listed as CycloneDX in
``build/sbom.cdx.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"
COMPONENTS: Final = ROOT / "build" / "sbom.cdx.json"


def run(*command: str) -> None:
    """Run a command, which has to succeed."""
    print("+", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def build(out: Path) -> dict[str, str]:
    """Build both distributions. Return their names and digests."""
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", str(out))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}


def list_components(wheel: Path) -> None:
    """List what an installation of the wheel consists of."""
    COMPONENTS.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        python = str(Path(scratch, "bin", "python"))
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"{wheel}[all]")
        run(python, "-m", "pip", "uninstall", "--quiet", "--disable-pip-version-check", "--yes", "pip")
        run("cyclonedx-py", "environment", "--output-reproducible", "--output-file", str(COMPONENTS), python)


def main() -> int:
    """Build and check. Return the exit code."""
    parser = argparse.ArgumentParser(description="Build and check the distributions.")
    parser.add_argument("--tag", help="the tag whose version they must have, such as v1.2.3")
    arguments = parser.parse_args()
    first = build(DIST)
    with tempfile.TemporaryDirectory() as scratch:
        second = build(Path(scratch, "dist"))
    for name, digest in first.items():
        print(f"{digest}  {name}")
    if first != second:
        print(f"the second build differs: {second}", file=sys.stderr)
        return 1
    print("both builds are the same, byte for byte")
    files = [str(DIST / name) for name in first]
    wheel = next(Path(name) for name in files if name.endswith(".whl"))
    if arguments.tag is not None and wheel.name.split("-")[1] != arguments.tag.removeprefix("v"):
        print(f"{wheel.name} is not the version of {arguments.tag}", file=sys.stderr)
        return 1
    run("twine", "check", "--strict", *files)
    run("check-wheel-contents", str(wheel))
    run("pyroma", "--min", "10", ".")
    list_components(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
