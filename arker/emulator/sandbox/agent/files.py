"""Opening the VM's files: only regular ones, at once, and written ones put into place as a whole."""

from __future__ import annotations

import _stat as stat
import errno
import posix as os

from arker.emulator.sandbox.agent.processes import PROC
from arker.emulator.sandbox.agent.refusals import Refused
from arker.emulator.sandbox.agent.system import make_directories, split


def check_regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Refused("bad_request", "it is a directory", errno.EISDIR)
    if not stat.S_ISREG(status.st_mode):
        raise Refused("bad_request", "it is not a regular file", errno.EINVAL)


def open_regular(path: str, flags: int, dir_fd: int | None = None) -> int:
    # O_NONBLOCK: a FIFO without a peer must not stop the agent.
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY, 0o666, dir_fd=dir_fd)
    try:
        status = os.fstat(fd)
        check_regular(status)
        if PROC is not None and status.st_dev == os.fstat(PROC).st_dev:
            raise Refused("bad_request", "it belongs to /proc: read it by a command", errno.EINVAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


class PendingFile:
    """A file that is being written, under no name where the filesystem can do that, so that no fork ever copies it."""

    def __init__(self, path: str) -> None:
        parent, self.name = split(path)
        if self.name in ("", ".", ".."):
            raise Refused("bad_request", "it is a directory", errno.EISDIR)
        try:
            make_directories(parent)
        except FileExistsError:  # a part of the path is no directory
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        self.directory = os.open(parent, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY)
        self.temporary: str | None = None
        try:
            self._check_target()
            self.fd = self._open()
        except BaseException:
            os.close(self.directory)
            raise

    def _spare_name(self) -> str:
        return ".upload-" + os.urandom(12).hex()

    def _open(self) -> int:
        if hasattr(os, "O_TMPFILE"):
            try:
                return os.open(".", os.O_TMPFILE | os.O_RDWR, 0o666, dir_fd=self.directory)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL):
                    raise
        self.temporary = self._spare_name()
        return os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self.directory)

    def _check_target(self) -> os.stat_result | None:
        """Check what exists at the target, without following a link. Refuses a target that cannot be written to."""
        try:
            status = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(status.st_mode):
            try:
                check_regular(os.stat(self.name, dir_fd=self.directory))
            except FileNotFoundError:
                pass
        else:
            check_regular(status)
        return status

    def commit(self) -> None:
        target = self._check_target()
        if target is not None and (stat.S_ISLNK(target.st_mode) or target.st_nlink > 1):
            self._write_through()
            return
        if target is not None:
            os.fchmod(self.fd, stat.S_IMODE(target.st_mode))
        if self.temporary is None:
            name = self._spare_name()
            os.link(f"self/fd/{self.fd}", name, src_dir_fd=PROC, dst_dir_fd=self.directory)
            self.temporary = name
        os.replace(self.temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        self.temporary = None

    def _write_through(self) -> None:
        # A new file in its place would cut the link: other names would keep the old content.
        fd = open_regular(self.name, os.O_WRONLY | os.O_CREAT, self.directory)
        try:
            os.ftruncate(fd, 0)
            offset = 0
            while True:
                piece = os.pread(self.fd, 1024 * 1024, offset)
                if not piece:
                    return
                offset += len(piece)
                while piece:
                    piece = piece[os.write(fd, piece) :]
        finally:
            os.close(fd)

    def close(self) -> None:
        if self.temporary is not None:
            try:
                os.unlink(self.temporary, dir_fd=self.directory)
            except OSError:
                pass
        os.close(self.fd)
        os.close(self.directory)
