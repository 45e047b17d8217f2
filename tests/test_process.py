"""What processes do when they fork and when they end: in the written order, and whatever a step does."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from arker._tasks.process import ORDER
from arker.emulator import Emulator
from tests.support import forked

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0
"""Seconds that a program may take on a machine that has much else to do."""
NAMES = [name.replace(" ", "_") for name in ORDER]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no os.fork()")


def run(program: str, *arguments: str, new: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program. A new one has loaded none of the packages, and ends as any other does."""
    # Newer versions of Python warn of any fork beside a thread.
    beginning = "import warnings\nwarnings.filterwarnings('ignore', category=DeprecationWarning, message='.*fork.*')\n"
    if not new:
        return forked.run("code", beginning + program, *arguments, env=os.environ, timeout=PATIENCE)
    command = [sys.executable, "-W", "error", "-c", beginning + program, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False)


def calls(function: str) -> dict[Path, list[ast.Call]]:
    """Where in the packages a function of this name is called."""
    found: dict[Path, list[ast.Call]] = {}
    for package in ("arker", "arker_pytest", "arker_sync"):
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if function in text else ():
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                    if name == function:
                        found.setdefault(path.relative_to(ROOT), []).append(node)
    return found


def test_one_module_alone_registers_functions() -> None:
    home = Path("arker/_tasks/process.py")
    assert set(calls("register_at_fork")) == {home}
    texts = {path: (ROOT / path).read_text() for package in ("arker", "arker_sync") for path in python_files(package)}
    assert [path for path, text in texts.items() if "import atexit" in text or "from atexit" in text] == [
        Path("arker/_basics/exit.py")
    ]


