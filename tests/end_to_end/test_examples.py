"""The examples beside the quickstart, as their readers run them."""

from __future__ import annotations

import json
import re
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


def test_the_directory_example() -> None:
    done = run_python("examples/transfer_directory.py", "--size-mib", "5", PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert re.sub(r" in [0-9]+\.[0-9] s", " in N s", done.stdout).splitlines() == [
        "up:         201 created, 13 directories made, 1 symlinks made; 3,126 bytes",
        "planned:    update    data/3/record-003.json  20 bytes  (of 14 bytes)",
        "planned:    delete    data/4/record-004.json",
        "up again:   1 updated, 1 deleted, 213 unchanged; 20 bytes",
        "in the VM:  data/9/record-199.json",
        "down:       201 created, 13 directories made, 1 symlinks made; 3,122 bytes",
        "came back:  199 lines",
        "up:         5 MiB in N s",
        "down:       5 MiB in N s",
        "the file:   the same bytes",
    ]
    bars = [line.split() for line in done.stderr.splitlines()]
    assert [(words[0], words[1]) for words in bars] == [
        *(("↑", "tree"), ("↑", "tree"), ("↓", "tree"), ("↑", "/tmp/large.bin"), ("↓", "/tmp/large.bin")),
    ]
    assert all("100%" in words for words in bars)


def test_the_program_of_the_page_on_directories(tmp_path: Path) -> None:
    page = (ROOT / "docs/directories.md").read_text()
    programs = re.findall(r"```python\n(.*?)```\n.*?```\n(.*?)```", page, re.DOTALL)
    program, output = next(found for found in programs if "asyncio.run" in found[0])
    done = run_python("-c", f"import os; os.chdir({str(tmp_path)!r})\n{program}", PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


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
