"""The examples beside the quickstart, as their readers run them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.test_local import run_python

ROOT = Path(__file__).parent.parent.parent


def test_the_spans_of_the_tracing_example() -> None:
    done = run_python("examples/opentelemetry_tracing.py", PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")
    error, _, tree = done.stdout.partition("\n\n")
    assert error.startswith("vm.get_run: there is no run 'no-such-run' (code not_found, HTTP 404, VM ")
    # Two commands at once end in either order, and begin at nearly the same moment.
    lines = [re.sub(r"^ *[0-9]+\.[0-9] ms  ", "", line) for line in tree.splitlines()]
    assert lines == [
        "the whole program",
        "  fork",
        "    POST fork  200",
        "  two commands at once",
        "    POST vm.run  200",
        "    POST vm.run  200",
        "  a big file  upload download",
        "    POST vm.sync  200",
        "    PUT vm.sync  200",
        "    POST vm.sync  200",
        "    POST vm.sync  200",
        "    GET vm.sync  200",
        "  a run that is not there",
        "    GET vm.get_run  404 not_found",
        "  DELETE vm.delete  200",
    ]


def test_the_web_server_behind_a_tunnel() -> None:
    done = run_python("examples/web_server_tunnel.py")
    assert (done.returncode, done.stderr) == (0, "")
    where, *lines = done.stdout.splitlines()
    assert re.fullmatch(r"port 8080 of the VM is at http://127\.0\.0\.1:[0-9]+", where)
    assert lines == [
        "POST 'buy milk': 201, note 1",
        "POST 'call Ada': 201, note 2",
        "GET: 200, ['buy milk', 'call Ada']",
        "GET without the token: 401",
        "the server is cancelled; its log: listening; POST /notes 201; POST /notes 201; GET /notes 200",
    ]


def test_the_agent_that_forks_where_it_decides() -> None:
    done = run_python("examples/branching_agent.py")
    assert (done.returncode, done.stderr) == (0, "")
    story, _, program = done.stdout.partition("\n\n")
    assert story.splitlines() == [
        "2 of 6 checks pass; failing: mean of nothing, median, unsorted, median, even, median of nothing",
        "decision 1: let both take an empty list or sort before taking the middle?",
        "  let both take an empty list      4 of 6 checks pass",
        "  sort before taking the middle    3 of 6 checks pass",
        "  kept: let both take an empty list",
        "decision 2: sort before taking the middle or take the mean of both middles?",
        "  sort before taking the middle    5 of 6 checks pass",
        "  take the mean of both middles    6 of 6 checks pass",
        "  kept: take the mean of both middles",
        "all checks pass after 2 decisions:",
    ]
    repaired: dict[str, Callable[[list[float]], float]] = {}
    exec(program, repaired)
    cases: list[list[float]] = [[], [6, 1, 2], [4, 1, 3, 2]]
    assert [repaired["median"](values) for values in cases] == [0, 2, 2.5]


def test_the_programs_of_the_page_on_reliability() -> None:
    page = (ROOT / "docs/reliability.md").read_text()
    programs = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "asyncio.run" in block]
    done = [run_python("-c", program, PYTHONPATH=str(ROOT)) for program in programs]
    assert [program.returncode for program in done] == [0] * len(programs)
    output = "".join(program.stdout for program in done)
    assert "once\n" in output
    assert "upload of /tmp/big: 0%\n" in output
    assert "upload of /tmp/big: 100%\n" in output
    assert "('vm.delete', 200): 1" in output
    log = [json.loads(line) for program in done for line in program.stderr.splitlines()]
    attempts = [record["operation"] for record in log if record.get("event") == "attempt"]
    assert attempts == ["fork", "vm.run", "vm.delete"]


def test_the_program_of_the_page_on_runs() -> None:
    (program,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/runs.md").read_text(), re.DOTALL)
        if "asyncio.run" in block
    ]
    done = run_python("-c", program, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert sorted(lines[:-1]) == ["stderr: done", "stdout: step 1", "stdout: step 2", "stdout: step 3"]
    assert lines[-1] == "completed 4"
