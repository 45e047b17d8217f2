"""Files in and out of a VM. A part of `AsyncVM`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final, overload

from arker._vm_handles import VmHandles
from arker.models import _checks as check


class Unset:
    """Stands for an argument that was not given, where None would be a mistake worth an error."""

    def __repr__(self) -> str:
        return "<not given>"


UNSET: Final = Unset()
MAX_SYNC_READ: Final = 256 * 1024 * 1024
"""Bytes that a file may have that is read into memory, unless the caller says otherwise."""


class VmFiles(VmHandles):
    """The calls of `AsyncVM` on files."""

    @overload
    async def sync(
        self, path: str | PurePosixPath, *, max_bytes: int | None = MAX_SYNC_READ, deadline: float | None = None
    ) -> bytes: ...

    @overload
    async def sync(
        self, path: str | PurePosixPath, data: bytes | bytearray | memoryview | str, *, deadline: float | None = None
    ) -> None: ...

    async def sync(
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
        # Programs that only run commands need no transfers.
        from arker._transfers import checks, sources, whole

        where = checks.check_path(path)
        most = None if max_bytes is None else check.check_integer("max_bytes", max_bytes, minimum=0)
        if isinstance(data, Unset):
            return await whole.read(self._transport, self.base_url, self.id, where, most, deadline=deadline)
        view = sources.check_data(checks.encoded("data", data) if isinstance(data, str) else data)
        await whole.write(self._transport, self.base_url, self.id, where, view, deadline=deadline)
        return None


__all__ = ["VmFiles"]
