"""The shell programs of the packages: all of them are checked, parse in every shell that there is, and are read."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from arker._basics.programs import shell_program
from tools.shell import PACKAGES, ROOT, programs

PROGRAMS = programs()
SHELLS = [name for name in ("sh", "dash", "bash", "ksh", "mksh", "yash", "busybox") if shutil.which(name)]


def in_packages() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix == ".sh"]


def test_the_lint_session_checks_all() -> None:
    assert PROGRAMS
    assert sorted(PROGRAMS) == sorted(in_packages())
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    lint = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "lint")
    assert 'session.run("python", "-m", "tools.shell")' in ast.unparse(lint).replace("'", '"')


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
@pytest.mark.parametrize("shell", SHELLS)
def test_it_parses(shell: str, path: Path) -> None:
    command = ["busybox", "sh"] if shell == "busybox" else [shell]
    done = subprocess.run([*command, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_is_read_by_a_module_beside_it() -> None:
    read: set[Path] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            names = re.findall(r'shell_program\(__package__, "(.*\.sh)"\)', path.read_text())
            read |= {path.parent / name for name in names}
    assert read == set(PROGRAMS)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_it_is_read_as_it_is(path: Path) -> None:
    package = ".".join(path.parent.relative_to(ROOT).parts)
    assert shell_program(package, path.name) == path.read_text("utf-8")


MADE_OF_PIECES = ROOT / "arker/emulator/sandbox/host/shell.py"
"""What is given to a session's shell depends on the session, and is put together in Python."""


def test_no_program_stands_in_python() -> None:
    """Look for what only programs have: a loop or a branch of the shell in a text of more than a word."""
    assert MADE_OF_PIECES.exists()
    mark = re.compile(r"^\s*(?:(?:while|for) .*\bdo\b.*|if .*; then\b.*|fi|done|esac)$", re.MULTILINE)
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if path == MADE_OF_PIECES:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                    text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                    assert text.isalpha() or not mark.search(text), f"{path}:{node.lineno} holds a shell program"
