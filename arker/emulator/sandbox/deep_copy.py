"""Copying a tree whose paths are longer than a system call takes, which ``cp`` cannot.

It goes by directories that are open, one step at a time, whatever the depth. This is the program of a process of its
own, which runs as ``cp`` does: ``python -I -S -c SOURCE FROM TO``, with Python 3.8 or newer and its library alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

FICLONE = 0x40049409
PIECE = 1024 * 1024
INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_CLOEXEC", 0)


class Copy:
    def __init__(self, target: int) -> None:
        self.names = f".copied-{os.urandom(12).hex()}"
        """A directory in which each file that has several names gets one more while the copy is made."""
        os.mkdir(self.names, 0o700, dir_fd=target)
        self.linked = os.open(self.names, INTO, dir_fd=target)

    def close(self, target: int) -> None:
        for name in os.listdir(self.linked):
            os.unlink(name, dir_fd=self.linked)
        os.close(self.linked)
        os.rmdir(self.names, dir_fd=target)

    def other(self, source: int, target: int, name: str, status: os.stat_result) -> None:
        """Copy anything that is not a directory."""
        kept = f"{status.st_dev}-{status.st_ino}"
        if status.st_nlink > 1:
            with contextlib.suppress(FileNotFoundError):
                os.link(kept, name, src_dir_fd=self.linked, dst_dir_fd=target, follow_symlinks=False)
                return
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        elif kind == stat.S_IFREG:
            copy_file(source, target, name, status.st_size)
        else:
            os.mknod(name, kind | 0o600, status.st_rdev, dir_fd=target)
        keep_attributes(target, name, status)
        if status.st_nlink > 1:
            os.link(name, kept, src_dir_fd=target, dst_dir_fd=self.linked, follow_symlinks=False)


def copy_file(source: int, target: int, name: str, size: int) -> None:
    read_from = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=source)
    try:
        write_to = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=target)
        try:
            if not share_content(read_from, write_to):
                copy_content(read_from, write_to, size)
            copy_extended(read_from, write_to)
        finally:
            os.close(write_to)
    finally:
        os.close(read_from)


def share_content(read_from: int, write_to: int) -> bool:
    """Share the blocks of one file with the other until one is written to, where the file system supports that."""
    try:
        import fcntl

        fcntl.ioctl(write_to, FICLONE, read_from)
    except (ImportError, OSError):
        return False
    return True


def copy_content(read_from: int, write_to: int, size: int) -> None:
    os.ftruncate(write_to, size)
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(read_from, offset, os.SEEK_DATA)
            end = os.lseek(read_from, offset, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole is left
                return
            end = size
        while offset < end:
            piece = os.pread(read_from, min(PIECE, end - offset), offset)
            if not piece:
                return
            while piece:
                done = os.pwrite(write_to, piece, offset)
                offset, piece = offset + done, piece[done:]


def copy_extended(read_from: int, write_to: int) -> None:
    if hasattr(os, "listxattr"):
        with contextlib.suppress(OSError):
            for attribute in os.listxattr(read_from):
                # Those of other kinds take rights, which the owner of the files does not have.
                if not attribute.startswith(("user.", "system.posix_acl_")):
                    continue
                with contextlib.suppress(OSError):
                    os.setxattr(write_to, attribute, os.getxattr(read_from, attribute))


def keep_attributes(parent: int, name: str, status: os.stat_result) -> None:
    with contextlib.suppress(PermissionError):
        os.chown(name, status.st_uid, status.st_gid, dir_fd=parent, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=parent)
    os.utime(name, ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=parent, follow_symlinks=False)


def step(directory: int, name: str) -> int:
    """Open a directory inside another, or its parent, and close the previous one."""
    entered = os.open(name, INTO, dir_fd=directory)
    os.close(directory)
    return entered


def copy_tree(origin: str, copied: str) -> None:
    """Copy a directory to a path that does not exist. Nothing may change in the directory meanwhile."""
    whole = os.stat(origin, follow_symlinks=False)
    os.mkdir(copied, 0o700)
    root = os.open(copied, INTO)
    copy = Copy(root)
    source, target = os.open(origin, INTO), os.dup(root)
    # The names left to copy in each directory on the path, and the names and modes of those below the first.
    todo: list[list[str]] = [os.listdir(source)]
    entered: list[tuple[str, os.stat_result]] = []
    while True:
        if todo[-1]:
            name = todo[-1].pop()
            status = os.stat(name, dir_fd=source, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                copy.other(source, target, name, status)
                continue
            os.mkdir(name, 0o700, dir_fd=target)
            source, target = step(source, name), step(target, name)
            copy_extended(source, target)
            todo.append(os.listdir(source))
            entered.append((name, status))
        elif entered:
            todo.pop()
            source, target = step(source, ".."), step(target, "..")
            keep_attributes(target, *entered.pop())
        else:
            break
    copy.close(root)
    copy_extended(source, root)
    keep_attributes(root, copied, whole)  # by its whole path, which is short
    for fd in (source, target, root):
        os.close(fd)


if __name__ == "__main__":
    try:
        copy_tree(sys.argv[1], sys.argv[2])
    except OSError as error:
        sys.exit(f"cannot copy: {error.strerror}: {error.filename}")
