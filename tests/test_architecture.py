"""The architecture as it is written down, against the code; and the commands of the README, against CI's."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from typing import Final

import pytest

import arker

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "arker"

UPWARD: Final = {
    ("arker.errors.runs", "arker.models.run"): "an annotation: `RunFailedError` carries the whole result",
    ("arker.errors.files", "arker.directories"): "an annotation: `DirectoryConflictError` carries the plan",
}
"""Imports from a layer above, each with its reason."""


def layers() -> list[list[str]]:
    """Return the page's layers from top to bottom: the modules and packages of each, by their dotted names."""
    block = re.search(r"^```layers\n(.*?)\n```", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    lines = [line.partition("  ")[0].split() for line in block[1].splitlines()]
    return [[dotted(name) for name in line] for line in lines]


def dotted(name: str) -> str:
    return "arker" if name == "__init__" else f"arker.{name.rstrip('/').replace('/', '.')}"


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer_of(module: str, table: dict[str, int]) -> int | None:
    while module:
        if module in table:
            return table[module]
        module = module.rpartition(".")[0] if module.count(".") > 1 else ""
    return None


class Imports(ast.NodeVisitor):
    """The modules that a file imports, at whatever place, for type checkers too."""

    def __init__(self, path: Path) -> None:
        self.names: set[str] = set()
        self.visit(ast.parse(path.read_text()))

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.name for alias in node.names if alias.name != "arker")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        for alias in node.names:
            nested = ROOT / Path(*base.split("."), alias.name)
            is_module = nested.with_suffix(".py").exists() or nested.is_dir()
            self.names.add(f"{base}.{alias.name}" if is_module else base)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Take ``arker.AsyncVM`` for an import of its home: the package itself loads it when it is asked for."""
        if isinstance(node.value, ast.Name) and node.value.id == "arker" and node.attr in arker.__all__:
            home = getattr(getattr(arker, node.attr), "__module__", None)
            if isinstance(home, str) and home.startswith("arker."):
                self.names.add(home)
        self.generic_visit(node)


@functools.cache
def all_imports(path: Path) -> frozenset[str]:
    return frozenset(Imports(path).names)


def imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports."""
    return {name for name in all_imports(path) if name == "arker" or name.startswith("arker.")}


def client_files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "emulator" not in path.relative_to(PACKAGE).parts]


def test_every_file_stands_in_a_layer() -> None:
    names = [name for layer in layers() for name in layer]
    assert len(names) == len(set(names))
    table = dict.fromkeys(names, 0)
    for path in client_files():
        assert layer_of(module_of(path), table) is not None, f"{module_of(path)} is in no layer"
    for name in names:
        home = ROOT / name.replace(".", "/")
        assert home.is_dir() or home.with_suffix(".py").exists(), f"there is no {name}"


STARTERS: Final = {"arker.client", "arker._cli.emulator", "arker._cli.doctor"}
"""What starts a backend, and knows nothing else of it."""


def test_no_file_imports_from_a_layer_above() -> None:
    table = {name: -number for number, layer in enumerate(layers()) for name in layer}
    used: set[tuple[str, str]] = set()
    wrong: list[str] = []
    for path in client_files():
        module = module_of(path)
        own = layer_of(module, table)
        assert own is not None
        for name in sorted(imports(path) - {module}):
            if name.startswith("arker.emulator"):
                assert module in STARTERS, f"{module} imports {name}"
                continue
            other = layer_of(name, table)
            assert other is not None, f"{module} imports {name}"
            if other > own and name != "arker":
                used.add((module, name))
                if (module, name) not in UPWARD:
                    wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)
    assert used == set(UPWARD), f"not needed any more: {set(UPWARD) - used}"
    assert len(UPWARD) <= 5


def test_nothing_imports_in_a_circle() -> None:
    files = [*PACKAGE.rglob("*.py"), *(ROOT / "arker_sync").rglob("*.py")]
    graph = {module_of(path): set(all_imports(path)) - {module_of(path)} for path in files}
    # A package that re-exports its modules is imported with each of them, and loads them late.
    for package in ("arker", "arker.models", "arker.errors", "arker_sync"):
        graph[package] = set()
    # The client starts a backend, and knows nothing else of it.
    graph["arker.client"].discard("arker.emulator")
    done: set[str] = set()
    circles: list[str] = []

    def visit(module: str, way: tuple[str, ...]) -> None:
        if module in way:
            circles.append(" -> ".join([*way[way.index(module) :], module]))
            return
        if module not in done:
            for other in sorted(graph.get(module, set())):
                visit(other, (*way, module))
            done.add(module)

    for module in sorted(graph):
        visit(module, ())
    assert not circles, "\n".join(circles)


