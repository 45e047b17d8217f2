"""Processes that tests fork instead of starting them are what they would be otherwise."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from arker import AsyncArker
from tests.support.forked import ForkedEmulator, Prefork, prefork, program, run, start
from tests.support.waiting import PATIENCE, block_until

SHOW = """
import asyncio, atexit, os, sys, threading, time
import arker
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.1), print("in a thread"))).start()
print(__name__, sys.argv, os.getcwd(), os.environ["ONE"], "TWO" in os.environ, sys.path[0] == "")
print(repr(sys.stdin.read()))
print("error", file=sys.stderr)
sys.exit(7)
"""


def test_a_program_has_what_it_is_given(tmp_path: Path) -> None:
    done = run("code", SHOW, "word", cwd=tmp_path, env={"ONE": "1"}, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (7, "error\n")
    first, *rest = done.stdout.splitlines()
    assert first == f"__main__ ['-c', 'word'] {tmp_path} 1 False True"
    assert rest == ["''", "in a thread", "at exit"]


@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
        ("raise LookupError('its own')", 1, "LookupError: its own"),
        ("import warnings; warnings.warn('one', stacklevel=1)", 1, "UserWarning: one"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import os; os._exit(3)", 3, ""),
    ],
)
def test_how_a_program_ends(tmp_path: Path, code: str, status: int, told: str) -> None:
    done = run("code", code, cwd=tmp_path, env={}, timeout=PATIENCE)
    assert done.returncode == status
    assert done.stderr.strip().endswith(told)
    assert bool(done.stderr) == bool(told)


@pytest.mark.parametrize(("end", "status"), [("", 0), ("sys.exit('no')", 1), ("sys.exit(7)", 7), ("1 / 0", 1)])
def test_what_a_program_holds_is_destroyed_at_its_end(tmp_path: Path, end: str, status: int) -> None:
    code = f"""
import atexit, sys
class Held:
    def __del__(self, print=print):
        print("destroyed")
def hold():
    held = Held()
    held.itself = held
    {end or "pass"}
    return held
atexit.register(print, "at exit")
held = hold()
"""
    done = run("code", code, cwd=tmp_path, env={}, timeout=PATIENCE)
    assert (done.returncode, done.stdout.split("\n")) == (status, ["at exit", "destroyed", ""]), done.stderr


def test_a_module_is_run_as_a_program(tmp_path: Path) -> None:
    with start("module", "json.tool", "--compact", cwd=str(tmp_path), env={}) as process:
        assert process.communicate(b"[1, 2]", timeout=PATIENCE) == (b"[1,2]\n", b"")
        assert process.returncode == 0
    with start("module", "json.tool", "nothing", cwd=str(tmp_path), env={}, stdout=subprocess.DEVNULL) as process:
        said, complaints = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0
        assert said is None
        assert complaints


def test_a_file_is_run_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "beside.py").write_text("word = 'beside'")
    (tmp_path / "place" / "file.py").write_text("import beside, sys; print(__name__, __file__, sys.argv, beside.word)")
    done = run("file", "place/file.py", "word", cwd=tmp_path, env={})
    whole = tmp_path / "place" / "file.py"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"__main__ {whole} ['place/file.py', 'word'] beside\n"


BACKEND = """
import os
from pathlib import Path
from arker.emulator import Emulator

with Emulator(isolation="none") as emulator:
    pid = emulator.pid
    parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    print(parent, emulator.url.startswith("http://127.0.0.1:"))
print(Path(f"/proc/{pid}").exists())
"""


def test_the_backends_of_a_program_are_forked_from_the_same_process(tmp_path: Path) -> None:
    done = run("code", BACKEND, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    assert (done.returncode, done.stdout) == (0, f"{prefork().pid} True\nFalse\n"), done.stderr


def test_what_a_library_does_at_the_end_is_done(tmp_path: Path) -> None:
    code = "from arker._tasks.process import ORDER, hand_in; hand_in(ORDER[0], at_exit=lambda: print('at exit'))"
    done = run("code", code, cwd=tmp_path, env={})
    assert (done.returncode, done.stdout, done.stderr) == (0, "at exit\n", "")


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with pytest.raises(subprocess.TimeoutExpired):
        run("code", code, cwd=tmp_path, env={}, timeout=0.1)
    with program(code) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
    assert process.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists(), "its end was told before it had been reaped"


def test_one_that_another_thread_waits_for_can_be_killed() -> None:
    with program("import time; time.sleep(600)") as process, ThreadPoolExecutor(1) as threads:
        ended = threads.submit(process.wait, PATIENCE)
        block_until(ended.running)
        assert process.poll() is None
        process.kill()
        assert ended.result() == -signal.SIGKILL


def test_what_a_killed_test_run_leaves_behind_ends() -> None:
    made = Prefork()
    code = "import time; time.sleep(600)"
    with open(os.devnull, "r+b") as null:
        streams = (null.fileno(),) * 3
        left = made.start("code", streams=streams, env={}, cwd="/", code=code, arguments=[])
    made.close()  # as the system does when this process is killed
    assert left.wait(PATIENCE) == -signal.SIGKILL


def test_programs_do_not_draw_alike(tmp_path: Path) -> None:
    """They are forked from one process, whose generators they would share."""
    code = "import random, ssl, uuid; print(random.random()); print(uuid.uuid4()); print(ssl.RAND_bytes(8))"
    drawn = [run("code", code, cwd=tmp_path, env={}, timeout=PATIENCE).stdout.split("\n")[:3] for _ in range(2)]
    assert all(one != other for one, other in zip(*drawn, strict=True)), drawn


def test_what_it_is_given_stays_nowhere_else() -> None:
    """Else a pipe would not end with the process that it is for, nor a backend with the program that has started it."""

    def held() -> set[str]:
        place, found = Path(f"/proc/{prefork().pid}/fd"), set[str]()
        for name in os.listdir(place):
            with suppress(FileNotFoundError):  # of another program, which has just ended
                found.add(os.readlink(place / name))
        return found

    with program("import time; time.sleep(600)") as sleeping, program("print(input())") as echoing:
        told = (sleeping._told, echoing._told)  # pyright: ignore[reportPrivateUsage]
        streams = (sleeping.stdin, sleeping.stdout, echoing.stdin, echoing.stdout, *told)
        numbers = [stream.fileno() for stream in streams if stream is not None]
        pipes = {os.readlink(f"/proc/self/fd/{number}") for number in numbers}
        assert len(pipes) == 6
        assert echoing.communicate("what is said\n") == ("what is said\n", None)
        assert echoing.returncode == 0
        assert sleeping.poll() is None
    block_until(lambda: not pipes & held())


@pytest.mark.anyio
async def test_a_backend_serves_and_ends() -> None:
    async with ForkedEmulator(isolation="none") as emulator:
        pid = emulator.pid
        assert pid is not None
        assert os.getsid(pid) == pid, "Ctrl-C would reach it"
        async with AsyncArker(**emulator.client_options) as ar, await ar.fork("ubuntu") as vm:
            assert (await vm.run("echo $0")).exit_code == 0
    assert emulator.pid is None
    assert not Path(f"/proc/{pid}").exists()
