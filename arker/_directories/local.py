"""The content of a local directory: its entries, and digests of its files."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from arker._directories.entries import PERMISSIONS, Cksum, Entry, Tree, order, to_bytes, to_text

if TYPE_CHECKING:
    from arker._directories.entries import Ignores

HAS_MODES: Final = os.name == "posix"
_PIECE: Final = 1024 * 1024
_ONLY_REGULAR: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""A file that has become a symlink or a FIFO meanwhile is not opened, or not waited for."""


def local_name(path: str) -> str:
    """Return a path of a tree in this system's notation."""
    return os.fsdecode(to_bytes(path))


def local_path(root: str, path: str) -> str:
    """Return the local path of a path of a tree."""
    return os.path.join(root, *local_name(path).split("/")) if path else root


def mode_of(status: os.stat_result) -> int | None:
    """Return the permission bits that a transfer copies."""
    return status.st_mode & PERMISSIONS if HAS_MODES else None


def scan(root: str, ignores: Ignores, check: Callable[[], None]) -> Tree:
    """List a directory, without digests. Ignored directories are not entered.

    Args:
        root: The directory.
        ignores: Whether a pattern matches a path.
        check: Called often; an exception from it ends the scan.
    """
    try:
        if not stat.S_ISDIR(os.stat(root).st_mode):
            return Tree("other", {})
    except FileNotFoundError:
        return Tree("other" if os.path.islink(root) else "absent", {})
    entries: dict[str, Entry] = {}
    ignored: set[str] = set()
    unreadable: dict[str, str] = {}
    directories = [""]
    while directories:
        directory = directories.pop()
        try:
            with os.scandir(local_path(root, directory)) as found:
                for item in found:
                    check()
                    path = to_text(os.fsencode(item.name))
                    path = f"{directory}/{path}" if directory else path
                    entry = _entry(item)
                    if entry is None:
                        continue
                    if ignores(path, entry.kind == "directory"):
                        ignored.add(path)
                        continue
                    entries[path] = entry
                    if entry.kind == "directory":
                        directories.append(path)
        except OSError as error:
            if directory and isinstance(error, FileNotFoundError):
                del entries[directory]  # it was removed meanwhile
            else:
                unreadable[directory] = error.strerror or str(error)
    in_order = {path: entries[path] for path in sorted(entries, key=order)}
    return Tree("directory", in_order, frozenset(ignored), unreadable)


def _entry(item: os.DirEntry[str]) -> Entry | None:
    try:
        status = item.stat(follow_symlinks=False)
        if stat.S_ISLNK(status.st_mode):
            return Entry("symlink", target=to_text(os.fsencode(os.readlink(item.path))))
    except FileNotFoundError:
        return None  # it was removed meanwhile
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory", mode_of(status))
    if stat.S_ISREG(status.st_mode):
        return Entry("file", mode_of(status), status.st_size)
    return Entry("special", mode_of(status))


def unreadable_error(reason: str) -> OSError:
    """Return the system's error for the reason that `scan` gives for a directory that it could not list."""
    numbers = (number for number in errno.errorcode if os.strerror(number) == reason)
    return OSError(next(numbers, errno.EIO), reason)


def digests(root: str, paths: Iterable[str], tool: str, check: Callable[[], None]) -> dict[str, str]:
    """Return digests of files by path, as the tool in the VM computes them. Unreadable files are left out.

    Args:
        root: The directory.
        paths: The files to read.
        tool: Name of the tool.
        check: Called often; an exception from it ends the work.
    """
    made: dict[str, str] = {}
    for path in paths:
        check()
        try:
            made[path] = _digest(local_path(root, path), tool, check)
        except OSError:
            continue
    return made


def _digest(path: str, tool: str, check: Callable[[], None]) -> str:
    digest: Any = Cksum() if tool == "cksum" else hashlib.sha256()
    with open(os.open(path, os.O_RDONLY | _ONLY_REGULAR), "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("not a regular file")
        buffer = bytearray(_PIECE)
        view = memoryview(buffer)
        while size := file.readinto(buffer):
            digest.update(view[:size])
            check()
    text: str = digest.hexdigest()
    return text


__all__ = ["HAS_MODES", "digests", "local_name", "local_path", "mode_of", "scan", "unreadable_error"]
