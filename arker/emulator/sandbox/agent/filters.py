"""The detection of background processes that will still write a command's output."""

from __future__ import annotations

import _stat as stat
import posix as os

from arker.emulator.sandbox.agent.processes import PROC, descendants, read_proc


def filters_below(root: int, outputs: set[int]) -> bool:
    """Return whether a process below ``root`` holds one of the outputs (pipes by inode) and itself reads from a pipe.

    Its input has to be a pipe that comes to an end: all remaining writers read from such a pipe themselves. So the
    filter of ``> >(filter)`` counts, and a process that reads from a background server does not. A process that has not
    run yet still holds its parent's descriptors, and may become such a filter.
    """
    reads: dict[int, set[int]] = {}
    writers: dict[int, set[int]] = {}
    holders: set[int] = set()
    fresh: set[int] = set()
    if PROC is None:
        return False
    for pid, (_, state) in descendants(root).items():
        if state in "ZX":
            continue
        if state in "RD" and has_not_run(pid):
            fresh.add(pid)
        for inode, mode in pipes_of(pid):
            if inode in outputs:
                holders.add(pid)
            elif mode & stat.S_IWUSR:
                writers.setdefault(inode, set()).add(pid)
            else:
                reads.setdefault(pid, set()).add(inode)

    def comes_to_an_end(pid: int, above: frozenset[int]) -> bool:
        if pid in fresh:
            return bool(reads.get(pid)) or bool(above)
        return pid not in above and any(
            pid not in writers.get(inode, ())
            and all(comes_to_an_end(writer, above | {pid}) for writer in writers.get(inode, ()))
            for inode in reads.get(pid, ())
        )

    return any(comes_to_an_end(pid, frozenset()) for pid in holders)


def has_not_run(pid: int) -> bool:
    """Return whether a process has used no measurable processor time."""
    try:
        fields = read_proc(f"{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return False
    return fields[11] == fields[12] == b"0"


def pipes_of(pid: int) -> list[tuple[int, int]]:
    """Return the pipes that a process holds: the inode, and the permission bits that tell the direction."""
    found: list[tuple[int, int]] = []
    try:
        directory = os.open(f"{pid}/fd", os.O_RDONLY | os.O_DIRECTORY, dir_fd=PROC)
    except OSError:  # it has ended, or may not be inspected
        return found
    try:
        for name in os.listdir(directory):
            try:
                target = os.readlink(name, dir_fd=directory)
                if target.startswith("pipe:["):
                    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
                    found.append((int(target[6:-1]), mode))
            except OSError:  # it has been closed
                continue
    except OSError:
        pass
    finally:
        os.close(directory)
    return found
