# Generated from arker/_vmfiles/changes.py by "nox -s facade": change that file, not this one.
"""Changing directories, permissions and owners. A part of `Files`."""

from __future__ import annotations

import arker
from arker_sync._vmfiles.base import FilesBase


class Changes(FilesBase):
    """The methods of `Files` that change directories, permissions and owners."""

    def mkdir(
        self,
        path: arker.transfer.RemotePath,
        *,
        mode: int | None = None,
        parents: bool = False,
        exist_ok: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Make a directory.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            mode: Permission bits, which no umask changes; by default the VM chooses them.
            parents: Whether to make missing directories above it.
            exist_ok: Whether a directory that exists is as good.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileExistsError: The path exists.
            RemoteFileNotFoundError: A directory above it is missing; see `RemoteFileError` for other reasons.
        """
        work = self._async.mkdir(path, mode=mode, parents=parents, exist_ok=exist_ok, deadline=deadline)
        self._lease.call(work)

    def remove(
        self, path: arker.transfer.RemotePath, *, missing_ok: bool = False, deadline: float | None = None
    ) -> None:
        """Remove a file, or a symlink itself.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            missing_ok: Whether it is fine if there is no such file.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such file.
            RemoteIsADirectoryError: It is a directory; see `RemoteFileError` for other reasons.
        """
        work = self._async.remove(path, missing_ok=missing_ok, deadline=deadline)
        self._lease.call(work)

    def rmdir(
        self, path: arker.transfer.RemotePath, *, missing_ok: bool = False, deadline: float | None = None
    ) -> None:
        """Remove an empty directory.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            missing_ok: Whether it is fine if there is no such directory.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory.
            RemotePathError: It is not empty (``errno`` is `errno.ENOTEMPTY`); see `RemoteFileError` for other reasons.
        """
        work = self._async.rmdir(path, missing_ok=missing_ok, deadline=deadline)
        self._lease.call(work)

    def rmtree(
        self, path: arker.transfer.RemotePath, *, missing_ok: bool = False, deadline: float | None = None
    ) -> None:
        """Remove a directory with everything in it. Symlinks in it are removed, not followed.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            missing_ok: Whether it is fine if there is no such directory.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory.
            RemoteNotADirectoryError: It is a file or a symlink; see `RemoteFileError` for other reasons.
        """
        work = self._async.rmtree(path, missing_ok=missing_ok, deadline=deadline)
        self._lease.call(work)

    def rename(
        self,
        path: arker.transfer.RemotePath,
        target: arker.transfer.RemotePath,
        *,
        deadline: float | None = None,
    ) -> None:
        """Rename a file or directory, as `os.rename` does on Linux: a file or an empty directory there is replaced.

        Between filesystems it is copied and removed.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            target: Its new path, not a directory to move it into.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path, or no such directory at the target.
            RemoteIsADirectoryError: The target is a directory, and the path is none.
            RemoteNotADirectoryError: The path is a directory, and the target is something else.
            RemotePathError: The target is a directory that is not empty (``errno`` is `errno.ENOTEMPTY`).
        """
        work = self._async.rename(path, target, deadline=deadline)
        self._lease.call(work)

    def replace(
        self,
        path: arker.transfer.RemotePath,
        target: arker.transfer.RemotePath,
        *,
        deadline: float | None = None,
    ) -> None:
        """Rename a file or directory; the same as `rename`, under `os.replace`'s name.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            target: Its new path, not a directory to move it into.
            deadline: Seconds for the whole call; None for no limit.
        """
        work = self._async.replace(path, target, deadline=deadline)
        self._lease.call(work)

    def copy(
        self,
        path: arker.transfer.RemotePath,
        target: arker.transfer.RemotePath,
        *,
        recursive: bool = False,
        deadline: float | None = None,
    ) -> None:
        """Copy a file within the VM, with its permissions and times; a file at the target is replaced.

        Of several copies at once to one target, one is there in the end, whole; of one that fails or is cancelled,
        nothing is left. A target that has several names, or is reached by a symlink, is written in place.

        Args:
            path: Path in the VM; a relative path starts at the home directory. A symlink is followed.
            target: Path of the copy, not a directory to put it into.
            recursive: Whether to copy a directory with everything in it. Symlinks in it stay symlinks; the target must
                not exist.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path, or no such directory at the target.
            RemoteIsADirectoryError: The target is a directory; or the path is one, without ``recursive``.
            RemoteFileExistsError: The target of a directory exists.
        """
        work = self._async.copy(path, target, recursive=recursive, deadline=deadline)
        self._lease.call(work)

    def chmod(self, path: arker.transfer.RemotePath, mode: int, *, deadline: float | None = None) -> None:
        """Set the permissions of a file or directory. Symlinks are followed.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            mode: Permission bits, such as ``0o755``.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path.
            RemotePermissionError: It belongs to another user.
        """
        work = self._async.chmod(path, mode, deadline=deadline)
        self._lease.call(work)

    def chown(
        self,
        path: arker.transfer.RemotePath,
        owner: int | str | None = None,
        group: int | str | None = None,
        *,
        follow_symlinks: bool = True,
        deadline: float | None = None,
    ) -> None:
        """Set the owner and the group of a file or directory.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            owner: Number or name of the user; by default it stays.
            group: Number or name of the group; by default it stays.
            follow_symlinks: Whether to change what a symlink leads to, and not the symlink itself.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path.
            RemotePermissionError: The VM's user may not do this.
            RemotePathError: The VM has no such user or group.
        """
        work = self._async.chown(path, owner, group, follow_symlinks=follow_symlinks, deadline=deadline)
        self._lease.call(work)

    def symlink(
        self,
        target: arker.transfer.RemotePath,
        path: arker.transfer.RemotePath,
        *,
        deadline: float | None = None,
    ) -> None:
        """Make a symlink. The arguments are in the order of `os.symlink`.

        Args:
            target: Where it leads, as it is to stand there; it need not exist.
            path: Path of the symlink in the VM; a relative path starts at the home directory.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileExistsError: The path exists; see `RemoteFileError` for other reasons.
        """
        work = self._async.symlink(target, path, deadline=deadline)
        self._lease.call(work)

    def touch(self, path: arker.transfer.RemotePath, *, exist_ok: bool = True, deadline: float | None = None) -> None:
        """Make an empty file, or set the times of one that exists to now.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            exist_ok: Whether the file may exist.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileExistsError: The file exists, and must not.
            RemoteFileNotFoundError: There is no such directory; see `RemoteFileError` for other reasons.
        """
        work = self._async.touch(path, exist_ok=exist_ok, deadline=deadline)
        self._lease.call(work)


__all__ = ["Changes"]
