"""Whole files of the blocking surface."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path
from typing import Final

from tools.facade import layout
from tools.facade.methods import Context, Function, is_wanted, render, without_arguments
from tools.facade.source import Source, Surface, read
from tools.facade.text import Turner

RUNTIME: Final = {
    "Any": "typing",
    "cast": "typing",
    "Iterator": "collections.abc",
    "Iterable": "collections.abc",
    "AsyncArker": "arker",
    "arker": "",
    "arker_sync": "",
    "_bridge": "arker_sync",
    "Facade": "arker_sync._bridge.facade",
    "Life": "arker_sync._bridge.life",
    "FileLike": "arker_sync._bridge.file_like",
    "twin": "arker_sync._bridge.facade",
    "held": "arker_sync._bridge.facade",
    "BlockingIterator": "arker_sync._bridge.iterating",
}
"""The imports of generated code, whatever its source imports."""

BASES: Final = {"AsyncArker": "Life", "AsyncTerminal": "FileLike", "AsyncItems": "BlockingIterator[T_co]"}
"""What twins of these classes stand on, which is written by hand; others stand on ``Facade``."""


def generate(root: Path) -> dict[str, str]:
    """Return the text of each file, by its path from the root of the project."""
    surface = read(root)
    turner = Turner(surface.names)
    files = {source.target: _module(source, surface, turner) for source in surface.sources}
    files["arker_sync/__init__.py"] = _root((root / "arker/__init__.py").read_text(), surface, turner)
    if turner.unused:
        raise SystemExit("not found any more, see PHRASES: " + "; ".join(sorted(turner.unused)))
    return files


def _header(source: str) -> str:
    return f'# Generated from {source} by "nox -s facade": change that file, not this one.\n'


def _module(source: Source, surface: Surface, turner: Turner) -> str:
    body: list[str] = []
    for cls in source.classes:
        body += ["", "", *_class(cls, source, surface, turner)]
    exported = [surface.names.get(each.name, each.name) for each in source.classes]
    names = ", ".join(f'"{name}"' for name in sorted(exported) if not name.startswith("_"))
    body += ["", "", f"__all__ = [{names}]"]
    text = "\n".join(body).strip("\n") + "\n"
    docstring = ast.get_docstring(source.tree, clean=False)
    assert docstring is not None
    head = [turner.docstring(docstring), "", "from __future__ import annotations", ""]
    head += _imports(text, source, surface)
    return _header(source.path) + "\n".join(head) + "\n\n\n" + text


def _class(cls: ast.ClassDef, source: Source, surface: Surface, turner: Turner) -> list[str]:
    context = Context(surface, source, turner, cls)
    name = surface.names.get(cls.name, cls.name)
    # What else the async class stands on is the machinery of its own, which the facade does not need.
    turned = {"Generic", *(each.name for file in surface.sources for each in file.classes)}
    bases = [turner.annotation(base) for base in map(source.segment, cls.bases) if base.partition("[")[0] in turned]
    is_root = cls.name in surface.twins
    if is_root:
        bases = [BASES.get(surface.twins[cls.name], "Facade"), *bases]
    lines = [f"class {name}({', '.join(bases)}):"]
    docstring = ast.get_docstring(cls, clean=False)
    if docstring is not None:
        lines += [f"    {turner.docstring(without_arguments(docstring, cls.name, '__init__'))}"]
    if is_root:
        # A generic class is a twin of one with the same parameters, unless its items are converted on the way.
        of = next((base.removeprefix("Generic") for base in bases if base.startswith("Generic[")), "")
        of = "[Any]" if "[" in bases[0] else of
        lines += ["", f"    _async: arker.{surface.twins[cls.name]}{of}"]
    functions: list[Function] = [each for each in cls.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
    overloaded = {each.name for each in functions if "overload" in [source.segment(d) for d in each.decorator_list]}
    for function in functions:
        by_hand = function.name == "__init__" and cls.name != "AsyncArker"
        if not is_wanted(function, cls) or by_hand:
            continue
        lines += ["", *_heading(function, cls, source)]
        lines += render(function, context, function.name in overloaded)
    return lines


def _heading(function: Function, cls: ast.ClassDef, source: Source) -> list[str]:
    """Return the line that begins a group of methods, if there is one before this method."""
    first = min([function.lineno, *(each.lineno for each in function.decorator_list)])
    before = source.lines[first - 3 : first - 1]
    found = [line for line in before if line.startswith("    # --- ")]
    return [found[0], ""] if found and first - 3 > cls.lineno else []


# --- imports ----------------------------------------------------------------------------------------------------------


class _Names(ast.NodeVisitor):
    """The names that code needs from outside of itself."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._local: list[set[str]] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [each for each in (arguments.vararg, arguments.kwarg) if each is not None]
        for each in every:
            if each.annotation is not None:
                self.visit(each.annotation)
        outside = [*arguments.defaults, *[each for each in arguments.kw_defaults if each], *node.decorator_list]
        for expression in outside:
            self.visit(expression)
        if node.returns is not None:
            self.visit(node.returns)
        assigned = {
            name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
        }
        imported = {alias.name for each in node.body if isinstance(each, ast.ImportFrom) for alias in each.names}
        self._local.append({each.arg for each in every} | assigned | imported)
        for statement in node.body:
            self.visit(statement)
        self._local.pop()

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._local.append({each.arg for each in node.args.args})
        self.visit(node.body)
        self._local.pop()

    def visit_Call(self, node: ast.Call) -> None:
        # The first argument of cast() is a type, as a string.
        if isinstance(node.func, ast.Name) and node.func.id == "cast" and isinstance(node.args[0], ast.Constant):
            self.visit(ast.parse(str(node.args[0].value), mode="eval"))
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) and not any(node.id in local for local in self._local):
            self.found.add(node.id)


