"""Files in and out of a VM, in memory and streamed, of any size and number. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Final, overload

import arker
from arker import _files
from arker._vm.base import VmBase
from arker.models import _checks as check


class Unset:
    """Stands for an argument that was not given, where None would be a mistake worth an error."""

    def __repr__(self) -> str:
        return "<not given>"


UNSET: Final = Unset()


MAX_SYNC_READ: Final = 256 * 1024 * 1024


"""Bytes that a file may have that is read into memory, unless the caller says otherwise."""


class Files(VmBase):
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
        where = _files.checks.check_path(path)
        most = None if max_bytes is None else check.check_integer("max_bytes", max_bytes, minimum=0)
        if isinstance(data, Unset):
            return await _files.whole.read(self._place, where, most, deadline=deadline)
        view = _files.sources.check_data(_files.checks.encoded("data", data) if isinstance(data, str) else data)
        await _files.whole.write(self._place, where, view, deadline=deadline)
        return None

    async def upload(
        self,
        source: arker.transfer.UploadSource,
        path: arker.transfer.RemotePath,
        *,
        strategy: arker.transfer.Strategy = "auto",
        concurrency: int | None = None,
        part_size: int | None = None,
        verify: arker.transfer.Verify = "size",
        mode: int | None = None,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker.TransferResult:
        """What was moved: a file of the VM has been written whole, from a source of any size (contract, section 6).

        The file appears at once and whole, or not at all. Nothing that is larger than a few MiB is held in memory.

        Args:
            source: A local file by its path, bytes, a binary file object (from where it stands to its end, where it
                stands afterwards), or an iterable of bytes, asynchronous or not, which goes to a temporary file first.
            path: Where the file goes in the VM; a relative path counts from the home directory. Missing directories are
                made.
            strategy: How it goes. By default up to 4 MiB go inline, up to 64 MiB by one presigned PUT, more in parts at
                once; and in chunks where the server knows no presigned PUT.
            concurrency: Requests of this file that may be in flight at once; 8 unless given.
            part_size: Bytes of a part or chunk; chosen by the size unless given.
            verify: ``"full"`` to have a file that was joined of parts checked by its whole digest in the VM.
            mode: Permission bits that the file is to have when it appears; the server's choice unless given.
            progress: Called with a `TransferProgress` now and then; it is not awaited, and breaks nothing.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            LocalFileError: The source cannot be read.
            FileChangedError: The source has changed meanwhile.
            IntegrityError: What arrived is not what was sent.
            UnsupportedOperationError: The server cannot do what ``strategy`` asks for.
        """
        return await _files.uploads.upload(
            self._place,
            source,
            path,
            strategy=strategy,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            mode=mode,
            progress=progress,
            deadline=deadline,
        )

    async def download(
        self,
        path: arker.transfer.RemotePath,
        target: arker.transfer.DownloadTarget,
        *,
        concurrency: int | None = None,
        part_size: int | None = None,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker.TransferResult:
        """What was moved: a file of the VM is in a local file, or was written to a file object (contract, section 6).

        A local file appears at once and whole, or not at all; it takes the place of an older one (of a symlink itself)
        and has its permissions. To a file object the bytes are written in order, so after an error some may be there.

        Args:
            path: The file in the VM; a relative path counts from the home directory.
            target: A local file by its path, in a directory that exists, or a binary file object.
            concurrency: Ranges that may be in flight at once to a local file; 8 unless given.
            part_size: Bytes of a range; chosen by the size unless given.
            progress: Called with a `TransferProgress` now and then; it is not awaited, and breaks nothing.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            NotFoundError: There is no such file, or no such VM.
            BadRequestError: The path is not one of a regular file.
            LocalFileError: The target cannot be written.
            FileChangedError: The file has changed meanwhile; the target is as it was.
        """
        return await _files.downloads.download(
            self._place,
            path,
            target,
            concurrency=concurrency,
            part_size=part_size,
            progress=progress,
            deadline=deadline,
        )

    def open_read(self, path: arker.transfer.RemotePath) -> arker.AsyncReadStream:
        """A stream of a file's bytes, for ``async with``; nothing is sent before that (contract, section 6).

            async with vm.open_read("/var/log/syslog") as stream:
                async for chunk in stream:
                    print(len(chunk), "of", stream.size)

        A connection that is lost is taken up where it was; a file that has changed meanwhile is an error.

        Args:
            path: The file in the VM; a relative path counts from the home directory.

        Raises:
            NotFoundError: At ``async with``: there is no such file, or no such VM.
            FileChangedError: While it is read: the file has changed.
        """
        return arker.AsyncReadStream(self._place, path)

    async def upload_many(
        self,
        files: Iterable[tuple[arker.transfer.UploadSource, arker.transfer.RemotePath]],
        *,
        concurrency: int | None = None,
        part_size: int | None = None,
        verify: arker.transfer.Verify = "size",
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> list[arker.FileOutcome]:
        """What became of each file, in their order; one that fails loses no other (contract, section 6).

        Small files go together, up to 500 or 8 MiB in one request, large ones beside them as with `upload`.

        Args:
            files: Pairs of a source and a path in the VM, each as for `upload`.
            concurrency: Requests that may be in flight at once, of all files together; 8 unless given.
            part_size: As for `upload`.
            verify: As for `upload`.
            progress: Called with a `TransferProgress` of all files together now and then.
            deadline: Seconds for the whole call; files that are not done by then have `DeadlineExceededError` as error.

        Raises:
            InvalidArgumentError: A pair that cannot be right; nothing was sent.
        """
        return await _files.many.upload_many(
            self._place,
            files,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            progress=progress,
            deadline=deadline,
        )

    async def download_many(
        self,
        files: Iterable[tuple[arker.transfer.RemotePath, arker.transfer.LocalPath]],
        *,
        concurrency: int | None = None,
        part_size: int | None = None,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> list[arker.FileOutcome]:
        """What became of each file, in their order; one that fails loses no other (contract, section 6).

        Args:
            files: Pairs of a path in the VM and a local path, each as for `download`.
            concurrency: Requests that may be in flight at once, of all files together; 8 unless given.
            part_size: As for `download`.
            progress: Called with a `TransferProgress` of all files together now and then. Its ``total`` is None until
                the sizes of all files are known.
            deadline: Seconds for the whole call; files that are not done by then have `DeadlineExceededError` as error.

        Raises:
            InvalidArgumentError: A pair that cannot be right; nothing was sent.
        """
        return await _files.many_downloads.download_many(
            self._place,
            files,
            concurrency=concurrency,
            part_size=part_size,
            progress=progress,
            deadline=deadline,
        )


__all__ = ["Files"]
