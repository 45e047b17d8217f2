"""The documentation and the repository's texts: examples compile, names resolve, docstrings are there."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import arker
import arker_sync
from arker import errors, models

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PUBLIC_MODULES = [
    "arker",
    "arker.errors",
    "arker.models",
    "arker.client",
    "arker.vm",
    "arker.run",
    "arker.session",
    "arker.tunnel",
    "arker.fleet",
    "arker.config",
    "arker.directories",
    "arker.hooks",
    "arker.otel",
    "arker.progress",
    "arker.read_stream",
    "arker.transfer",
    "arker_sync",
    "arker_sync.client",
    "arker_sync.vm",
]


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def indented_example(docstring: str) -> list[str]:
    """Return a docstring's paragraphs of code: indented deeper than the text, with blocks, calls or `await`."""
    blocks = re.findall(r"(?:^ {4,}.*\n?)+", inspect.cleandoc(docstring), re.MULTILINE)
    code = re.compile(r"^\s*((async )?with |.*\bawait\b|.* = \w+\.\w+\()", re.MULTILINE)
    return [textwrap.dedent(block) for block in blocks if code.search(block)]


def exported_names(module: object) -> list[str]:
    names: list[str] = getattr(module, "__all__")  # noqa: B009 - what a checker knows of it depends on the module
    return names


def compiles(code: str, where: str) -> ast.AST:
    tree: ast.AST = compile(code, where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
    return tree


# --- examples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_python_blocks_compile(page: Path) -> None:
    for number, block in enumerate(python_blocks(page), 1):
        tree = compiles(block, f"{page.name}, block {number}")
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in {
                "arker",
                "arker_sync",
            }:
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page.name}, block {number}: no {node.module}.{alias.name}"


def test_there_are_pages() -> None:
    assert any(page.name == "README.md" for page in PAGES)
    assert sum(len(python_blocks(page)) for page in PAGES) >= 1


@pytest.mark.parametrize(
    "place",
    [
        *(arker, arker.AsyncArker, arker.AsyncArker.local, arker.AsyncArker.fork_many, arker.AsyncFleet.map),
        *(getattr(arker, name) for name in arker.__all__ if name.startswith("Async") and name != "AsyncArker"),
        *(arker_sync, arker_sync.Arker, arker_sync.Arker.local, arker_sync.VM),
    ],
)
def test_examples_in_docstrings_compile(place: Any) -> None:
    examples = indented_example(place.__doc__ or "")
    assert examples
    for example in examples:
        compiles(example, place.__name__)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_every_exported_name_resolves(name: str) -> None:
    module: Any = importlib.import_module(name)
    assert module.__doc__
    names = exported_names(module)
    assert len(set(names)) == len(names)
    for exported in names:
        assert hasattr(module, exported)


def test_the_root_exports_the_errors_and_the_models() -> None:
    assert {*errors.__all__, *models.__all__} < set(exported_names(arker))
    assert isinstance(arker.__version__, str)
    with pytest.raises(AttributeError):
        _ = arker.nothing


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SessionInfo", "Session"),
        ("RunStatusResponse", "Run"),
        ("RunNetworkRequest", "NetworkRequest"),
        ("RunNetworkStatus", "NetworkStatus"),
        ("RunInboundPortRequest", "InboundPortRequest"),
        ("RunTunnelStatus", "Tunnel"),
    ],
)
def test_older_names_are_aliases_that_warn(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"arker.{old} is an older name of arker.{new}"):
        assert getattr(arker, old) is getattr(arker, new)
    assert old not in exported_names(arker)


def test_a_star_import_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec("from arker import *", {})


# --- docstrings ------------------------------------------------------------------------------------------------------


def public_callables(module: Any) -> Iterator[tuple[str, Any]]:
    for name in exported_names(module):
        value: Any = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        yield f"{module.__name__}.{name}", value
        if not inspect.isclass(value):
            continue
        for member, function in inspect.getmembers(value):
            of_a_class = isinstance(function, property) or inspect.isfunction(function) or inspect.ismethod(function)
            getter: Any = function.fget if isinstance(function, property) else function
            ours = str(getattr(getter, "__module__", "")).startswith("arker")
            if of_a_class and ours and not member.startswith("_"):
                yield f"{module.__name__}.{name}.{member}", function


@pytest.mark.parametrize(
    "name", ["arker", "arker.errors", "arker.models", "arker.config", "arker.hooks", "arker.directories", "arker_sync"]
)
def test_every_public_callable_has_a_docstring(name: str) -> None:
    found = dict(public_callables(importlib.import_module(name)))
    assert len(found) > 3
    lacking = [
        where
        for where, value in found.items()
        # attrs makes one of its own for a class that has none
        if not (inspect.getdoc(value) or "").strip() or (value.__doc__ or "x").startswith("Method generated by attrs")
    ]
    assert not lacking


@pytest.mark.parametrize("cls", [getattr(arker, name) for name in arker.__all__ if name.startswith("Async")])
def test_arguments_are_documented(cls: type[Any]) -> None:
    """In the method's docstring; one that says where else to look need not repeat it."""
    for name, function in inspect.getmembers(cls, inspect.isfunction):
        text = inspect.getdoc(function) or ""
        if name.startswith("_") or "See `" in text:
            continue
        for parameter in inspect.signature(function).parameters:
            if parameter != "self":
                assert f"{parameter}: " in text, f"{cls.__name__}.{name}: {parameter}"


# --- what must not be in the repository ------------------------------------------------------------------------------


def tracked_files() -> list[str]:
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
        return [name for name in listed.split("\0") if name]
    # An unpacked source distribution, which holds tracked files only.
    sources = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.suffix in {".py", ".md", ".toml", ".txt"})
    return [str(path) for path in sources if not path.parts[0].startswith(".")]


def tracked_texts() -> Iterator[tuple[str, str]]:
    for name in tracked_files():
        path = ROOT / name
        if path.is_file():
            yield name, path.read_bytes().decode("utf-8", "replace")


ANYWHERE = {"/", "/app", "/build", "/home", "/root", "/src", "/tmp"}
"""Directories that texts may name for reasons of their own."""


def forbidden() -> re.Pattern[str]:
    """Put together here from parts, so that this file is not one that contains them."""
    hosts = ["pypi" + r"\.org/simple", "files" + r"\.pythonhosted", "registry" + r"\.npmjs", "index" + "-url"]
    places = {str(ROOT), str(ROOT.parent), str(Path.home())} - ANYWHERE
    return re.compile("|".join([*hosts, *(re.escape(place) + r"[/\\]" for place in sorted(places))]))


def test_no_address_of_a_registry_and_no_path_of_this_machine() -> None:
    pattern = forbidden()
    found = [f"{name}: {match[0]}" for name, text in tracked_texts() if (match := pattern.search(text))]
    assert not found


def test_the_search_finds() -> None:
    assert forbidden().search(f"see {ROOT}/notes")
    assert forbidden().search("https://pypi." + "org/simple/x")
    assert not forbidden().search("https://arker.ai/docs")


def test_files_are_read() -> None:
    names = {name for name, _ in tracked_texts()}
    assert {"arker/client.py", "tests/test_docs.py", "README.md"} <= names