def _imports(text: str, source: Source, surface: Surface) -> list[str]:
    names = _Names()
    tree = ast.parse(text)
    names.visit(tree)
    own = {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    wanted: dict[bool, dict[str, set[str]]] = {False: {}, True: {}}
    known, defined = source.imports(), source.definitions()
    for name in sorted(names.found - own - set(dir(builtins)) - {"self", "cls"}):
        module, text_of_name, checked = _origin(name, known, defined, source, surface)
        wanted[checked].setdefault(module, set()).add(text_of_name)
    if wanted[True]:
        wanted[False].setdefault("typing", set()).add("TYPE_CHECKING")
    lines = layout.imports(wanted[False])
    if wanted[True]:
        lines += ["", "if TYPE_CHECKING:", *layout.imports(wanted[True], indent=4)]
    return lines


def _origin(
    name: str, known: dict[str, tuple[str, str, bool]], defined: set[str], source: Source, surface: Surface
) -> tuple[str, str, bool]:
    if name in surface.homes:
        return surface.homes[name], name, name in surface.late(source)
    if name in surface.names and name != "AsyncArker":
        return "arker", name, True
    if name in RUNTIME and not (name in known and name not in {"Any", "cast"}):
        return (RUNTIME[name], name, False) if RUNTIME[name] else (name, "", False)
    if name in known:
        return known[name]
    if name in defined:
        return source.module, name, False
    raise SystemExit(f"{source.path}: where does {name} come from?")


# --- the package ------------------------------------------------------------------------------------------------------


def _root(text: str, surface: Surface, turner: Turner) -> str:
    """Return the text of `__init__.py`: the same exports, with the blocking classes for the async ones."""
    tree = ast.parse(text)
    docstring = ast.get_docstring(tree, clean=False)
    assert docstring is not None
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    late = _imported(checked.body, surface)
    for name, home in surface.homes.items():
        if name in surface.names.values():
            late.setdefault(home, set()).add(name)
    lines = text.splitlines()
    others = [node for node in checked.body if not isinstance(node, ast.ImportFrom)]
    head = [turner.docstring(docstring), "", "from __future__ import annotations", ""]
    head += [*layout.imports(_imported(tree.body, surface)), "", "if TYPE_CHECKING:", *layout.imports(late, indent=4)]
    head += ["", *(line for node in others for line in lines[node.lineno - 1 : node.end_lineno])]
    lazy = next(node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "lazy_root")
    table = lazy.args[1]
    assert isinstance(table, ast.Dict)
    assert checked.end_lineno is not None
    assert table.end_lineno is not None
    rest = [*lines[checked.end_lineno : table.lineno], *_homes(table, surface), *lines[table.end_lineno - 1 :]]
    body = "\n".join(rest)
    for name, blocking in surface.names.items():
        body = body.replace(f'    "{name}",\n', f'    "{blocking}",\n')
    body = _sorted_exports(body.replace("arker.{", "arker_sync.{"))
    return _header("arker/__init__.py") + "\n".join(head) + "\n" + body + "\n"


def _imported(statements: list[ast.stmt], surface: Surface) -> dict[str, set[str]]:
    """Return the imported names that have no twin, by module."""
    found: dict[str, set[str]] = {}
    for node in statements:
        # A module of the other package is no attribute of this one, though `models` is.
        if isinstance(node, ast.ImportFrom) and node.module != "__future__" and not node.names[0].asname:
            names = {alias.name for alias in node.names} - surface.names.keys()
            if names:
                found.setdefault(str(node.module), set()).update(names)
    return found


def _homes(table: ast.Dict, surface: Surface) -> list[str]:
    """Return the lines of the table of each name's module."""
    homes: dict[str, str] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        assert isinstance(key, ast.Constant)
        text = ast.unparse(value).replace("'", '"')
        if isinstance(value, ast.Constant):
            text = " ".join(name for name in str(value.value).split() if name not in surface.names)
            text = f'"{text}"' if text else ""
        homes[str(key.value)] = text
    homes |= {surface.homes[name]: f'"{name}"' for name in surface.names.values()}
    return [f'        "{module}": {names},' for module, names in sorted(homes.items()) if names]


def _sorted_exports(text: str) -> str:
    start = text.index("__all__ = [\n") + len("__all__ = [\n")
    end = text.index("]\n", start)
    lines = text[start:end].splitlines()
    constants = sorted(line for line in lines if line.strip(' ",').isupper() or "_" in line)
    others = sorted(line for line in lines if line not in constants)
    return text[:start] + "\n".join([*constants, *others]) + "\n" + text[end:]


__all__ = ["generate"]
