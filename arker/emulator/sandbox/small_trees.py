"""Small trees, copied and removed by the server itself: starting a program for that takes several times as long.

What is in a tree is a VM's, and the server may be root, so that all steps go by directories that are open, never
through a link, and nothing is made that the VM could not have made itself.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from arker.emulator.sandbox.deep_copy import copy_tree

MOST: Final = 200
"""Entries of a small tree."""
_DEEPEST: Final = 20
_MOST_BYTES: Final = 4 * 1024 * 1024
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)


def is_small(root: Path, *, to_copy: bool) -> bool:
    """Return whether a tree is small, and holds nothing that takes other rights than this process's. Blocks."""
    with contextlib.ExitStack() as opened:
        entries = size = 0
        todo: list[tuple[str | Path, int | None, int]] = [(root, None, 0)]
        while todo:
            name, above, depth = todo.pop()
            try:
                directory = os.open(name, _OPEN, dir_fd=above)
                opened.callback(os.close, directory)
                with os.scandir(directory) as listed:
                    names = [entry.name for entry in itertools.islice(listed, MOST + 1)]
                found = [(each, os.stat(each, dir_fd=directory, follow_symlinks=False)) for each in names]
            except OSError:
                return False
            entries += len(found)
            for each, status in found:
                kind = stat.S_IFMT(status.st_mode)
                size += status.st_blocks * 512
                if kind == stat.S_IFDIR:
                    todo.append((each, directory, depth + 1))
                elif to_copy and kind not in _PLAIN and not (kind == stat.S_IFCHR and status.st_rdev == 0):
                    return False  # the device without a number is a whiteout
            if entries > MOST or depth > _DEEPEST or (to_copy and size > _MOST_BYTES):
                return False
    return True


def copy_small(source: Path, target: Path) -> bool:
    """Copy a tree, if it is small. Nothing may change in it meanwhile. Returns whether that was done. Blocks."""
    if not is_small(source, to_copy=True):
        return False
    copy_tree(str(source), str(target))
    return True


def remove_small(root: Path) -> bool:
    """Remove a tree, if it is small, as far as that works. Returns whether it has gone. Blocks."""
    if not is_small(root, to_copy=False):
        return False
    shutil.rmtree(root, ignore_errors=True)
    return not os.path.lexists(root)


__all__ = ["MOST", "copy_small", "is_small", "remove_small"]
