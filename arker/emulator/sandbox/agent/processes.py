"""Finding, stopping and killing process trees that try to escape."""

from __future__ import annotations

import fcntl
import posix as os
import time

from arker.emulator.sandbox.agent.refusals import Refused
from arker.emulator.sandbox.agent.system import Pointer, exists, function

TYPE_CHECKING = False  # typing is not imported in the VM: see the package
if TYPE_CHECKING:
    import signal
    from collections.abc import Container
else:
    import _signal as signal

PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

MANY = 64
"""Processes beyond which a killer stops everyone first."""

LAST_THREADS = 3.0
"""Seconds that the last threads of processes which have been killed may take to end."""

MACHINE = os.uname().machine
MAKING_PROCESSES = {"x86_64": (56, 57, 58, 435), "aarch64": (220, 435)}
"""Numbers of the system calls clone, fork, vfork and clone3."""

# Stays open: the VM may lock or move every path to its root's entries, but not what is already open.
PROC = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY) if exists("/proc/self/stat") else None
# A record lock belongs to a process, so those that are forked from here exclude each other.
BRAKE = os.memfd_create("brake") if PROC is not None else -1


def prctl(option: int, value: object) -> None:
    try:
        call = function("prctl")
    except OSError:  # not Linux: processes that leave the tree are not found there
        return
    call(option, value, 0, 0, 0)


def rename(name: str) -> None:
    """Change the name of this process that ``ps`` and ``pkill -f`` see."""
    prctl(PR_SET_NAME, name.encode())
    try:
        fields = read_proc("self/stat").rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])
    except (OSError, ValueError):
        return
    if start > 0 and len(name) < end - start:
        content = name.encode().ljust(end - start, b"\0")
        function("memmove")(Pointer(start), content, len(content))


def list_proc() -> list[str]:
    """Return the names in /proc."""
    # Opened anew each time: supervisors are forked from the agent, and with a descriptor that all of them share they
    # would also share the place in the directory, so that two who list at the same time miss processes.
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=PROC)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def read_proc(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY, dir_fd=PROC)
    try:
        return os.read(fd, 4096)
    finally:
        os.close(fd)


