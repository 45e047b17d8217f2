"""A program that kills steps on trees before each of their system calls in turn, and recovers what they leave.

It is a process of its own, since it forks. It prints how many calls there were.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arker.emulator.sandbox.bubblewrap.graft import STEP, complete, graft
from arker.emulator.sandbox.closed import Closed
from arker.emulator.sandbox.recovery import complete_steps, exchange, look
from arker.emulator.sandbox.trees import DirectoryStorage, DirectoryTree

CALLS = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "open", "os.utime", "os.chmod"}
MOUNTS = ["/usr", "/etc/ssl/certs", "/proc"]
WAYS = ("/home/user",)


def storage_of(base: Path) -> DirectoryStorage:
    return DirectoryStorage(base, identity=None, tool_prefix=(), furnish=lambda _: None, lasting=True)


def fill(root: Path) -> None:
    for name in ("home/user/d", "etc/ssl/certs", "usr", "proc", "var/tmp"):
        (root / name).mkdir(parents=True)
    for name in ("home/user/file", "home/user/d/deep", "etc/passwd", "etc/ssl/own", "var/tmp/x"):
        (root / name).write_text(name)


def content(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def into_spare(base: Path) -> None:
    """Do what a provider does when a VM takes a spare sandbox."""
    storage = storage_of(base)
    note = storage.notes.begin(STEP, vm="vm", spare=".spare-1", mounts=MOUNTS, ways=WAYS)
    assert graft(base / "vm", base / ".spare-1", MOUNTS, *WAYS)
    exchange(base, base / ".spare-1", base / "vm")
    note.end()


def share(base: Path) -> None:
    """Do what a storage does when a fork shares its parent's files."""
    storage = storage_of(base)
    storage._share(DirectoryTree(base / "vm", storage), base / "child")  # pyright: ignore[reportPrivateUsage]


def killed_at(number: int, work: Callable[[Path], None], base: Path) -> bool:
    """Do the work in a process that is killed before its call of that number. Returns whether there was one."""
    pid = os.fork()
    if pid == 0:
        left = [number]

        def count(event: str, arguments: Any) -> None:
            del arguments
            if event in CALLS:
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1

        sys.addaudithook(count)
        work(base)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert status == 0 or os.WTERMSIG(status) == signal.SIGKILL, status
    return status != 0


def interrupt(work: Callable[[Path], None]) -> int:
    """Kill the work at every call, and check that the VM has all of its files afterwards."""
    number = 0
    while True:
        with tempfile.TemporaryDirectory() as place:
            base = Path(place, "vms")
            base.mkdir()
            fill(base / "vm")
            for name in ("home/user", "etc/ssl/certs", "usr", "proc"):
                (base / ".spare-1" / name).mkdir(parents=True)
            expected = content(base / "vm")
            was_killed = killed_at(number, work, base)
            complete_steps(base, {STEP: complete})
            for path in look(base, ["vm"]).leftovers:
                assert path.name.startswith((".left-", ".spare-", ".work-", ".stack-", ".unfinished-", "child")), path
            tree = storage_of(base).adopt("vm")
            below = [] if tree.stack is None else [content(layer.path) for layer in tree.stack.layers]
            found = {name: text for each in (*below, content(base / "vm")) for name, text in each.items()}
            assert found == expected, (number, found)
            complete_steps(base, {STEP: complete})  # nothing is left to be done
        if not was_killed:
            return number
        number += 1


def modes(root: Path) -> dict[str, int]:
    """Return the mode of everything in a tree, which is open afterwards."""
    found = {"": root.stat().st_mode}
    root.chmod(0o700)
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        found |= {f"{path.name}/{name}": mode for name, mode in modes(path).items()}
    return found


def close_some(root: Path) -> None:
    for name, mode in (("home/user/d/deep", 0), ("home/user/d", 0o300), ("home", 0), ("etc/ssl/own", 0), ("", 0o200)):
        (root / name).chmod(mode)


def open_closed(base: Path) -> None:
    """Do what a storage does around a copy by tools that do not see through modes."""
    closed = Closed(base / "vm", storage_of(base).notes)
    assert closed.open()
    closed.close()


def interrupt_opening() -> int:
    """Kill the opening and closing at every call, and check that all modes are as before afterwards."""
    number = 0
    while True:
        with tempfile.TemporaryDirectory() as place:
            base = Path(place, "vms")
            for name in ("vm", "other"):
                fill(base / name)
                close_some(base / name)
            was_killed = killed_at(number, open_closed, base)
            complete_steps(base, {})
            assert modes(base / "vm") == modes(base / "other"), number
        if not was_killed:
            return number
        number += 1


def main() -> None:
    print("open_closed", interrupt_opening())
    for work in (into_spare, share):
        print(work.__name__, interrupt(work))


if __name__ == "__main__":
    main()