def python_files(package: str) -> list[Path]:
    return [path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")]


def test_each_step_belongs_to_one_module() -> None:
    steps = [ast.literal_eval(call.args[0]) for found in calls("hand_in").values() for call in found]
    assert sorted(steps) == sorted(ORDER)


ORDERED = """
import atexit, os, random, sys, weakref
from functools import partial
from arker._tasks.process import ORDER, hand_in

class Thing: pass

def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())  # whole lines, of two processes at once

thing = Thing()
weakref.finalize(thing, say, "finalizer")
atexit.register(say, "the program's own")
steps = list(ORDER)
random.Random(int(sys.argv[1])).shuffle(steps)
for step in steps:
    name = step.replace(" ", "_")
    hand_in(
        step,
        before_fork=partial(say, "before", name),
        in_parent=partial(say, "parent", name),
        in_child=partial(say, "child", name),
        at_exit=partial(say, "exit", name),
    )
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


@pytest.mark.parametrize("seed", range(3))
def test_the_order_is_the_written_one_whatever_was_loaded_first(seed: int) -> None:
    done = run(ORDERED, str(seed))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for moment, order in {"before": NAMES, "parent": NAMES[::-1], "child": NAMES, "exit": NAMES}.items():
        assert [line.split()[1] for line in lines if line.split()[0] == moment] == order
    # A program's own functions still have clients, and what finalizers remove is there until clients are closed.
    assert lines[-len(NAMES) - 2] == "the program's own"
    assert lines[-1] == "finalizer"


FAILING = """
import os
from arker._tasks.process import ORDER, hand_in

def fail(): raise LookupError("no")
def interrupt(): raise KeyboardInterrupt

hand_in(ORDER[0], before_fork=fail, in_child=interrupt, at_exit=fail)
hand_in(ORDER[-1], before_fork=lambda: print("before", flush=True), in_child=lambda: print("child", flush=True),
        at_exit=lambda: print("exit", flush=True))
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_step_that_fails_keeps_no_other_from_its_turn() -> None:
    done = run(FAILING)
    assert done.stdout.split() == ["before", "child", "exit"]
    assert done.stderr.count("LookupError: no") == 2
    assert "what blocking loop do before fork failed" in done.stderr
    assert "KeyboardInterrupt" in done.stderr


KEEPING = """
import os, sys, threading
import arker
from arker._tasks.process import keep_in_child

class Thing:
    def __del__(self, write=os.write):
        write(1, b"destroyed\\n")

over = threading.Event()
thread = threading.Thread(target=over.wait)
thread.start()
child = os.fork()
if child == 0:
    Thing()
    keep_in_child(Thing())
    sys.exit(0)  # with all that an exit does
print(os.waitpid(child, 0)[1])
over.set()
thread.join()
"""


def test_what_a_child_keeps_is_not_destroyed_at_its_end_either() -> None:
    done = run(KEEPING)
    assert (done.stdout, done.stderr) == ("destroyed\n0\n", "")


CONNECTED = """
import asyncio, os, sys, threading
import arker

url, key = sys.argv[1:]
ar = arker.AsyncArker(key, base_url=url, burst_base_url=url, control_base_url=url, ledger=False)
loop = asyncio.new_event_loop()

def work():
    loop.run_forever()

thread = threading.Thread(target=work)
thread.start()

def call(work):
    return asyncio.run_coroutine_threadsafe(work, loop).result()

async def close():
    await ar.aclose()
    await loop.shutdown_asyncgens()

vms = call(ar.list_vms())
for _ in range(3):
    child = os.fork()
    if child == 0:
        print(asyncio.run(ar.list_vms()) == vms, flush=True)
        sys.exit(0)  # with all that an exit does
    assert os.waitpid(child, 0)[1] == 0
    print(call(ar.list_vms(deadline=20)) == vms, flush=True)
call(close())
loop.call_soon_threadsafe(loop.stop)
thread.join()
loop.close()
"""


def test_a_child_that_ends_leaves_its_parent_s_connections_alone(arker_emulator: Emulator) -> None:
    done = run(CONNECTED, arker_emulator.url, arker_emulator.api_key)
    assert (done.stdout.split(), done.stderr) == (["True"] * 6, "")
    assert done.returncode == 0


OWN_LOOP = """
import asyncio, os, sys
from arker import AsyncArker

loop = asyncio.new_event_loop()
told = []
loop.set_exception_handler(lambda loop, context: told.append(context["message"]))
url, key = sys.argv[1:]
ar = AsyncArker(key, base_url=url, burst_base_url=url, control_base_url=url, ledger=False)
loop.run_until_complete(ar.list_vms())
child = os.fork()
if child == 0:
    loop.call_exception_handler({"message": "the program's own"})
    print(told, flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
loop.run_until_complete(ar.aclose())
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
"""


def test_a_child_keeps_the_program_s_own_handler_of_its_loop(arker_emulator: Emulator) -> None:
    done = run(OWN_LOOP, arker_emulator.url, arker_emulator.api_key, new=False)
    assert (done.stdout, done.stderr, done.returncode) == ('["the program\'s own"]\n', "", 0)


KEPT_SESSIONS = """
import asyncio, os, sys
from arker import AsyncArker

url, key = sys.argv[1:]
ar = AsyncArker(key, base_url=url, burst_base_url=url, control_base_url=url, ledger=False)
loop = asyncio.new_event_loop()

async def sessions(vm):
    return {each.session_id for each in (await vm.list_sessions()).sessions if each.session_idx != 0}

async def begin():
    # Sessions for paths and for a run beside another, and one for an input that is still open.
    vm, other = await ar.fork("ubuntu"), await ar.fork("ubuntu")
    await vm.files.mkdir("/tmp/a")
    await asyncio.gather(vm.run("sleep 0.3"), vm.run("sleep 0.3"))
    run = await other.start("cat", stdin=True)
    await run.write("from the parent")
    return vm, other, run, await sessions(vm), await sessions(other)

async def in_child():
    earlier = {each.run_id for each in (await vm.list_runs()).runs}
    await vm.files.stat("/tmp/a")
    await asyncio.gather(vm.run("sleep 0.3"), vm.run("sleep 0.3"))
    used = {each.session_id for each in (await vm.list_runs()).runs if each.run_id not in earlier}
    assert len(used) > 1 and not used & before, (used, before)
    await ar.aclose()

async def check():
    assert (await sessions(vm), await sessions(other)) == (before, before_other)
    await vm.files.stat("/tmp/a")
    await run.close_stdin()
    assert (await run.wait()).stdout == b"from the parent"
    await asyncio.gather(vm.delete(), other.delete())
    await ar.aclose()
    await loop.shutdown_asyncgens()

vm, other, run, before, before_other = loop.run_until_complete(begin())
child = os.fork()
if child == 0:
    asyncio.run(in_child())
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
loop.run_until_complete(check())
loop.close()
"""


def test_a_child_leaves_the_sessions_of_its_parent_s_client_alone(arker_emulator: Emulator) -> None:
    done = run(KEPT_SESSIONS, arker_emulator.url, arker_emulator.api_key, new=False)
    assert (done.stderr, done.returncode) == ("", 0)
