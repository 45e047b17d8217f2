"""The input of the generator: the files of the async surface and their classes."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Final

from attrs import field, frozen

RENAMED: Final = {"AsyncRun": "RunHandle", "AsyncSession": "SessionHandle", "AsyncTunnel": "TunnelHandle"}
"""Blocking names that are not the async ones without ``Async``, because models have those names."""

PARTS: Final = ("_client", "_vm", "_vmfiles")
"""Packages of parts of public classes."""


@frozen
class Source:
    """A file of the async surface.

    Attributes:
        module: Its dotted name.
        path: Its path from the root of the project.
        lines: Its lines.
        tree: Its syntax tree.
        classes: Its classes that are parts of public async classes, in their order.
    """

    module: str
    path: str
    lines: list[str] = field(repr=False)
    tree: ast.Module = field(repr=False)
    classes: tuple[ast.ClassDef, ...] = field(repr=False)

    @property
    def target(self) -> str:
        """The path of the generated file."""
        return self.path.replace("arker/", "arker_sync/", 1)

    @property
    def target_module(self) -> str:
        """The dotted name of the generated module."""
        return self.module.replace("arker", "arker_sync", 1)

    def segment(self, node: ast.AST) -> str:
        """Return the text of a node."""
        # As ast.get_source_segment, which goes through the whole text each time.
        assert isinstance(node, ast.stmt | ast.expr)
        assert node.end_lineno is not None
        lines = self.lines[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1].encode()[: node.end_col_offset].decode()
        lines[0] = lines[0].encode()[node.col_offset :].decode()
        return "\n".join(lines)

    def imports(self) -> dict[str, tuple[str, str, bool]]:
        """Return the file's imports: module, name there (maybe ``x as y``), and whether only type checkers see it."""
        found: dict[str, tuple[str, str, bool]] = {}
        for node in self.tree.body:
            checked = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            for each in node.body if checked and isinstance(node, ast.If) else [node]:
                if isinstance(each, ast.ImportFrom):
                    for alias in each.names:
                        text = alias.name if alias.asname is None else f"{alias.name} as {alias.asname}"
                        found[alias.asname or alias.name] = (each.module or "", text, checked)
                elif isinstance(each, ast.Import):
                    for alias in each.names:
                        found[alias.asname or alias.name.partition(".")[0]] = (alias.name, "", checked)
        return found

    def definitions(self) -> set[str]:
        """Return the names that the file defines at its top level."""
        found: set[str] = set()
        for node in self.tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
            elif isinstance(node, ast.Assign):
                found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        return found


@frozen
class Surface:
    """The async surface.

    Attributes:
        sources: The files of the surface.
        names: Each public async class, and its blocking name.
        twins: For each class without a base among them: the public async class that it is the base of.
        homes: The module of each class that is generated, by its blocking name.
    """

    sources: tuple[Source, ...]
    names: dict[str, str]
    twins: dict[str, str]
    homes: dict[str, str]

    def late(self, source: Source) -> set[str]:
        """Return the blocking classes that a file's twin imports late, as the file does with the async ones."""
        known, defined = source.imports(), source.definitions()
        there = {name for name, (_, _, checked) in known.items() if not checked} | defined
        return {blocking for name, blocking in self.names.items() if name not in there}


def read(root: Path) -> Surface:
    """Read the surface of the project at ``root``. The imported package determines its classes."""
    package = importlib.import_module("arker")
    exported: list[str] = package.__all__
    public = {name: getattr(package, name) for name in exported if name.startswith("Async")}
    names = {name: RENAMED.get(name, name.removeprefix("Async")) for name in public}
    taken = sorted(set(names.values()) & set(exported))
    if taken:
        raise SystemExit(f"these blocking names are taken, so give others in RENAMED: {', '.join(taken)}")
    parts: dict[str, set[str]] = {}
    twins: dict[str, str] = {}
    for name, cls in public.items():
        chain = [each for each in inspect.getmro(cls) if _is_part(each)]
        for each in chain:
            parts.setdefault(each.__module__, set()).add(each.__name__)
        twins[chain[-1].__name__] = name
    sources = tuple(_source(root, importlib.import_module(module), wanted) for module, wanted in sorted(parts.items()))
    homes = {names.get(each.name, each.name): source.target_module for source in sources for each in source.classes}
    return Surface(sources, names, twins, homes)


def _is_part(cls: type[object]) -> bool:
    """Return whether a class is a part of the surface: from a public module, or a package in `PARTS`."""
    package, _, rest = cls.__module__.partition(".")
    return package == "arker" and (not rest.startswith("_") or rest.partition(".")[0] in PARTS)


def _source(root: Path, module: ModuleType, wanted: set[str]) -> Source:
    installed = Path(str(importlib.import_module("arker").__file__)).parent.parent
    path = Path(str(module.__file__)).relative_to(installed)
    text = (root / path).read_text()
    tree = ast.parse(text)
    classes = tuple(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name in wanted)
    return Source(module.__name__, str(path), text.splitlines(), tree, classes)


__all__ = ["Source", "Surface", "read"]
