# Generated from arker/_vm_files.py by "nox -s facade": change that file, not this one.
"""Files in and out of a VM. A part of `VM`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, cast, overload

from arker._vm_files import MAX_SYNC_READ, UNSET, Unset
from arker_sync._vm_handles import VmHandles


class VmFiles(VmHandles):
    """The calls of `VM` on files."""

    @overload
    def sync(
        self, path: str | PurePosixPath, *, max_bytes: int | None = MAX_SYNC_READ, deadline: float | None = None
    ) -> bytes: ...

    @overload
    def sync(
        self, path: str | PurePosixPath, data: bytes | bytearray | memoryview | str, *, deadline: float | None = None
    ) -> None: ...

    def sync(
        self,
        path: str | PurePosixPath,
        data: bytes | bytearray | memoryview | str | Unset = UNSET,
        *,
        max_bytes: int | None = MAX_SYNC_READ,
        deadline: float | None = None,
    ) -> bytes | None:
        """Read a file of the VM, or write one whole (contract, section 6).

        With the path alone, the file's bytes come back. With data, they become the file; missing directories are made.
        Up to 4 MiB go inline, more by a presigned PUT; reads follow what the server offers.

        Args:
            path: Where the file is in the VM; a relative path counts from the home directory.
            data: What to write, at most 5 GiB: bytes, or a text, which is written as UTF-8.
            max_bytes: How many bytes are read into memory at most; None for no bound. What a VM says its file holds
                may be anything: a sparse file of terabytes takes no space there.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such file, or no such VM.
            BadRequestError: The path is not one of a regular file.
            FileTooLargeError: The file has more than ``max_bytes``; nothing was read. `download` takes files of any
                size.
        """
        asynchronous: Any = self._async
        work = asynchronous.sync(path, data, max_bytes=max_bytes, deadline=deadline)
        return cast("bytes | None", self._lease.call(work))


__all__ = ["VmFiles"]