def late_imports(path: Path) -> list[tuple[int, bool]]:
    """List the lines of imports inside functions, and whether a reason stands beside each, or above its group."""
    lines = path.read_text().splitlines()
    found: dict[int, bool] = {}
    for function in ast.walk(ast.parse("\n".join(lines))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    first = node.lineno - 1
                    while lines[first - 1].strip().startswith(("import ", "from ")):
                        first -= 1
                    above = lines[first - 1].strip().startswith("#")
                    found[node.lineno] = above or "  # " in lines[node.lineno - 1]
    return sorted(found.items())


def test_imports_inside_functions_have_a_reason() -> None:
    """Packages are lazy at their doors; what is loaded late elsewhere says why."""
    without: list[str] = []
    for path in [*client_files(), *sorted((ROOT / "arker_sync").rglob("*.py"))]:
        without += [f"{path.relative_to(ROOT)}:{line}" for line, has_reason in late_imports(path) if not has_reason]
    assert not without, "\n".join(without)


LAZY: Final = [
    *(f"arker.{name}" for name in ("_cli", "_commands", "_directories", "_files", "_fleets", "_lifecycle", "_tasks")),
    "arker_sync._bridge",
]


@pytest.mark.parametrize("name", LAZY)
def test_a_lazy_package_names_its_modules_for_type_checkers_too(name: str) -> None:
    tree = ast.parse((ROOT / name.replace(".", "/") / "__init__.py").read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == name]
    told = {alias.name for node in nodes for alias in node.names}
    call = next(node for node in ast.walk(tree) if isinstance(node, ast.Call))
    assert told == {ast.literal_eval(argument) for argument in call.args[1:]}
    package = importlib.import_module(name)
    assert all(getattr(package, module) is importlib.import_module(f"{name}.{module}") for module in told)


def test_classes_are_not_towers() -> None:
    for path in client_files():
        if path.parent.name == "integrations":
            continue  # their frameworks are not installed here
        module = importlib.import_module(module_of(path))
        for _, cls in inspect.getmembers(module, inspect.isclass):
            assert depth(cls) <= 4, f"{cls.__module__}.{cls.__name__} stands on {depth(cls) - 1} classes of ours"


def depth(cls: type[object]) -> int:
    """How many classes of ours stand on top of each other in it; those of exceptions are a tree of kinds."""
    if not cls.__module__.startswith("arker") or issubclass(cls, BaseException):
        return 0
    return 1 + max((depth(base) for base in cls.__bases__), default=0)


def importers_of(library: str) -> set[str]:
    return {
        module_of(path)
        for path in client_files()
        if any(name.partition(".")[0] == library for name in all_imports(path))
    }


def test_libraries_stay_behind_their_doors() -> None:
    assert importers_of("sqlite3") == {"arker._ledger.store"}
    database = "arker.emulator.server.state.database"
    emulator = (PACKAGE / "emulator").rglob("*.py")
    assert {module_of(path) for path in emulator if "sqlite3" in all_imports(path)} == {database}
    assert importers_of("rich") == {"arker.progress", "arker._cli.output", "arker._cli.watching"}
    commands = {"commands", "copying", "inspecting", "machines", "service", "shell", "tunnels", "watching"}
    cyclopts = importers_of("cyclopts")
    assert {"arker._cli.app", "arker._cli.connection"} <= cyclopts
    assert cyclopts <= {f"arker._cli.{name}" for name in (*commands, "app", "connection")}
    assert importers_of("opentelemetry") == {"arker.otel"}
    assert importers_of("pathspec") == {"arker._directories.ignore"}
    codec = "arker._protocol.codec"
    assert importers_of("cattrs") == {f"{codec}.codec", f"{codec}.converter", f"{codec}.leniency"}
    # The command line prints JSON, in which bytes may have to be Base64.
    encoders = {f"{codec}.{name}" for name in ("codec", "converter", "hooks")}
    assert importers_of("pybase64") == encoders | {"arker._cli.output"}
    http = "arker._transport.http"
    # The others name its types only.
    typed = {"arker.client", "arker._transport.transport", "arker._protocol.request"}
    typed.add("arker._cli.proxy")  # which is a server
    assert importers_of("aiohttp") == typed | {
        f"{http}.{name}"
        for name in (
            "callers",
            "exchanges",
            "failures",
            "opened",
            "replies",
            "resolver",
            "sessions",
            "silence",
            "sockets",
        )
    }


def test_base64_has_one_implementation() -> None:
    """pybase64 takes a fiftieth of the time, and refuses by itself what is not strictly base64."""
    for path in sorted(PACKAGE.rglob("*.py")):
        assert not all_imports(path) & {"base64", "binascii"}, path.name


PROCESSES = {"arker._tasks.clock", "arker._tasks.running_loop", "arker._basics.pickling", "arker._tasks.threads"}
"""What the parent waits for the backend's process with."""


def test_the_backend_knows_nothing_of_the_client_s_behaviour() -> None:
    # The mark of fields that are always there is a part of the shapes.
    allowed = {"arker.errors", "arker.models", "arker.models._reply"}
    # It is a process's, and the order of what is done when it forks is one for all that live in it.
    allowed.add("arker._tasks.process")
    used: set[str] = set()
    for path in sorted((PACKAGE / "emulator").rglob("*.py")):
        for name in imports(path):
            if not name.startswith("arker.emulator"):
                used.add(name)
                shared = name in allowed or (name.startswith("arker.models.") and "._" not in name)
                shared = shared or name.startswith("arker._basics")
                shared = shared or (path.parent.name == "emulator" and name in PROCESSES)
                assert shared, f"{module_of(path)} imports {name}"
    assert not (allowed | PROCESSES) - used


def test_integrations_are_imported_by_nothing_but_their_frameworks() -> None:
    """Their frameworks are not installed here, so that they are compiled only."""
    files = sorted((PACKAGE / "integrations").glob("[!_]*.py"))
    assert files
    for path in files:
        compile(path.read_text(), str(path), "exec")
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "arker_sync").rglob("*.py"), *(ROOT / "arker_pytest").rglob("*.py")]:
        if path.parent.name != "integrations":
            assert not [name for name in all_imports(path) if name.startswith("arker.integrations")], path.name


def test_only_the_settings_read_the_environment() -> None:
    for path in client_files():
        if module_of(path) != "arker.config":
            assert not re.search(r"\bos\.(environ|getenv)\b", path.read_text()), path.name


def test_ci_runs_the_readme_s_second_command() -> None:
    blocks = re.findall(r"^```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    first, second = blocks[:2]
    assert "quickstart" in first
    assert "pytest" in second
    assert f"command='{second}'" in (ROOT / ".ci/run").read_text().splitlines()
