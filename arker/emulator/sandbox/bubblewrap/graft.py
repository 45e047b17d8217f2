"""Moving a VM's files into the directories on which a spare sandbox has been started.

Such a sandbox has its mounts already, over directories that are empty otherwise. What is moved goes between and beside
these mount points, entry by entry: the directories on the way to one (``/``, ``/etc``, ...) stay those of the sandbox
and get the other ones' attributes, and everything else is renamed, whatever it holds. So it takes as long for a million
files as for one, and mounts are neither made nor moved for it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

from arker.emulator.sandbox.recovery import damaged, exchange

STEP: Final = "graft"
"""The step in which a VM's files go into a spare sandbox's tree, as it is noted."""

_MOST = 300
"""Entries to be moved; with more of them a new start is as quick."""
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@frozen
class _Step:
    """A directory on the way to a mount point, in both trees, and the names of what has to be moved."""

    source: int
    target: int
    names: list[str] = field(factory=list[str])


def graft(source: Path, target: Path, mounts: Iterable[str], *ways: str) -> bool:
    """Move the files of one tree into another one. No process may use the first, and only an agent the second.

    Args:
        source: The tree of a VM, prepared for a start. If this fails it has everything as before.
        target: The tree of a spare sandbox, with nothing in it but what a start needs. If this fails it is spoilt.
        mounts: Where the sandbox has mounts.
        ways: Further places: the directories on the way to them stay the sandbox's own as well.

    Returns:
        Whether it was done.
    """
    points = frozenset(mounts)
    inner = frozenset(str(above) for place in (*points, *ways) for above in Path(place).parents)
    with contextlib.ExitStack() as opened:
        moved: list[tuple[_Step, str]] = []
        try:
            steps = [*_plan(source, target, points, inner, opened)]
            if sum(len(step.names) for step in steps) > _MOST or not all(_movable(step) for step in steps):
                return False
            attributes = [os.fstat(step.source) for step in steps]
            for step in steps:
                for name in step.names:
                    os.rename(name, name, src_dir_fd=step.source, dst_dir_fd=step.target)
                    moved.append((step, name))
            for step, status in zip(steps, attributes, strict=True):
                _keep_attributes(step, status)
        except OSError:
            for step, name in reversed(moved):
                os.rename(name, name, src_dir_fd=step.target, dst_dir_fd=step.source)
            return False
    return True


def complete(base: Path, facts: Mapping[str, Any]) -> None:
    """Complete the way of a VM's files into a spare sandbox's tree, wherever it was interrupted: what has been moved
    already is no longer in the VM's own tree.
    """
    spare, place = base / facts["spare"], base / facts["vm"]
    if not spare.exists():
        return
    if place.exists():
        if not graft(place, spare, facts["mounts"], *facts["ways"]):
            raise damaged(f"the files of {facts['vm']} are in {place} and in {spare}, and cannot be put together")
        exchange(base, spare, place)
    else:
        os.rename(spare, place)


def _plan(
    source: Path, target: Path, points: frozenset[str], inner: frozenset[str], opened: contextlib.ExitStack
) -> Iterator[_Step]:
    todo: list[tuple[str, str, int | None, int | None]] = [("", "", None, None)]
    while todo:
        place, name, in_source, in_target = todo.pop()
        step = _Step(
            os.open(name if in_source is not None else source, _OPEN, dir_fd=in_source),
            os.open(name if in_target is not None else target, _OPEN, dir_fd=in_target),
        )
        opened.callback(os.close, step.source)
        opened.callback(os.close, step.target)
        for entry in os.listdir(step.source):
            path = f"{place}/{entry}"
            if path in inner:
                todo.append((path, entry, step.source, step.target))
            elif path not in points:
                step.names.append(entry)
        yield step


def _movable(step: _Step) -> bool:
    """Return whether this user may move everything: a directory that its owner cannot write to stays where it is."""
    if os.geteuid() == 0:
        return True
    found = (os.stat(name, dir_fd=step.source, follow_symlinks=False).st_mode for name in step.names)
    return all(not stat.S_ISDIR(mode) or mode & stat.S_IWUSR for mode in found)


def _keep_attributes(step: _Step, status: os.stat_result) -> None:
    for name in os.listxattr(step.source):
        if name.startswith(("user.", "system.posix_acl_")):
            os.setxattr(step.target, name, os.getxattr(step.source, name))
    os.fchmod(step.target, stat.S_IMODE(status.st_mode))
    os.utime(step.target, ns=(status.st_atime_ns, status.st_mtime_ns))


__all__ = ["STEP", "complete", "graft"]