def processes() -> dict[int, tuple[int, int, str]]:
    """Return every visible process: its parent, its process group and the letter of its state."""
    found: dict[int, tuple[int, int, str]] = {}
    if PROC is None:
        import subprocess  # only here, since it is a large module

        listing = subprocess.run(["/bin/ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE, check=True)
        for line in listing.stdout.decode().splitlines():
            pid, parent, group, state = line.split(None, 3)
            found[int(pid)] = (int(parent), int(group), state[0])
        return found
    for name in list_proc():
        if name.isdigit():
            try:
                status = read_proc(f"{name}/stat")
            except OSError:  # it has gone
                continue
            fields = status[status.rfind(b")") + 2 :].split()  # a command's name may hold anything, spaces included
            state = fields[0].decode()
            if state in "ZX" and int(fields[17]) > 1:  # only its first thread has ended
                state = "S"
            found[int(name)] = (int(fields[1]), int(fields[2]), state)
    return found


def children_by_parent(everyone: dict[int, tuple[int, int, str]]) -> dict[int, list[int]]:
    children: dict[int, list[int]] = {}
    for pid, (parent, _, _) in everyone.items():
        children.setdefault(parent, []).append(pid)
    return children


def descendants(
    root: int, spare: Container[int] = (), *, everyone: dict[int, tuple[int, int, str]] | None = None
) -> dict[int, tuple[int, str]]:
    """Return the process group and state of everything below ``root``, except what is in ``spare`` or below it."""
    if everyone is None:
        everyone = processes()
    children = children_by_parent(everyone)
    below: dict[int, tuple[int, str]] = {}
    todo = [root]
    while todo:
        for pid in children.get(todo.pop(), ()):
            if pid not in spare and pid not in below:
                below[pid] = everyone[pid][1:]
                todo.append(pid)
    return below


def send_signal(number: int, pid: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


def wake_up(number: int, frame: object) -> None:
    """Do nothing: without a handler, a signal would not reach the wake-up descriptor."""


def reap(options: int = 0) -> list[tuple[int, int]] | None:
    """Reap the children that have ended. Returns their wait statuses; None when there are no children left at all.

    With ``os.WUNTRACED``, those that have stopped, too.
    """
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG | options)
        except ChildProcessError:
            return ended or None
        if pid == 0:
            return ended
        ended.append((pid, status))


def reap_all() -> None:
    """Reap every child, all of which have been killed. A process can be reaped once the last of its threads has ended.

    Otherwise it would be left to the process that has started this one, and that does not know it.
    """
    give_up = time.monotonic() + LAST_THREADS
    while reap() is not None and time.monotonic() < give_up:
        time.sleep(0.001)


def kill_below(root: int, spare: Container[int] = (), *, brake: bool = False) -> list[tuple[int, int]]:
    """Kill everything below ``root``, however fast it forks. Returns the children that were reaped on the way.

    Args:
        root: The process whose descendants are meant.
        spare: Left alone, with all below it.
        brake: Whether every process that can be seen belongs to the same VM and may be stopped for a moment.
    """
    # Among a thousand busy processes this one gets too little processor time to identify them. Stopping all of them
    # takes one call, and the unrelated ones are continued at once.
    brake = brake and PROC is not None and sum(name.isdigit() for name in list_proc()) > MANY and _take_brake()
    if brake:
        send_signal(signal.SIGSTOP, -1)
    try:
        return _kill_below(root, spare)
    finally:
        if brake:
            send_signal(signal.SIGCONT, -1)
            fcntl.lockf(BRAKE, fcntl.LOCK_UN)


def _take_brake() -> bool:
    """Return whether this process may stop all others. Two such processes would stop each other and never continue."""
    try:
        fcntl.lockf(BRAKE, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _kill_below(root: int, spare: Container[int]) -> list[tuple[int, int]]:
    ended: list[tuple[int, int]] = []
    own_group = os.getpgrp()
    stopped: set[int] = set()
    while True:
        below = descendants(root, spare)
        running = {pid: group for pid, (group, state) in below.items() if state not in "ZX"}
        if not running:
            return ended + (reap() or [])
        # Kill nothing while processes could still fork, or a fork bomb would be faster than this loop.
        fresh = running.keys() - stopped
        for group in {running[pid] for pid in fresh} - {own_group}:
            send_signal(signal.SIGSTOP, -group)  # one call stops a whole pipeline at the same moment
        for pid in fresh:
            send_signal(signal.SIGSTOP, pid)
        stopped |= fresh
        if not fresh:
            for pid in running:
                send_signal(signal.SIGKILL, pid)
            stopped.clear()
            time.sleep(0.001)
            ended += reap() or []


def at_rest(pid: int, children: dict[int, list[int]]) -> bool:
    """Return whether a process that has been sent SIGSTOP has stopped completely.

    A thread that has started a child by vfork waits for it in the kernel, and does not stop before the child, which has
    its memory until it executes a program, goes on. When the child is at rest, so is the thread.
    """
    if PROC is None:
        return True
    try:
        tasks = os.open(f"{pid}/task", os.O_RDONLY, dir_fd=PROC)
        try:
            threads = os.listdir(tasks)
        finally:
            os.close(tasks)
        for thread in threads:
            place = f"{pid}/task/{thread}"
            state = read_proc(f"{place}/stat").rpartition(b")")[2].split()[0]
            if state == b"D" and in_vfork(place):
                if not any(state_of(child) in b"TtD" and at_rest(child, children) for child in children.get(pid, ())):
                    return False
            elif state not in b"TtZX":
                return False
    except OSError:  # it has gone
        pass
    return True


def state_of(pid: int) -> bytes:
    try:
        return read_proc(f"{pid}/stat").rpartition(b")")[2].split()[0]
    except OSError:
        return b"X"


def in_vfork(place: str) -> bool:
    """Return, from its entry in /proc, whether a thread sleeps in a system call that makes processes."""
    try:
        number = read_proc(f"{place}/syscall").split()[0]
        if number.isdigit() and MACHINE in MAKING_PROCESSES:
            return int(number) in MAKING_PROCESSES[MACHINE]
    except OSError:
        pass
    try:
        place_in_kernel = read_proc(f"{place}/wchan")
        if place_in_kernel not in (b"", b"0"):
            return b"fork" in place_in_kernel or b"clone" in place_in_kernel
    except OSError:
        pass
    return True  # the kernel does not tell; its child decides


def stop_below(root: int, spare: set[int], limit: float = 5.0) -> list[int]:
    """Stop everything below ``root`` except ``spare`` itself. Returns the processes that were running before."""
    halted: list[int] = []
    seen: set[int] = set()
    end = time.monotonic() + limit
    while True:
        everyone = processes()
        children = children_by_parent(everyone)
        below = {
            pid: state
            for pid, (_, state) in descendants(root, everyone=everyone).items()
            if pid not in spare and state not in "ZX"
        }
        fresh = [pid for pid in below if pid not in seen]
        for pid in fresh:
            seen.add(pid)
            if below[pid] not in "Tt" and send_signal(signal.SIGSTOP, pid):
                halted.append(pid)
        if not fresh and all(at_rest(pid, children) for pid in below):
            return halted
        if time.monotonic() > end:
            for pid in halted:
                send_signal(signal.SIGCONT, pid)
            raise Refused("unavailable", "the VM's processes did not stop")
