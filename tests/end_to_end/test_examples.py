"""The examples beside the quickstart, as their readers run them."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from tests.end_to_end.test_local import run_example
from tests.support import leftovers
from tests.support.children import child
from tests.support.forked import start
from tests.support.waiting import longer_and_longer

ROOT = Path(__file__).parent.parent.parent


def test_the_spans_of_the_tracing_example() -> None:
    done = run_example("opentelemetry_tracing.py")
    assert (done.returncode, done.stderr) == (0, "")
    error, _, tree = done.stdout.partition("\n\n")
    assert error.startswith("vm.get_run: there is no run 'no-such-run' (code not_found, HTTP 404, VM ")
    lines = [re.sub(r"^ *[0-9]+\.[0-9] ms  ", "", line) for line in tree.splitlines()]
    # Two commands at once end in either order, and begin at nearly the same moment.
    at_once = slice(4, lines.index("  a big file  upload download"))
    lines[at_once] = sorted(lines[at_once])
    made = "    POST vm.create_session  200"
    if made not in lines:  # the first had ended before the second looked for a session
        lines.insert(5, made)
    assert lines == [
        "the whole program",
        "  fork",
        "    POST fork  200",
        "  two commands at once",
        *sorted(["    GET vm.list_sessions  200", "    POST vm.create_session  200", *["    POST vm.run  200"] * 2]),
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
    done = run_example("web_server_tunnel.py")
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
    done = run_example("branching_agent.py")
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


def test_the_directory_example() -> None:
    done = run_example("transfer_directory.py", "--size-mib", "5")
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


def test_the_candidates_over_a_fleet() -> None:
    options = ("--candidates", "8", "--vms", "3", "--time-limit")
    longer = longer_and_longer(4)
    while True:
        seconds = next(longer)
        done = run_example("evaluate_candidates.py", *options, str(seconds))
        assert (done.returncode, done.stderr) == (0, "")
        if done.stdout.count("out of time\n") == 1:  # only the one that has no end
            break
    *lines, summary = done.stdout.splitlines()
    assert sorted(lines) == sorted(
        f"{number:4}  {approach:<18} {verdict}"
        for number, (approach, verdict) in enumerate(
            [
                ("by text", "passed 10/10"),
                ("by division", "passed 10/10"),
                ("by doubling", "passed 10/10"),
                ("by recursion", "passed 10/10"),
                ("in floating point", "crashed"),
                ("off by one", "wrong 1/10"),
                ("without a colon", "crashed"),
                ("without an end", "out of time"),
            ]
        )
    )
    assert summary.startswith("8 candidates: 2 crashed, 1 out of time, 4 passed, 1 wrong; fastest: by ")


def test_the_live_table_of_the_candidates() -> None:
    """In a terminal, of which the program believes that it is one of 100 columns."""
    ours, its = pty.openpty()
    arguments = ("examples/evaluate_candidates.py", "--candidates", "7", "--vms", "2")
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": its, "stderr": its}
    with start("file", *arguments, env=env, backends=True, **streams) as program:
        os.close(its)
        watchdog = threading.Timer(300, program.kill)
        watchdog.start()
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # it has ended
                break
        os.close(ours)
        watchdog.cancel()
        assert program.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "digits(n): the sum of the decimal digits of 2**n" in text
    assert "7 of 7 candidates, 2 VMs" in text
    assert re.search(r"off by one +│ +│ +1 │ +│", text)
    assert "7 candidates: 2 crashed, 4 passed, 1 wrong" in text


async def post(session: aiohttp.ClientSession, url: str, **snippet: object) -> tuple[int, Any]:
    async with session.post(f"{url}/run", json=snippet) as response:
        return response.status, await response.json()


async def use_the_service(url: str) -> int:
    """Try what the service does. Returns how many snippets it has run."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=300)) as session:
        squares = await asyncio.gather(*(post(session, url, code=f"print({number} ** 2)") for number in range(6)))
        assert [(status, answer["stdout"]) for status, answer in squares] == [(200, f"{n * n}\n") for n in range(6)]
        status, answer = await post(session, url, code="cat data/prepared; echo no >&2; exit 3", language="bash")
        assert (status, answer["exit_code"], answer["stderr"]) == (200, 3, "no\n")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d\n", answer["stdout"])
        # Nothing is there of the snippets before.
        assert (await post(session, url, code="ls *.py", language="bash"))[1]["exit_code"] == 2
        endless = "import time; print('x', flush=True); time.sleep(600)"
        snippets, longer = 9, longer_and_longer(1)
        while True:  # until a busy machine gets to what it prints
            status, answer = await post(session, url, code=endless, timeout=min(next(longer), 30))
            snippets += 1
            if answer["stdout"]:
                break
        assert (status, answer["timed_out"], answer["stdout"]) == (200, True, "x\n")
        status, answer = await post(session, url, code="print('x' * 100_000)")
        assert (answer["truncated"], len(answer["stdout"])) == (True, 65536)
        assert (await post(session, url, code="1", language="cobol"))[0] == 422
        assert (await post(session, url, code="1", timeout=31))[0] == 422
        async with session.get(f"{url}/health") as response:
            assert await response.json() == {"running": 0, "done": snippets}
        return snippets


def test_the_service_of_snippets() -> None:
    with child(
        [sys.executable, "-W", "error", "examples/snippet_service.py", "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as service:
        watchdog = threading.Timer(300, service.kill)
        watchdog.start()
        assert service.stdout is not None
        snippets = asyncio.run(use_the_service(service.stdout.readline().strip()))
        processes = leftovers.below(service.pid)
        assert processes
        service.terminate()
        output, errors = service.communicate()
        watchdog.cancel()
    assert (output, errors) == (f"stopped after {snippets} snippets\n", "")
    # When all has ended in order, uvicorn ends the process by the signal that asked for it.
    assert service.returncode == -signal.SIGTERM
    assert not leftovers.alive(processes)
