"""A VM that takes all it can of one thing after the other: what it is told, what another VM and the host have left.

``python -m tests.soak.filling STATE_PARENT LIMIT WHAT...`` prints a line of JSON for each. Run it where the state
directory is on a small file system; to have memory filled, in a cgroup, and name the file that has its limit (else
``-``).
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from arker import ArkerError, AsyncArker, AsyncVM
from arker.emulator.sandbox.bubblewrap.seccomp import ARCHITECTURES

_ADD_KEY = ARCHITECTURES[os.uname().machine].numbers["add_key"]

_PRELUDE = """
import ctypes, errno, os, resource, signal, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def until_refused(make, most=200000):
    for number in range(most):
        try:
            if make(number) == -1:
                print(number, errno.errorcode[ctypes.get_errno()]); return
        except OSError as error:
            print(number, errno.errorcode[error.errno]); return
    print(most, "no end")
"""
FILLERS = {
    "memory": """
pids = []
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        try:
            block = bytearray(20 << 20)
            block[::4096] = b"x" * len(block[::4096])
            time.sleep(10)
        finally:
            os._exit(0)
    pids.append(pid)
killed = sum(os.WIFSIGNALED(os.waitpid(pid, 0)[1]) for pid in pids)
print(killed > 0, "SIGKILL for some of 60 processes of 20 MiB")
""",
    "shared memory": """
with open("/dev/shm/fill", "wb") as file:
    until_refused(lambda _: os.posix_fallocate(file.fileno(), 0, (_ + 1) << 20) or True, 4096)
""",
    "files in shared memory": """
until_refused(lambda n: os.close(os.open(f"/dev/shm/{n}", os.O_CREAT | os.O_WRONLY)) or True)
""",
    "disk": """
file = open("fill", "wb", buffering=0)
until_refused(lambda _: file.write(bytes(1 << 20)) > 0, 256)
""",
    "inodes": """
os.mkdir("many")
until_refused(lambda n: os.close(os.open(f"many/{n}", os.O_CREAT | os.O_WRONLY)) or True, 5000)
""",
    "processes": """
pids = []
def start(_):
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    pids.append(pid)
    return True
until_refused(start, 20000)
[os.kill(pid, 9) for pid in pids]
""",
    "descriptors": """
until_refused(lambda _: os.open("/dev/null", os.O_RDONLY) > 0)
""",
    "keys": f"""
until_refused(lambda n: libc.syscall({_ADD_KEY}, b"user", b"k%d" % n, b"x" * 1000, 1000, -3), 1000)
""",
    "inotify instances": """
until_refused(lambda _: libc.inotify_init(), 10000)
""",
    "timers": """
made = ctypes.c_void_p()
until_refused(lambda _: libc.timer_create(1, None, ctypes.byref(made)), 200000)
""",
    "message queues": """
rt = ctypes.CDLL("librt.so.1", use_errno=True)
until_refused(lambda n: rt.mq_open(b"/q%d" % n, os.O_CREAT | os.O_RDWR, 0o600, None), 1000)
""",
}


def _start_a_process() -> None:
    subprocess.run(["/bin/true"], check=True)


def _open_a_file() -> None:
    os.close(os.open("/dev/null", os.O_RDONLY))


def _make_an_inotify_instance() -> None:
    fd = ctypes.CDLL(None, use_errno=True).inotify_init()
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(fd)


def _make_a_timer() -> None:
    timer = ctypes.c_void_p()
    if ctypes.CDLL(None, use_errno=True).timer_create(1, None, ctypes.byref(timer)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    ctypes.CDLL(None).timer_delete(timer)


def _add_a_key() -> None:
    # -2 is the keyring of this process
    if ctypes.CDLL(None, use_errno=True).syscall(_ADD_KEY, b"user", b"left", b"x", 1, -2) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


HOST: dict[str, Callable[[], None]] = {
    "processes": _start_a_process,
    "descriptors": _open_a_file,
    "inotify instances": _make_an_inotify_instance,
    "timers": _make_a_timer,
    "keys": _add_a_key,
}
"""What the host must be able to do while a VM has taken what it got."""


async def _fill(ar: AsyncArker, other: AsyncVM, name: str, program: str) -> dict[str, object]:
    vm = await ar.fork("ubuntu")
    # Whatever was made is held for a while after the program has said how far it came.
    held = f"{_PRELUDE}\n{program}\nsys.stdout.flush()\ntime.sleep(600)\n"
    await vm.sync("/tmp/fill.py", held.encode())
    run = await vm.start("exec python3 /tmp/fill.py")
    told = ""
    async for line in run.lines():
        told = line.text
        break
    report: dict[str, object] = {"what": name, "told": told.strip()}
    report["other VM"] = (await other.run("echo fine; sleep 0 & wait", timeout=60)).stdout.decode().strip()
    failed: list[str] = []
    for what, act in HOST.items():
        try:
            act()
        except OSError as error:
            failed.append(f"{what}: {error.strerror}")
    report["host"] = failed or "fine"
    try:
        fresh = await ar.fork("ubuntu")
        result = await fresh.run("echo fine", timeout=60)
        report["new VM"] = result.stdout.decode().strip() or f"{result.state}: {result.fail_reason}"
        await fresh.delete()
    except ArkerError as error:
        report["new VM"] = type(error).__name__ + ": " + str(error)[:150]
    await vm.delete()
    report["afterwards"] = (await other.run("echo fine > ~/file; cat ~/file", timeout=60)).stdout.decode().strip()
    return report


async def main() -> None:
    place, limit, *names = sys.argv[1:]
    if "memory" in names and int(Path(limit).read_text()) > 2 << 30:
        raise SystemExit("no memory cgroup of at most 2 GiB")
    async with AsyncArker.local(state_parent=place, isolation="bubblewrap") as ar:
        other = await ar.fork("ubuntu")
        await other.run("true")
        for name in names:
            print(json.dumps(await _fill(ar, other, name, FILLERS[name])), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
