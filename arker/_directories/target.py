"""A local directory as the target of a download: nothing is ever written outside of it.

Names that come from a VM are entered one directory at a time, from a descriptor of the one before, and never through a
symlink (``O_NOFOLLOW``). Every change is to a single name in a directory held open in this way. Where the system has no
such calls, each directory on the way is checked right before it is used.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import Final

from arker._directories.local import HAS_MODES, local_name, local_path, mode_of

BY_DESCRIPTOR: Final = (
    hasattr(os, "O_NOFOLLOW")
    and {
        os.open,
        os.mkdir,
        os.rename,
        os.rmdir,
        os.symlink,
        os.unlink,
        os.stat,
        os.chmod,
    }
    <= os.supports_dir_fd
)
"""Whether this system can work on a name in an open directory."""

_DIRECTORY: Final = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_ANY_FILE: Final = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
_OWNER: Final = 0o700


class TreeTarget:
    """A local directory to write to.

    Close it to restore the permissions of directories that had to be made writable.
    """

    def __init__(self, root: str, *, by_descriptor: bool = BY_DESCRIPTOR) -> None:
        """Open an existing directory for writing; ``root`` is then its real path.

        Args:
            root: The directory; it may be a symlink to one.
            by_descriptor: Whether to work by descriptors.

        Raises:
            OSError: It cannot be opened.
        """
        self.root = os.path.realpath(root)
        self._by_descriptor = by_descriptor
        self._way: list[tuple[str, int]] = []
        self._opened: dict[str, int] = {}
        self._base = os.open(self.root, os.O_RDONLY | _DIRECTORY) if by_descriptor else -1

    def close(self) -> None:
        """Restore permissions, and close descriptors."""
        try:
            for path, mode in sorted(self._opened.items(), reverse=True):
                try:
                    self.chmod(path, mode)
                except OSError:
                    pass  # it was removed, or the system refuses; neither needs an error
        finally:
            self._leave(0)
            if self._base >= 0:
                os.close(self._base)
                self._base = -1

    # --- what is done to one path -----------------------------------------------------------------------------------

    def make_directory(self, path: str) -> None:
        """Make a directory."""
        name, fd = self._place(path)
        os.mkdir(name, dir_fd=fd)

    def remove(self, path: str) -> None:
        """Remove an entry that is not a directory."""
        name, fd = self._place(path)
        os.unlink(name, dir_fd=fd)

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        name, fd = self._place(path)
        self._leave(path.count("/"))
        os.rmdir(name, dir_fd=fd)
        self._opened.pop(path, None)

    def symlink(self, target: str, path: str, staging: str) -> None:
        """Make a symlink atomically. It may replace a symlink or a file.

        Args:
            target: The path that it points to.
            path: Its place.
            staging: A free name in a staging directory.
        """
        name, fd = self._place(staging)
        os.symlink(local_name(target), name, dir_fd=fd)
        self.put(staging, path)

    def put(self, staged: str, path: str, mode: int | None = None) -> None:
        """Move a staged file of this directory to its place, atomically.

        Args:
            staged: Its path in the staging directory.
            path: Its place.
            mode: Its permissions there.
        """
        if mode is not None:
            self.chmod(staged, mode)
        name, fd = self._place(staged)
        if fd is not None:
            fd = os.dup(fd)  # the next `_place` may close it
        try:
            place, place_fd = self._place(path)
            try:
                _rename(name, fd, place, place_fd)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                # Another filesystem is mounted there.
                beside = os.path.join(os.path.dirname(place), f"{staged.partition('/')[0]}-put")
                _copy(name, fd, beside, place_fd)
                try:
                    _rename(beside, place_fd, place, place_fd)
                except BaseException:
                    os.unlink(beside, dir_fd=place_fd)
                    raise
        finally:
            if fd is not None:
                os.close(fd)

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions of a file or directory. Symlinks are never followed."""
        if not HAS_MODES:
            return
        name, fd = self._place(path)
        self._opened.pop(path, None)
        self._chmod(name, fd, mode)

    def _chmod(self, name: str, fd: int | None, mode: int) -> None:
        try:
            own = os.open(name, os.O_RDONLY | _ANY_FILE, dir_fd=fd)
        except PermissionError:
            # It cannot be opened, so there is no descriptor of it; only a local process could exchange it now.
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
                raise
            os.chmod(name, mode, dir_fd=fd)
            return
        try:
            os.fchmod(own, mode)
        finally:
            os.close(own)

    # --- the directory for what is on its way -----------------------------------------------------------------------

    def make_staging(self, name: str) -> str:
        """Make a directory that only its owner can read, and return its path."""
        self.make_directory(name)
        self.chmod(name, _OWNER)
        return local_path(self.root, name)

    def remove_staging(self, name: str) -> None:
        """Remove a staging directory and its content."""
        self._leave(0)
        shutil.rmtree(local_path(self.root, name), ignore_errors=True)

    # --- ways ---------------------------------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[str, int | None]:
        """Return the name to use for a path and its parent directory, which is made writable for its owner."""
        parent, _, name = path.rpartition("/")
        if not self._by_descriptor:
            self._look(parent)
            return local_path(self.root, path), None
        return local_name(name), self._enter(parent.split("/") if parent else [])

    def _enter(self, names: list[str]) -> int:
        common = 0
        while common < min(len(names), len(self._way)) and names[common] == self._way[common][0]:
            common += 1
        self._leave(common)
        fd = self._way[-1][1] if self._way else self._base
        for depth in range(common, len(names)):
            fd = self._open("/".join(names[: depth + 1]), local_name(names[depth]), fd)
            self._way.append((names[depth], fd))
        return fd

    def _open(self, path: str, name: str, parent: int) -> int:
        try:
            fd = os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent)
        except PermissionError:
            self._let_in(path, name, parent)
            return os.open(name, os.O_RDONLY | _DIRECTORY, dir_fd=parent)
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        if mode & _OWNER != _OWNER:
            try:
                os.fchmod(fd, mode | _OWNER)
                self._opened[path] = mode
            except PermissionError:
                pass  # it has another owner; the change inside may still succeed
        return fd

    def _let_in(self, path: str, name: str, parent: int | None) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        mode = stat.S_IMODE(status.st_mode)
        if not stat.S_ISDIR(status.st_mode) or mode & _OWNER == _OWNER:
            raise PermissionError(errno.EACCES, "this directory cannot be entered", path)
        os.chmod(name, mode | _OWNER, dir_fd=parent)
        self._opened[path] = mode

    def _leave(self, depth: int) -> None:
        while len(self._way) > depth:
            os.close(self._way.pop()[1])

    def _look(self, directory: str) -> None:
        """Check, where there are no descriptors, that each directory on the way is a real one."""
        names = directory.split("/") if directory else []
        for depth in range(len(names)):
            path = local_path(self.root, "/".join(names[: depth + 1]))
            status = os.lstat(path)
            # A junction of Windows is a directory that leads elsewhere.
            if not stat.S_ISDIR(status.st_mode) or os.path.realpath(path) != path:
                raise NotADirectoryError(errno.ENOTDIR, "this is not a directory, or leads elsewhere", path)
            mode = mode_of(status)
            if mode is not None and mode & _OWNER != _OWNER:
                os.chmod(path, mode | _OWNER)
                self._opened["/".join(names[: depth + 1])] = mode


def _rename(name: str, fd: int | None, place: str, place_fd: int | None) -> None:
    if HAS_MODES:
        os.rename(name, place, src_dir_fd=fd, dst_dir_fd=place_fd)
    else:
        os.replace(name, place)


def _copy(name: str, fd: int | None, place: str, place_fd: int | None) -> None:
    """Copy a staged file or symlink to a free name, whole or not at all."""
    status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(name, dir_fd=fd), place, dir_fd=place_fd)
        return
    os.chmod(name, _OWNER, dir_fd=fd)  # so that it can be read
    with open(os.open(name, os.O_RDONLY | _ANY_FILE | _BINARY, dir_fd=fd), "rb") as source:
        new = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _ANY_FILE | _BINARY, 0o600, dir_fd=place_fd)
        try:
            with open(new, "wb") as copy:
                shutil.copyfileobj(source, copy, 1024 * 1024)
                copy.flush()
                if HAS_MODES:
                    os.fchmod(new, stat.S_IMODE(status.st_mode))
        except BaseException:
            os.unlink(place, dir_fd=place_fd)
            raise


__all__ = ["BY_DESCRIPTOR", "TreeTarget"]
