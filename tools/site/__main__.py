"""Build the site of the docs: ``python -m tools.site``, what ``nox -s docs`` runs.

Warnings are errors. Afterwards every link is followed within the site, no page may load anything from elsewhere, every
drawing has to follow the reader's theme, and every public name of the packages has to be there. ``--versions`` builds
the site of each tag beside it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast

from sphinx.util.inventory import InventoryFile

from tools.site.drawings import ill_coloured
from tools.site.links import broken, broken_in_markdown
from tools.site.names import PACKAGES
from tools.site.releases import ROOT, tags

OUT: Final = ROOT / "build" / "site"


def build(source: Path, out: Path, name: str, versions: list[str]) -> bool:
    """Build one version of the site. Return whether Sphinx found nothing to complain about."""
    environment = {**os.environ, "ARKER_DOCS_VERSION": name, "ARKER_DOCS_VERSIONS": " ".join(versions)}
    if name == "latest":
        del environment["ARKER_DOCS_VERSION"]
    command = [sys.executable, "-m", "sphinx", "-b", "html", "--fail-on-warning", "--keep-going", "--quiet"]
    command += ["--jobs", "auto", "--doctree-dir", str(out.parent / ".doctrees" / name), str(source / "docs"), str(out)]
    shutil.rmtree(out, ignore_errors=True)
    return subprocess.run(command, cwd=source, env=environment, check=False).returncode == 0


def missing_names(site: Path) -> Iterator[str]:
    """Yield the public names that the site does not describe."""
    inventory: Any = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    entries = cast("Mapping[str, Mapping[str, object]]", getattr(inventory, "data", inventory))
    described = {name for kind in entries.values() for name in kind}
    arker = importlib.import_module("arker")
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in cast("list[str]", module.__all__):
            same = package != "arker" and getattr(arker, name, None) is getattr(module, name)
            known = f"{package}.{name}" in described or (same and f"arker.{name}" in described)
            if not known and f"arker.{name}" not in described:
                yield f"{package}.{name} is not described"


def build_tag(tag: str, versions: list[str]) -> bool:
    """Build the site of a release, from its tag."""
    with tempfile.TemporaryDirectory() as scratch:
        checkout = Path(scratch, tag)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(checkout), tag], cwd=ROOT, check=True)
        try:
            return build(checkout, OUT / tag, tag, versions)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(checkout)], cwd=ROOT, check=True)


def main() -> int:
    """Build, check, and print what was found. Return the exit code."""
    parser = argparse.ArgumentParser(description="Build the site of the docs.")
    parser.add_argument("--versions", action="store_true", help="build the site of every release as well")
    arguments = parser.parse_args()
    started = time.monotonic()
    versions = ["latest", *tags()] if arguments.versions else []
    site = OUT / "latest"
    good = build(ROOT, site, "latest", versions)
    for tag in versions[1:]:
        good = build_tag(tag, versions) and good
    (OUT / "index.html").write_text('<!doctype html><meta http-equiv="refresh" content="0; url=latest/index.html">\n')
    found = [*broken(site, OUT), *ill_coloured(site), *missing_names(site)]
    for path in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]:
        found += broken_in_markdown(path)
    for line in found:
        print(line)
    pages = len(list(site.rglob("*.html")))
    took = time.monotonic() - started
    print(f"{pages} pages in {site.relative_to(ROOT)}; {len(found)} faults of links, drawings and names; {took:.0f} s")
    return 0 if good and not found else 1


if __name__ == "__main__":
    sys.exit(main())
