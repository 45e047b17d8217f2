"""The table of the page on runs that says what users of `subprocess` write: each of its cells is run."""

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

from arker import AsyncVM, CompletedRunResult

pytestmark = pytest.mark.anyio

PAGE: Final = Path(__file__).parent.parent.parent / "docs/runs.md"


def rows() -> list[tuple[str, str]]:
    return re.findall(r"^\| `(.*(?:subprocess|process)\..*)` \| `(.*)` \|$", PAGE.read_text(), re.MULTILINE)


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
    found = rows()
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
