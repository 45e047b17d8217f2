"""The architecture as it is written down, against the code; and the commands of the README, against CI's."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "arker"


def floors() -> dict[str, int]:
    """Module name to floor, from the table in the page."""
    table: dict[str, int] = {}
    for floor, files in re.findall(
        r"^\| (\d) \| ([^|]+) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE
    ):
        for name in re.findall(r"`([\w/]+)(?:\.py)?`", files):
            table[f"arker.{name.rstrip('/')}" if name != "__init__" else "arker"] = int(floor)
    return table


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def entry(module: str, table: dict[str, int]) -> str | None:
    """The line of the table that a module belongs to."""
    while module:
        if module in table:
            return module
        module = module.rpartition(".")[0]
    return None


class Imports(ast.NodeVisitor):
    """The modules that a file imports, at whatever place, but not for type checkers and annotations alone."""

    def __init__(self, path: Path) -> None:
        self.names: set[str] = set()
        self.visit(ast.parse(path.read_text()))

    def visit_If(self, node: ast.If) -> None:
        if not (isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.names.update(alias.name for alias in node.names if alias.name != "arker")

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        for alias in node.names:
            nested = ROOT / Path(*base.split("."), alias.name)
            is_module = nested.with_suffix(".py").exists() or nested.is_dir()
            self.names.add(f"{base}.{alias.name}" if is_module else base)


@functools.cache
def all_imports(path: Path) -> frozenset[str]:
    return frozenset(Imports(path).names)


def imports(path: Path) -> set[str]:
    """The modules of the package that a file imports."""
    return {name for name in all_imports(path) if name == "arker" or name.startswith("arker.")}


def client_files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if "emulator" not in path.relative_to(PACKAGE).parts]


def test_every_file_stands_in_the_table() -> None:
    table = floors()
    assert {entry(module_of(path), table) for path in client_files()} == set(table)
    listed = {name for name in table if name != "arker"}
    for path in client_files():
        module = module_of(path)
        assert module == "arker" or entry(module, table) in listed, f"{module} is not in the table"


def test_no_file_imports_from_a_floor_above() -> None:
    table = floors()
    for path in client_files():
        module = module_of(path)
        own = entry(module, table)
        for name in imports(path):
            if name.startswith("arker.emulator"):
                assert module == "arker.client", f"{module} imports {name}"
                continue
            other = entry(name, table)
            assert own is not None
            assert other is not None
            assert table[other] <= table[own], f"{module} (floor {table[own]}) imports {name} (floor {table[other]})"


class Uses(ast.NodeVisitor):
    """The lines where a file uses `arker` itself, other than in annotations."""

    def __init__(self, path: Path) -> None:
        self.lines: list[int] = []
        self.visit(ast.parse(path.read_text()))

    def visit_Name(self, node: ast.Name) -> None:
        if node.id == "arker":
            self.lines.append(node.lineno)

    def visit_arg(self, node: ast.arg) -> None:
        pass

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in [node.args, *node.decorator_list, *node.body]:
            self.visit(each)

    visit_AsyncFunctionDef = visit_FunctionDef


def test_the_package_itself_is_imported_for_annotations_alone() -> None:
    for path in client_files():
        lines = Uses(path).lines
        assert not lines, f"{module_of(path)} uses arker at run time, at line {lines[0]}"


def test_nothing_imports_in_a_circle() -> None:
    graph = {module_of(path): imports(path) - {module_of(path)} for path in client_files()}
    # A package that re-exports its modules is imported with each of them.
    graph["arker.models"] = set()
    graph["arker"] = set()
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way, module])
        if module not in done:
            for other in graph.get(module, set()):
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def importers_of(library: str) -> set[str]:
    return {
        module_of(path)
        for path in client_files()
        if any(name.partition(".")[0] == library for name in all_imports(path))
    }


def test_libraries_stay_behind_their_doors() -> None:
    assert importers_of("sqlite3") == {"arker._ledger_store"}
    assert importers_of("rich") == {"arker.progress"}
    assert importers_of("pathspec") == {"arker._tree_ignore"}
    assert importers_of("cattrs") == {"arker._converter", "arker._leniency"}
    assert importers_of("aiohttp") == {
        "arker._http",
        "arker._http_failures",
        "arker._http_opened",
        "arker._http_sessions",
    }


PROCESSES = {"arker._clock", "arker._loop", "arker._pickling", "arker._threads"}
"""What the parent waits for the backend's process with."""


def test_the_backend_knows_nothing_of_the_client_s_behaviour() -> None:
    # The mark of fields that are always there is a part of the shapes.
    allowed = {"arker.errors", "arker.models", "arker.models._reply", "arker._hosts", "arker._routes", "arker._version"}
    allowed |= {"arker._typing"}
    for path in sorted((PACKAGE / "emulator").rglob("*.py")):
        for name in imports(path):
            if not name.startswith("arker.emulator"):
                shared = (
                    name in allowed
                    or (path.parent.name == "emulator" and name in PROCESSES)
                    or (name.startswith("arker.models.") and "._" not in name)
                )
                assert shared, f"{module_of(path)} imports {name}"


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
