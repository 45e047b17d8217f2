"""What importing the packages loads, and that the rest is loaded when it is used."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

import arker
import arker.models
import arker_sync
from arker._basics.version import version
from arker._protocol.codec import converter
from tests.support.server import ScriptedServer, ok

PACKAGES = (arker, arker.models, arker_sync)

LATER = (
    ("aiohttp", "anyio", "asyncio", "cattrs", "orjson", "rich", "sqlite3", "ssl"),
    (
        "arker._transport.transport",
        "arker.hooks",
        "arker.vm",
        "arker.models.file",
        "arker.models.run",
        "arker.models.vm",
    ),
    ("arker.run", "arker.session", "arker.tunnel", "arker.fleet", "arker._fleets.pool", "arker.reports"),
    ("arker.files", "arker.remote_file", "arker.watch", "arker.entries", "arker._paths", "pybase64"),
    ("arker.transfer", "arker._files", "arker.read_stream", "arker.directories", "arker._directories.work"),
    ("arker._lifecycle.reap", "arker.reports", "arker._ledger.ledger", "arker.progress", "arker.emulator"),
    ("arker.otel", "opentelemetry"),
)


def test_what_is_loaded_later_exists() -> None:
    missing = [name for names in LATER for name in names if importlib.util.find_spec(name) is None]
    assert not missing


@cache
def answer(program: str, *arguments: str) -> str:
    """Return what a separate program prints. Several tests look at what the same one has loaded."""
    command = [sys.executable, "-c", program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize("statement", ["from arker import AsyncArker", "from arker_sync import Arker"])
def test_the_client_alone_loads_little(statement: str) -> None:
    loaded = set(answer(f"import sys; {statement}; print(*sys.modules)").split())
    assert loaded.isdisjoint(name for names in LATER for name in names)


def test_making_a_client_loads_what_it_sends_with_and_no_more() -> None:
    program = "import sys, arker; arker.AsyncArker('k', region='r', ledger=False); print(*sys.modules)"
    loaded = set(answer(program).split())
    assert "arker._transport.transport" in loaded
    later = {name for names in LATER for name in names}
    assert loaded & later == {"anyio", "asyncio", "ssl", "arker._transport.transport", "arker.hooks"}


CALL = """
import asyncio, sys
from arker import AsyncArker

async def main():
    async with AsyncArker("k", base_url=sys.argv[1], control_base_url=sys.argv[1], ledger=False) as ar:
        print((await ar.vm("v").refresh()).id)

asyncio.run(main())
print(*sys.modules)
"""


def test_a_call_loads_the_models_of_its_reply_and_not_those_of_files(server: ScriptedServer) -> None:
    server.answer(ok({"vm_id": "v", "state": "idle"}))
    name, *loaded = answer(CALL, server.url).split()
    assert name == "v"
    assert "arker.models.vm" in loaded
    assert {"arker.models.file", "arker.models.filesystem"}.isdisjoint(loaded)


def test_the_models_that_are_named_as_texts_are_there() -> None:
    for name in (*converter.PREPARE, converter.WRITE_RESULT, converter.CHUNK):
        assert converter.model_name(getattr(arker.models, name)) == name


@pytest.mark.parametrize("statement", ["from arker import AsyncArker", "from arker_sync import Arker"])
def test_the_client_alone_loads_no_calls(statement: str) -> None:
    names = answer(f"import sys; {statement}; print(*sys.modules)").split()
    loaded = {name for name in names if name.startswith(("arker._protocol.", "arker_sync._protocol."))}
    assert loaded <= {"arker._protocol.address", "arker._protocol.calls", "arker._protocol.pages"}


def test_a_server_loads_no_models_before_it_is_asked_for_its_description() -> None:
    names = answer("import sys, arker.emulator.server.app; print(*sys.modules)").split()
    assert {name for name in names if name.startswith("arker.models.")} == {"arker.models.sizes"}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_every_public_name_is_there_and_listed(package: ModuleType) -> None:
    names: list[str] = package.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(package, name) is vars(package)[name], "it is looked up once"
    assert set(names) <= set(dir(package))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_type_checkers_are_told_of_the_same_names(package: ModuleType) -> None:
    tree = ast.parse(Path(str(package.__file__)).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    told: set[str] = set()
    for node in [*tree.body, *checked.body]:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("arker"):
            home = importlib.import_module(str(node.module))
            for name in {alias.name for alias in node.names} & set(package.__all__):
                assert getattr(package, name) is getattr(home, name)
                told.add(name)
    assert told == set(package.__all__)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_a_program_may_import_everything_at_once(package: ModuleType) -> None:
    program = f"from {package.__name__} import *; print(*(set(globals()) - {{'__builtins__'}}))"
    assert set(package.__all__) <= set(answer(program).split())


def test_modules_are_attributes_without_being_imported_by_name() -> None:
    program = "import arker; print(arker.hooks.Hooks.__module__, arker.models.vm.Vm.__module__, arker.fleet.__name__)"
    assert answer(program) == "arker.hooks arker.models.vm arker.fleet"


def test_names_that_are_not_there_are_refused() -> None:
    for package in PACKAGES:
        with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'Nothing'"):
            _ = package.Nothing
    with pytest.raises(ImportError, match="Nothing"):
        exec("from arker import Nothing")


def test_classes_are_at_home_where_they_are_defined() -> None:
    homes = {"AsyncArker": "arker.client", "AsyncVM": "arker.vm", "Run": "arker.models.run", "Hooks": "arker.hooks"}
    assert {name: getattr(arker, name).__module__ for name in homes} == homes
    program = f"import pickle; print(pickle.loads({pickle.dumps(arker.NetworkPolicyAllow(('a',)))!r}))"
    assert answer(program) == "NetworkPolicyAllow(allow=('a',), type='allow')"


RACE = """
import sys, threading
import {package} as package

sys.setswitchinterval(1e-6)
names = package.__all__
start = threading.Barrier(8)
seen = []

def look(turn):
    order = names[turn * 7:] + names[:turn * 7]
    start.wait()
    seen.append({{name: id(getattr(package, name)) for name in order}})

threads = [threading.Thread(target=look, args=(turn,)) for turn in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(seen), all(each == seen[0] for each in seen))
"""


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_threads_that_ask_first_at_once_get_the_same(package: ModuleType) -> None:
    assert answer(RACE.format(package=package.__name__)) == "8 True"


def test_the_version_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = version()

    def look_up(name: str) -> str:
        raise AssertionError(f"the metadata of {name} is read again")

    monkeypatch.setattr(importlib.metadata, "version", look_up)
    assert version() == before
