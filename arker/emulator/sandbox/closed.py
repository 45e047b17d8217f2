"""Files and directories that their owner cannot read, opened for as long as they are copied.

Root reads them, and so do tools in a user namespace. Where a server is an ordinary user without one, their modes have
to be changed meanwhile: nothing of the VM runs then, so that nothing in it sees that. What was opened is noted before,
so that the server that comes next closes it again if this one is killed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from arker.emulator.sandbox.deep_copy import INTO, step
from arker.emulator.sandbox.notes import Note, Notes

OPEN: Final = "open"
"""The step's name in notes."""
_TO_READ: Final = {stat.S_IFDIR: stat.S_IRUSR | stat.S_IXUSR, stat.S_IFREG: stat.S_IRUSR}
"""What the owner needs of a mode, by the kind of the file. Other kinds are copied without being opened."""


class Closed:
    """The closed files and directories of a tree. Its methods block.

    Args:
        root: The tree. Nothing may change in it until `close` has returned.
        notes: Where it is noted what was opened.
    """

    def __init__(self, root: Path, notes: Notes) -> None:
        self._root = root
        self._notes = notes
        self._note: Note | None = None
        self._found: list[tuple[str, int]] = []
        """The path from the tree's root and the mode of each, parents first."""

    def open(self) -> bool:
        """Open what is closed, as far as that is possible. Returns whether there was any. Raises `OSError`."""
        uid = os.geteuid()
        # One directory is open at a time, whatever the depth, and no path is longer than a system call takes.
        directory = os.open(self._root.parent, INTO)
        try:
            todo: list[list[str]] = [[self._root.name]]
            way: list[str] = []
            while todo:
                if not todo[-1]:
                    todo.pop()
                    if way:
                        way.pop()
                        directory = step(directory, os.pardir)
                    continue
                name = todo[-1].pop()
                status = os.stat(name, dir_fd=directory, follow_symlinks=False)
                if status.st_uid == uid:
                    self._open(directory, way, name, status.st_mode)
                if not stat.S_ISDIR(status.st_mode) or not _can_enter(directory, name):
                    continue
                directory = step(directory, name)
                way.append(name)
                todo.append(os.listdir(directory))
        finally:
            os.close(directory)
        return bool(self._found)

    def _open(self, directory: int, way: Sequence[str], name: str, mode: int) -> None:
        needed = _TO_READ.get(stat.S_IFMT(mode), 0)
        if mode & needed == needed:
            return
        path, kept = "/".join([*way, name][1:]), stat.S_IMODE(mode)
        if self._note is None:
            self._note = self._notes.begin(OPEN, vm=self._root.name)
        self._note.add([path, kept])
        self._found.append((path, kept))
        with contextlib.suppress(PermissionError):  # it is immutable, and the copy will say so
            os.chmod(name, kept | needed, dir_fd=directory)

    def close_copy(self, copied: Path) -> None:
        """Close in a copy of the tree what was closed in the tree. Raises `OSError`."""
        _close(copied, self._found)

    def close(self) -> None:
        """Close it again. Raises `OSError`; then the note stays."""
        _close(self._root, self._found)
        if self._note is not None:
            self._note.end()


def close_again(base: Path, facts: Mapping[str, Any]) -> None:
    """Close what a server that was killed had opened, as its note says."""
    _close(base / str(facts["vm"]), [(str(path), int(mode)) for path, mode in facts["added"]])


def _close(root: Path, found: Sequence[tuple[str, int]]) -> None:
    """Give files and directories the modes that they had, those inside a directory before itself.

    What cannot be reached has been closed already: it is in a directory that was closed after it.
    """
    for path, mode in reversed(found):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            _change(root, path.split("/") if path else (), mode)


def _change(root: Path, way: Iterable[str], mode: int) -> None:
    directory, name = os.open(root.parent, INTO), root.name
    try:
        for below in way:
            directory, name = step(directory, name), below
        if not stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            os.chmod(name, mode, dir_fd=directory)
    finally:
        os.close(directory)


def _can_enter(directory: int, name: str) -> bool:
    """Return whether a directory can be listed, and what is in it reached."""
    try:
        entered = os.open(name, INTO, dir_fd=directory)
    except OSError:
        return False
    try:
        os.stat(os.curdir, dir_fd=entered)
    except OSError:
        return False
    finally:
        os.close(entered)
    return True


__all__ = ["OPEN", "Closed", "close_again"]
