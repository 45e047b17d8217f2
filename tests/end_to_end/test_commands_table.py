"""The tables that say what users of other libraries write, and the same here: each of our cells is run."""

from __future__ import annotations

import ast
import inspect
import io
import os
import re
import subprocess
import sys
from collections.abc import Awaitable
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final, cast

import pytest

from arker import AsyncArker, AsyncVM, CompletedRunResult

pytestmark = pytest.mark.anyio

PAGE: Final = Path(__file__).parent.parent.parent / "docs/coming-from.md"


LIBRARIES: Final = {"E2B": 20, "Modal": 15, "Daytona": 18, "Vercel": 14}
"""The sections of libraries for sandboxes, with the least number of their rows."""


def rows(section: str) -> list[tuple[str, str]]:
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    found = re.findall(r"^\| `(.*)` \| `(.*)` \|$", "\n".join(lines), re.MULTILINE)
    assert len(found) == len(lines), "a row of another form"
    return found


async def carried_out(cell: str, names: dict[str, Any]) -> Any:
    """Carry out a cell, and return its value."""
    tree = ast.parse(cell)
    last = tree.body[-1]
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("value", ast.Store())], last.value), last)
    code: CodeType = compile(ast.fix_missing_locations(tree), "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    done = FunctionType(code, names)()
    if code.co_flags & inspect.CO_COROUTINE:
        await cast("Awaitable[None]", done)
    return names.pop("value", None)


class Local:
    """What stands for the module `subprocess` in cells: the outputs of their commands are captured."""

    def run(self, command: Any, **options: Any) -> subprocess.CompletedProcess[bytes]:
        captured: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "capture_output": False}
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        run: Any = subprocess.run
        check = options.pop("check", False)
        try:
            done: subprocess.CompletedProcess[bytes] = run(command, **{**options, **captured}, check=check)
            return done
        finally:
            if isinstance(options.get("stdin"), io.IOBase):
                options["stdin"].close()


async def test_each_cell_runs_and_does_the_same(
    vm: AsyncVM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("of the file")
    monkeypatch.chdir(tmp_path)
    found = rows("subprocess")
    assert len(found) >= 15
    script = 'cat; echo "$A"; pwd'
    here: dict[str, Any] = {"subprocess": Local(), "os": os, "sys": sys, "command": ["bash", "-c", script]}
    there: dict[str, Any] = {"vm": vm, "Path": Path, "sys": sys, "command": script}
    await vm.sync("file", b"of the file")
    for ours, theirs in found:
        value = await carried_out(theirs, there)
        shown = capsys.readouterr().out
        if not ours.startswith("subprocess"):
            compile(ours, "cell", "exec")
            assert not isinstance(value, CompletedRunResult) or value.exit_code == 0, theirs
            continue
        done = await carried_out(ours, here)
        assert value.exit_code == done.returncode, ours
        if "ls" not in ours:
            assert value.stdout.replace(b"/home/user", os.fsencode(tmp_path)) == done.stdout, ours
        assert ("on_stdout" in theirs) == bool(shown)


@pytest.mark.needs("tunnels")
@pytest.mark.parametrize("library", LIBRARIES)
async def test_each_cell_beside_a_library_for_sandboxes_runs(ar: AsyncArker, library: str) -> None:
    found = rows(library)
    assert len(found) >= LIBRARIES[library]
    names: dict[str, Any] = {"ar": ar, "sys": sys}
    for theirs, ours in found:
        if library != "Vercel":
            compile(theirs, "cell", "exec")
        value = await carried_out(ours, names)
        expected = None if "run.cancel" in ours else 0
        assert not isinstance(value, CompletedRunResult) or value.exit_code == expected, ours
    assert {vm.name async for vm in ar.iter_vms()} <= {"checkpoint", None}
    assert names["vm"].id not in [vm.id async for vm in ar.iter_vms()]
