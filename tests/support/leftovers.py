"""What servers of the embedded backend, and their VMs, could leave behind on the machine: processes, files, mounts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def processes() -> dict[int, tuple[int, str]]:
    """Return every process of the machine: its parent, and the letter of its state, Z only if all its threads ended."""
    found: dict[int, tuple[int, str]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has gone
                continue
            # The first thread of a process may be a zombie while others still hold what the process held.
            state = "S" if fields[0] in "ZX" and int(fields[17]) > 1 else fields[0]
            found[int(entry)] = (int(fields[1]), state)
    return found


def below(root: int) -> set[int]:
    """Return every process below another, zombies included."""
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in processes().items():
        children.setdefault(parent, []).append(pid)
    found: set[int] = set()
    todo = [root]
    while todo:
        new = children.get(todo.pop(), [])
        found.update(new)
        todo += new
    return found


def alive(pids: Iterable[int]) -> set[int]:
    """Return those of the processes that have not ended. A zombie has ended."""
    now = processes()
    return {pid for pid in pids if pid in now and now[pid][1] not in "ZX"}


def with_text(text: str) -> set[int]:
    """Return the other processes whose command line contains the text."""
    found: set[int] = set()
    for pid in processes():
        try:
            if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != os.getpid():
                found.add(pid)
        except OSError:
            continue
    return found


def mounts_with(text: str) -> list[str]:
    """Return the mounts of this process's namespace whose line contains the text."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if text in line]


__all__ = ["alive", "below", "mounts_with", "processes", "with_text"]
