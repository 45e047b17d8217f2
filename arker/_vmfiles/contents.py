"""Reading and writing whole files. A part of `AsyncFiles`."""

from __future__ import annotations

import arker
from arker import _paths
from arker._vmfiles.base import FilesBase

MAX_READ = 256 * 1024 * 1024
"""Default size limit in bytes of a file that is read into memory."""


class Contents(FilesBase):
    """The methods of `AsyncFiles` that read and write the content of files."""

    async def read_bytes(
        self, path: arker.transfer.RemotePath, *, max_bytes: int | None = MAX_READ, deadline: float | None = None
    ) -> bytes:
        """Read a whole file.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            max_bytes: Maximum number of bytes to read into memory; None for no limit.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such file; see `RemoteFileError` for other reasons.
            FileTooLargeError: The file is larger than ``max_bytes``; nothing was read.
        """
        return await _paths.contents.read(self._place, path, "read_bytes", most=max_bytes, deadline=deadline)

    async def read_text(
        self,
        path: arker.transfer.RemotePath,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        max_bytes: int | None = MAX_READ,
        deadline: float | None = None,
    ) -> str:
        """Read a whole file as text. Ends of lines stay as they are.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            encoding: Encoding of the file.
            errors: Handling of invalid bytes, as for `bytes.decode`.
            max_bytes: Maximum number of bytes to read into memory; None for no limit.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such file; see `RemoteFileError` for other reasons.
            UnicodeDecodeError: The file is not valid in this encoding.
        """
        codec, handler = _paths.contents.check_codec(encoding, errors)
        data = await _paths.contents.read(self._place, path, "read_text", most=max_bytes, deadline=deadline)
        return data.decode(codec, handler)

    async def write_bytes(
        self,
        path: arker.transfer.RemotePath,
        data: bytes | bytearray | memoryview,
        *,
        parents: bool = False,
        append: bool = False,
        mode: int | None = None,
        deadline: float | None = None,
    ) -> int:
        """Write a whole file, and return the number of bytes.

        The file is the old one or the new one, complete, at any moment; with ``append`` it grows.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            data: The content.
            parents: Whether to create missing directories.
            append: Whether to write at the end of a file that exists.
            mode: Permission bits of the file; by default those that it has, or the server chooses them.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory; see `RemoteFileError` for other reasons.
        """
        return await _paths.contents.write(
            self._place, path, data, "write_bytes", parents=parents, append=append, mode=mode, deadline=deadline
        )

    async def write_text(
        self,
        path: arker.transfer.RemotePath,
        text: str,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        parents: bool = False,
        append: bool = False,
        mode: int | None = None,
        deadline: float | None = None,
    ) -> int:
        r"""Write a whole file from text, and return the number of characters. ``\n`` is written as it is.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            text: The content.
            encoding: Encoding of the file.
            errors: Handling of characters that the encoding lacks, as for `str.encode`.
            parents: Whether to create missing directories.
            append: Whether to write at the end of a file that exists.
            mode: Permission bits of the file; by default those that it has, or the server chooses them.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            RemoteFileNotFoundError: There is no such directory; see `RemoteFileError` for other reasons.
        """
        await _paths.contents.write_text(
            self._place,
            path,
            text,
            encoding,
            errors,
            parents=parents,
            append=append,
            mode=mode,
            deadline=deadline,
        )
        return len(text)


__all__ = ["Contents"]
