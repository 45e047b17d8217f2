# Generated from arker/_vm/files.py by "nox -s facade": change that file, not this one.
"""Files in and out of a VM, in memory and streamed, of any size and number. A part of `VM`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any, cast, overload

import arker
import arker_sync
from arker._vm.files import MAX_SYNC_READ, UNSET, Unset
from arker_sync import _bridge
from arker_sync._vm.base import VmBase


class Files(VmBase):
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

    def upload(
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
        work = self._async.upload(
            _bridge.callbacks.feed(source),
            path,
            strategy=strategy,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            mode=mode,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)

    def download(
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
        work = self._async.download(
            path,
            target,
            concurrency=concurrency,
            part_size=part_size,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)

    def open_read(self, path: arker.transfer.RemotePath) -> arker_sync.ReadStream:
        """A stream of a file's bytes, for ``with``; nothing is sent before that (contract, section 6).

            with vm.open_read("/var/log/syslog") as stream:
                for chunk in stream:
                    print(len(chunk), "of", stream.size)

        A connection that is lost is taken up where it was; a file that has changed meanwhile is an error.

        Args:
            path: The file in the VM; a relative path counts from the home directory.

        Raises:
            NotFoundError: At ``with``: there is no such file, or no such VM.
            FileChangedError: While it is read: the file has changed.
        """
        value = self._async.open_read(path)
        return arker_sync.ReadStream(value, self._lease)

    def upload_many(
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
        work = self._async.upload_many(
            files,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)

    def download_many(
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
        work = self._async.download_many(
            files,
            concurrency=concurrency,
            part_size=part_size,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)


__all__ = ["Files"]
