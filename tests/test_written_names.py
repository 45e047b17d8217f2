"""Names of files, modules and headings that stand in pages and settings: each leads somewhere."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK: Final = re.compile(r"\]\((?!\w+:)([^)#\s]*)(?:#([^)\s]*))?\)")
FILE: Final = re.compile(r"`([\w/.-]*[\w-]\.(?:py|sh|md|toml))`")
PLACES: Final = (
    *("", "arker", "arker/_basics", "arker/emulator", "arker/emulator/server", "arker/emulator/sandbox"),
    "arker_sync/_bridge",
)
"""The directories that the architecture's page speaks of."""


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for name, anchor in LINK.findall(page.read_text()):
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} has a link to {name}"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{page.name} has a link to {name}#{anchor}"


def test_the_files_of_the_architecture_s_page_exist() -> None:
    names = set(FILE.findall((ROOT / "docs/architecture.md").read_text())) - {"NAME.sh"}
    assert len(names) > 20
    assert not [name for name in sorted(names) if not any((ROOT / place / name).exists() for place in PLACES)]


def setting(name: str) -> list[str]:
    """Return a list or the keys of a table in pyproject.toml; Python 3.10 has no reader of it."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.search(rf"^{re.escape(name)} = (\[.*?\])$", text, re.MULTILINE | re.DOTALL)
    if found is not None:
        return [str(each) for each in ast.literal_eval(found[1])]
    table = re.search(rf"^\[{re.escape(name)}\]\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    assert table is not None, f"there is no {name}"
    return re.findall(r'^"(.*?)" = ', table[1], re.MULTILINE)


@pytest.mark.parametrize("name", ["packages", "include", "testpaths"])
def test_the_paths_of_the_settings_exist(name: str) -> None:
    paths = setting(name)
    assert paths
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_the_linter_s_exceptions_are_for_what_exists() -> None:
    patterns = setting("tool.ruff.lint.per-file-ignores")
    assert patterns
    assert not [pattern for pattern in patterns if next(ROOT.glob(pattern), None) is None]
    functions = setting("extend-immutable-calls")
    assert functions
    for function in functions:
        module, _, name = function.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name)), function
