"""Whatever breaks blocking clients, each in a process of its own: exits, signals, forks, other people's event loops."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from arker import AsyncArker
from arker.emulator import Emulator
from arker_sync import Arker
from tests.support import forked
from tests.support.waiting import longer_and_longer

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0
"""Seconds that a program may take on a machine that has much else to do."""


def environment(emulator: Emulator) -> dict[str, str]:
    """Return the settings of a program that uses the backend."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ARKER_", "AUTH_KEY"))}
    return {
        **inherited,
        "PYTHONPATH": str(ROOT),
        "ARKER_LEDGER": "off",
        "ARKER_API_KEY": emulator.api_key,
        **{f"ARKER_{name}BASE_URL": emulator.url for name in ("", "BURST_", "CONTROL_")},
    }


def run(emulator: Emulator, name: str, *, new: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program, or several in one. Every warning is an error, and errors at its end are reported.

    A new one is for what happens as an interpreter begins and ends.
    """
    if not new:
        module = "tests.blocking.programs"
        return forked.run("module", module, *name.split(), env=environment(emulator), timeout=PATIENCE)
    command = [sys.executable, "-W", "error", "-m", "tests.blocking.programs", *name.split()]
    return subprocess.run(
        command, env=environment(emulator), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def names(blocking: Arker) -> list[str | None]:
    return [vm.name for vm in blocking.list_vms()]


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("never_closed_with_a_backend_of_its_own", r"http://127\.0\.0\.1:\d+/api\nused\n"),
        ("closed_when_destroyed_at_the_end", "used\n"),
        ("transfers_at_exit", "used\nup True\ndown True\n"),
        ("never_used", r"<Arker http://127\.0\.0\.1:\d+/api>\n"),
        ("shutdown_amid_a_call", "the main thread ends\n"),
        ("exit_in_a_thread_s_time", "the main thread ends\nthe thread ends\n"),
        (
            "multiprocessing_spawn",
            "Arker objects cannot be pickled, since they hold connections .*\none two\n",
        ),
    ],
)
def test_a_program_in_an_interpreter_of_its_own(emulator: Emulator, name: str, output: str) -> None:
    done = run(emulator, name, new=True)
    assert re.fullmatch(output, done.stdout), done.stdout + done.stderr
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("forked", "(child a handle of the parent's\nchild a VM of its own\nstatus 0\n){3}status 0\nparent goes on\n"),
        ("forked_amid_blocks", "child used\nstatus 3\nparent True used /tmp\nVMs 3\nVMs 0\n"),
        ("orphaned_amid_blocks", "daemon used\nVMs 0\n"),
        ("forked_before_use", "child used\nstatus 0\nparent used\n"),
        (
            "forked_amid_a_call",
            "ConfigurationError this process was forked in the middle of a call, .*\nstatus 0\n",
        ),
        ("destroyed_by_the_loop", "VMs 0\n"),
        ("multiprocessing_fork", "parent\none two three four\n"),
        (
            "dropped in_a_running_loop many_clients",
            "a handle holds its client\nthe loop has ended True\n(inside of a coroutine\nfrom a thread of it\n){2}"
            "threads of loops 1\nthreads of loops 0\nit begins anew\n",
        ),
    ],
)
def test_a_program_that_ends_well(emulator: Emulator, name: str, output: str) -> None:
    done = run(emulator, name)
    assert re.fullmatch(output, done.stdout), done.stdout + done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_vms_of_a_client_that_nobody_closes_stay(emulator: Emulator, blocking: Arker) -> None:
    done = run(emulator, "never_closed", new=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "used\n", "")
    assert names(blocking) == ["stays"]


def test_what_was_registered_before_the_first_use_deletes_the_vms_at_exit(emulator: Emulator, blocking: Arker) -> None:
    program = """
import atexit
from arker_sync import Arker

vms = []
atexit.register(lambda: [vm.delete() for vm in vms])
vms.append(Arker().fork("ubuntu"))
print(len(Arker().list_vms()))
"""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(
        command, env=environment(emulator), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert names(blocking) == []


def test_a_host_is_looked_up_at_exit(emulator: Emulator, blocking: Arker) -> None:
    program = """
import atexit
from arker_sync import Arker

client = Arker()
atexit.register(lambda: [vm.delete() for vm in client.iter_vms()])
client.fork("ubuntu")
"""
    # Only the list goes to a host with a name, so that no connection to it is there already.
    named = {"ARKER_CONTROL_BASE_URL": emulator.url.replace("127.0.0.1", "localhost")}
    command = [sys.executable, "-W", "error", "-c", program]
    env = {**environment(emulator), **named}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert names(blocking) == []


def test_an_exception_deletes_the_vms_of_a_block(emulator: Emulator, blocking: Arker) -> None:
    done = run(emulator, "an_exception", new=True)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("LookupError: the program's own")
    assert names(blocking) == []


def test_a_block_that_another_thread_leaves(emulator: Emulator) -> None:
    done = run(emulator, "left_by_a_thread")
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert done.stdout == "entered again\nhandled False\n"


def test_an_interpreter_that_may_set_no_handlers(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the main thread of a subinterpreter, such as those of web servers with an embedded Python."""

    def refuse(*_: object) -> None:
        raise ValueError("signal only works in main thread of the main interpreter")

    async def main() -> None:
        async with AsyncArker(**emulator.client_options) as ar, await ar.fork("ubuntu") as vm:
            await vm.run("true")

    monkeypatch.setattr(signal, "signal", refuse)
    asyncio.run(main())
    with pytest.raises(KeyboardInterrupt), Arker(**emulator.client_options) as ar, ar.fork("ubuntu"):
        raise KeyboardInterrupt
    with Arker(**emulator.client_options) as ar:
        assert names(ar) == []


@pytest.mark.parametrize("name", ["interrupted_run", "interrupted_transfer", "terminated_run"])
def test_a_signal_amid_a_call(emulator: Emulator, blocking: Arker, name: str) -> None:
    with emulator.faults.throttle(operation="presigned_put", bytes_per_second=4 * 1024 * 1024):
        done = run(emulator, name)
    kind, status = ("SystemExit", 143) if name == "terminated_run" else ("KeyboardInterrupt", -signal.SIGINT)
    told = re.fullmatch(rf"{kind} ([0-9.]+)\nand the client serves on\n", done.stdout)
    assert told, done.stdout + done.stderr
    assert float(told[1]) < 30  # of the 60 of the command; it takes milliseconds, where nothing else is done
    assert done.returncode == status
    assert names(blocking) == []


@pytest.mark.parametrize("processed", [False, True])
def test_a_signal_amid_a_fork_leaves_no_vm(emulator: Emulator, blocking: Arker, processed: bool) -> None:
    longer = longer_and_longer(2.0)
    while True:
        with emulator.faults.delay(operation="fork", seconds=next(longer), processed=processed):
            done = run(emulator, "interrupted_fork")
        if done.stdout == "":
            break
        assert done.stdout == "not interrupted\n", done.stderr  # the answer came before the signal
        for vm in blocking.list_vms():
            blocking.vm(vm.vm_id).delete()
    assert done.returncode == -signal.SIGINT
    assert names(blocking) == []


def test_a_signal_amid_a_callback(emulator: Emulator, blocking: Arker) -> None:
    done = run(emulator, "interrupted_callback")
    assert done.returncode == -signal.SIGINT, done.stderr
    assert names(blocking) == []


# --- what people run it in --------------------------------------------------------------------------------------------


def test_a_notebook(emulator: Emulator, blocking: Arker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel has a running event loop in the thread of the cells; a cell that takes too long is interrupted."""
    program = """
import nbformat, sys
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

cells = [
    "import asyncio; asyncio.get_running_loop()\\nfrom arker_sync import Arker",
    "ar = Arker(); vm = ar.fork('ubuntu', name='from a notebook')",
    "print(vm.run('echo from a cell').stdout_text)",
    "import os, signal, threading, time\\n"
    "def interrupt():\\n    while not vm.list_runs(state='running').runs:\\n        time.sleep(0.05)\\n"
    "    os.kill(os.getpid(), signal.SIGINT)\\n"
    "threading.Thread(target=interrupt).start()\\n"
    "try:\\n    vm.run('sleep 60')\\nexcept KeyboardInterrupt:\\n    print('interrupted')",
    "print(vm.run('', signal='TERM').exit_code, vm.run('echo still there').stdout_text)",
    "await asyncio.sleep(0); print('awaited'); vm.delete()",
]
notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print("".join(output.get("text", "") for cell in notebook.cells for output in cell.outputs))
"""
    places = {name: str(tmp_path) for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment(emulator), **places},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["from", "a", "cell", "interrupted", "0", "still", "there", "awaited"], done.stderr
    assert names(blocking) == []


SERVICE = """
import os
from contextlib import asynccontextmanager
from fastapi import FastAPI
from arker_sync import Arker
from tests.support import forked

client = Arker()

@asynccontextmanager
async def lifespan(app):
    with client:
        yield

app = FastAPI(lifespan=lifespan)

@app.get("/threads/{word}")
def in_a_thread(word: str):
    with client.fork("ubuntu") as vm:
        return vm.run(["echo", word]).stdout_text

@app.get("/loop/{word}")
async def in_the_loop(word: str):
    with client.fork("ubuntu") as vm:
        return vm.run(["echo", word]).stdout_text
"""

WSGI = """
import os
from arker_sync import Arker
from tests.support import forked

client = Arker()
vm = client.fork("ubuntu", name="the parent's")
vm.run("true")

def app(environ, start_response):
    word = environ["PATH_INFO"].strip("/")
    with client.fork(vm) as own:
        text = f"{os.getpid()} {own.run(['echo', word]).stdout_text}"
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"""


def get(port: int, path: str) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
        text: str = response.read().decode()
        return text


def wait_for(process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    """Read what a server says until it says that it is ready."""
    assert process.stderr is not None
    said: list[str] = []
    for line in process.stderr:
        said.append(line)
        found = re.search(pattern, line)
        if found:
            return found
    raise AssertionError("".join(said))


def stop(process: subprocess.Popen[str]) -> str:
    """End a server as a supervisor does; gives the rest of what it said."""
    process.terminate()
    try:
        _, rest = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return rest


def test_a_service_in_fastapi(emulator: Emulator, blocking: Arker, tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", "0", "--host", "127.0.0.1"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(emulator), text=True, stderr=subprocess.PIPE)
    try:
        port = int(wait_for(process, r"running on http://127\.0\.0\.1:(\d+)")[1])
        with ThreadPoolExecutor(8) as pool:
            paths = [f"/{kind}/{number}" for kind in ("threads", "loop") for number in range(8)]
            answers = list(pool.map(partial(get, port), paths))
        assert answers == [f'"{number}\\n"' for _ in range(2) for number in range(8)]
    finally:
        rest = stop(process)
    assert process.returncode in {0, -signal.SIGTERM}
    assert "Traceback" not in rest, rest
    assert names(blocking) == []


def test_a_server_that_forks_its_workers(emulator: Emulator, blocking: Arker, tmp_path: Path) -> None:
    """The client is made, and used, before gunicorn forks."""
    (tmp_path / "service.py").write_text(WSGI)
    options = ["--preload", "--workers", "2", "--bind", "127.0.0.1:0", "--worker-tmp-dir", str(tmp_path)]
    command = [sys.executable, "-m", "gunicorn", *options, "service:app"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(emulator), text=True, stderr=subprocess.PIPE)
    try:
        port = int(wait_for(process, r"Listening at: http://127\.0\.0\.1:(\d+)")[1])
        answered: dict[str, list[str]] = {}
        deadline = time.monotonic() + PATIENCE
        while len(answered) < 2 and time.monotonic() < deadline:
            worker, word = get(port, "/word").split()
            answered.setdefault(worker, []).append(word)
        assert len(answered) == 2
        assert str(process.pid) not in answered
        assert {word for words in answered.values() for word in words} == {"word"}
    finally:
        rest = stop(process)
    assert process.returncode == 0
    assert "Traceback" not in rest, rest
    assert names(blocking) == ["the parent's"]
