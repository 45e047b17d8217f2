"""Looking at paths: their status, and what directories hold. A part of `AsyncFiles`."""

from __future__ import annotations

import arker
from arker import _paths, entries
from arker._vmfiles.base import FilesBase


class Looks(FilesBase):
    """The methods of `AsyncFiles` that look at paths."""

    async def stat(
        self, path: arker.transfer.RemotePath, *, follow_symlinks: bool = True, deadline: float | None = None
    ) -> entries.FileStat:
        """Return the status of a path: its type, size, permissions, owner and times.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            follow_symlinks: Whether to tell of what a symlink leads to, and not of the symlink itself.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path; see `RemoteFileError` for other reasons.
        """
        return await _paths.status.stat(self._place, path, follow_symlinks=follow_symlinks, deadline=deadline)

    async def exists(self, path: arker.transfer.RemotePath, *, deadline: float | None = None) -> bool:
        """Return whether there is anything at a path. A symlink that leads to nothing does not count.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            deadline: Seconds for the whole call; None for no limit.
        """
        return await _paths.status.test(self._place, path, "-e", "exists", deadline=deadline)

    async def is_file(self, path: arker.transfer.RemotePath, *, deadline: float | None = None) -> bool:
        """Return whether a path is a regular file, or a symlink to one.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            deadline: Seconds for the whole call; None for no limit.
        """
        return await _paths.status.test(self._place, path, "-f", "is_file", deadline=deadline)

    async def is_dir(self, path: arker.transfer.RemotePath, *, deadline: float | None = None) -> bool:
        """Return whether a path is a directory, or a symlink to one.

        Args:
            path: Path in the VM; a relative path starts at the home directory.
            deadline: Seconds for the whole call; None for no limit.
        """
        return await _paths.status.test(self._place, path, "-d", "is_dir", deadline=deadline)

    async def readlink(self, path: arker.transfer.RemotePath, *, deadline: float | None = None) -> str:
        """Return the target of a symlink, as it stands there.

        Args:
            path: Path of the symlink in the VM; a relative path starts at the home directory.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path.
            RemotePathError: It is not a symlink (``errno`` is `errno.EINVAL`).
        """
        return await _paths.status.readlink(self._place, path, deadline=deadline)

    async def listdir(self, path: arker.transfer.RemotePath = ".", *, deadline: float | None = None) -> list[str]:
        """Return the names in a directory, in any order.

        Args:
            path: The directory in the VM; the home directory by default.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory.
            RemoteNotADirectoryError: It is not a directory; see `RemoteFileError` for other reasons.
        """
        return await _paths.listing.listdir(self._place, path, deadline=deadline)

    def scandir(
        self, path: arker.transfer.RemotePath = ".", *, recursive: bool = False, deadline: float | None = None
    ) -> arker.AsyncItems[entries.FileEntry]:
        """Iterate over the entries of a directory, in any order, each with its status. Symlinks are not followed.

            async for entry in vm.files.scandir("/srv", recursive=True):
                print(entry.path, entry.stat.size)

        However many there are, only some of them are in memory at once.

        Args:
            path: The directory in the VM; the home directory by default.
            recursive: Whether to go into its directories, too. Those that cannot be read are listed without their
                content.
            deadline: Seconds for all of it; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory.
            RemoteNotADirectoryError: It is not a directory; see `RemoteFileError` for other reasons.
        """
        return _paths.listing.scandir(self._place, path, recursive=recursive, deadline=deadline)

    def walk(
        self, path: arker.transfer.RemotePath = ".", *, deadline: float | None = None
    ) -> arker.AsyncItems[tuple[str, list[str], list[str]]]:
        """Iterate over the directories of a tree from the top down, as `os.walk` does.

            async for directory, directories, files in vm.files.walk("/srv"):
                print(directory, len(files))

        The whole tree is listed at once. Names that are removed from ``directories`` are left out, with all that is
        below them. Symlinks to directories are among the directories, but are not followed.

        Args:
            path: The directory in the VM; the home directory by default.
            deadline: Seconds for all of it; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory.
            RemoteNotADirectoryError: It is not a directory; see `RemoteFileError` for other reasons.
        """
        return _paths.listing.walk(self._place, path, deadline=deadline)

    async def glob(
        self, pattern: str, *, root: arker.transfer.RemotePath | None = None, deadline: float | None = None
    ) -> list[str]:
        """Return the paths that match a pattern, sorted, as `pathlib.Path.glob` finds them.

        ``*`` and ``?`` match hidden names, too; ``**`` matches any number of directories, and follows no symlinks.

        Args:
            pattern: The pattern, such as ``/var/log/*.log`` or ``src/**/*.py``.
            root: The directory that a relative pattern starts at; the home directory by default. The paths begin with
                it.
            deadline: Seconds for the whole call; None for no limit.
        """
        return await _paths.globbing.glob(self._place, pattern, root=root, deadline=deadline)

    def grep(
        self,
        pattern: str,
        path: arker.transfer.RemotePath = ".",
        *,
        ignore_case: bool = False,
        fixed: bool = False,
        deadline: float | None = None,
    ) -> arker.AsyncItems[entries.FileMatch]:
        """Iterate over the lines that match a pattern, in one file or in all files of a directory.

            async for match in vm.files.grep("TODO|FIXME", "/srv/project"):
                print(match.path, match.line_number, match.line)

        Files are UTF-8, or whatever else the pattern matches in parts; lines are decoded as UTF-8, with replacement
        characters. Binary files, which hold NUL, and files that cannot be read, are left out.

        Args:
            pattern: An extended regular expression, as ``grep -E`` takes it.
            path: The file or directory in the VM; the home directory by default.
            ignore_case: Whether the case of letters does not matter.
            fixed: Whether the pattern is a plain text.
            deadline: Seconds for all of it; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is nothing at the path; see `RemoteFileError` for other reasons.
            InvalidArgumentError: The pattern is invalid.
        """
        return _paths.searching.Matches(
            self._place, pattern, path, ignore_case=ignore_case, fixed=fixed, deadline=deadline
        )


__all__ = ["Looks"]
