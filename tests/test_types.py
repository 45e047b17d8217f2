"""The type checkers, as a user's program meets them: mypy --strict and pyright in strict mode.

Each runs once, over code that must be accepted and over code in which every marked line must be refused; mypy over the
packages as well. (Pyright takes most of a minute for those: ``nox -s types``.)
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).parent.parent
HERE = Path(__file__).parent / "typing"
PROGRAMS = [str(path) for path in sorted(HERE.glob("*.py"))]
ACCEPTED = ["arker", "arker_sync", *PROGRAMS]
STRICT = "# pyright: strict, reportUnusedExpression=false\n"


@pytest.fixture(scope="module")
def wrong_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write the wrong code to a module. Its separate name excludes it from every other check."""
    path = tmp_path_factory.mktemp("typing") / "wrong_code.py"
    path.write_text(STRICT + (HERE / "wrong_code.txt").read_text())
    yield path
    shutil.rmtree(path.parent)


def marked_lines(path: Path) -> set[int]:
    lines = path.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env=environment,
    )


def check(found: list[tuple[Path, int, str]], wrong_code: Path) -> None:
    # By name: a checker with a cache may report the place where it saw the same text the last time.
    elsewhere = [error for error in found if error[0].name != wrong_code.name]
    assert not elsewhere
    reported = {line for path, line, _ in found if path.name == wrong_code.name}
    assert reported == marked_lines(wrong_code)
    assert len(reported) > 15


def test_mypy(wrong_code: Path) -> None:
    assert len(PROGRAMS) > 2
    ended = run("mypy", "--strict", "--no-pretty", "--no-error-summary", *ACCEPTED, str(wrong_code))
    found = [
        ((ROOT / match[1]).resolve(), int(match[2]), match[3])
        for match in re.finditer(r"^(.+?):(\d+): error: (.*)$", ended.stdout, re.MULTILINE)
    ]
    assert found, ended.stdout + ended.stderr
    check(found, wrong_code.resolve())


def test_pyright(wrong_code: Path) -> None:
    ended = run("pyright", "--pythonpath", sys.executable, "--outputjson", *PROGRAMS, str(wrong_code))
    assert ended.stdout.startswith("{"), ended.stdout + ended.stderr
    report = orjson.loads(ended.stdout)
    assert report["summary"]["filesAnalyzed"] == len(PROGRAMS) + 1
    found = [
        (Path(entry["file"]).resolve(), int(entry["range"]["start"]["line"]) + 1, str(entry["message"]))
        for entry in report["generalDiagnostics"]
        if entry["severity"] == "error"
    ]
    check(found, wrong_code.resolve())
