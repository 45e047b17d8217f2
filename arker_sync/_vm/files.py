# Generated from arker/_vm/files.py by "nox -s facade": change that file, not this one.
"""Transfers of files to and from a VM, in memory or streamed. A part of `VM`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any, cast, overload

import arker
import arker_sync
from arker._vm.files import MAX_SYNC_READ, UNSET, Unset
from arker_sync import _bridge
from arker_sync._vm.base import VmBase


class Transfers(VmBase):
    """The methods of `VM` that move files."""

    @property
    def files(self) -> arker_sync.Files:
        """The VM's files, in the terms of `os` and `pathlib`."""
        return arker_sync.Files(self._async.files, self._lease)

    @overload
    def sync(
        self, path: str | PurePosixPath, *, max_bytes: int | None = MAX_SYNC_READ, deadline: float | None = None
    ) -> bytes: ...

    @overload
    def sync(
        self,
        path: str | PurePosixPath,
        data: bytes | bytearray | memoryview | str,
        *,
        checksum: bool = True,
        deadline: float | None = None,
    ) -> None: ...

    def sync(
        self,
        path: str | PurePosixPath,
        data: bytes | bytearray | memoryview | str | Unset = UNSET,
        *,
        max_bytes: int | None = MAX_SYNC_READ,
        checksum: bool = True,
        deadline: float | None = None,
    ) -> bytes | None:
        """Read or write a whole file in the VM (contract, section 6).

        Without ``data``, the call returns the file's bytes. With ``data``, it writes the file and creates missing
        directories. Up to 4 MiB are sent inline, more by a presigned PUT, or in chunks where the server has no
        presigned URLs; a read uses the method that the server offers.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            data: Content to write, at most 5 GiB: bytes, or a string, which is written as UTF-8.
            max_bytes: Maximum number of bytes to read into memory; None for no limit. Set a limit for untrusted VMs: a
                sparse file of terabytes takes no disk space there.
            checksum: For a write, False to send no digest (SHA-256) with the content: see `upload`.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such file, or no such VM.
            BadRequestError: The path is not a regular file.
            FileTooLargeError: The file is larger than ``max_bytes``; nothing was read. Use `download` for files of any
                size.
        """
        asynchronous: Any = self._async
        work = asynchronous.sync(path, data, max_bytes=max_bytes, checksum=checksum, deadline=deadline)
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
        checksum: bool = True,
        mode: int | None = None,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker.TransferResult:
        """Upload a local file, bytes or a stream to a path in the VM (contract, section 6).

        The file appears complete or not at all. No piece larger than a few MiB is held in memory.

        Args:
            source: Path of a local file, bytes, a binary file object (read from its current position to its end), or an
                iterable of bytes, asynchronous or not, which is written to a temporary file first.
            path: Target path in the VM; a relative path starts at the home directory. Missing directories are created.
            strategy: How the file is sent. By default up to 4 MiB are sent inline, up to 64 MiB by one presigned PUT,
                and more in parallel parts; in chunks if the server does not support presigned PUTs.
            concurrency: Maximum number of requests in flight for this file; 8 by default.
            part_size: Size of a part or chunk in bytes; by default chosen from the file's size. A file that is sent
                inline or by one PUT has neither.
            verify: ``"full"`` to check the digest of the whole file in the VM after it was joined from parts. Of a file
                that is sent in another way the server checks it in any case.
            checksum: False to send no digest (SHA-256) with the file. The server then checks its size only; where the
                network is fast, computing the digest takes longer than sending.
            mode: Permission bits of the file from the moment it appears; by default the server chooses them.
            progress: Function called from time to time with a `TransferProgress`. An exception in it is logged and does
                not stop the transfer.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            LocalFileError: The source cannot be read.
            FileChangedError: The source has changed during the transfer.
            IntegrityError: The received data differs from the data that was sent.
            UnsupportedOperationError: The server does not support the requested ``strategy``.
        """
        work = self._async.upload(
            _bridge.callbacks.feed(source),
            path,
            strategy=strategy,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            checksum=checksum,
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
        """Download a file from the VM to a local path or a file object (contract, section 6).

        A local file appears complete or not at all. It replaces an existing file (or the symlink itself) and takes over
        its permissions. Bytes are written to a file object in order, so it may hold a part of the file after an error.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            target: Path of a local file in an existing directory, or a binary file object.
            concurrency: Maximum number of ranges in flight when the target is a local file; 8 by default.
            part_size: Size of a range in bytes when the target is a local file; by default chosen from the file's size.
                A file object gets the bytes of one request, in order.
            progress: Function called from time to time with a `TransferProgress`. An exception in it is logged and does
                not stop the transfer.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such file, or no such VM.
            BadRequestError: The path is not a regular file.
            LocalFileError: The target cannot be written.
            FileChangedError: The file has changed during the transfer; the target is unchanged.
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
        """Return a stream of a file's bytes for ``with``, which sends the first request (contract, section 6).

            with vm.open_read("/var/log/syslog") as stream:
                for chunk in stream:
                    print(len(chunk), "of", stream.size)

        After a lost connection the stream resumes at the same position. A file that has changed is an error.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.

        Raises:
            NotFoundError: At ``with``: there is no such file, or no such VM.
            FileChangedError: During a read: the file has changed.
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
        checksum: bool = True,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> list[arker.FileOutcome]:
        """Upload several files (contract, section 6).

        If one file fails, the others are still sent; the outcomes are in the order of ``files``. Up to 500 small files
        or 8 MiB share one request; large files are sent in parallel as by `upload`.

        Args:
            files: Pairs of a source and a path in the VM, as for `upload`.
            concurrency: Maximum number of requests in flight for all files together; 8 by default.
            part_size: As for `upload`.
            verify: As for `upload`.
            checksum: As for `upload`.
            progress: Called from time to time with a `TransferProgress` for all files together.
            deadline: Seconds for the whole call; files that are not finished by then fail with `DeadlineExceededError`.

        Raises:
            InvalidArgumentError: A pair is invalid; nothing was sent.
        """
        work = self._async.upload_many(
            files,
            concurrency=concurrency,
            part_size=part_size,
            verify=verify,
            checksum=checksum,
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
        """Download several files (contract, section 6).

        If one file fails, the others are still fetched; the outcomes are in the order of ``files``.

        Args:
            files: Pairs of a path in the VM and a local path, as for `download`.
            concurrency: Maximum number of requests in flight for all files together; 8 by default.
            part_size: As for `download`.
            progress: Called from time to time with a `TransferProgress` for all files together. Its ``total`` is None
                until the sizes of all files are known.
            deadline: Seconds for the whole call; files that are not finished by then fail with `DeadlineExceededError`.

        Raises:
            InvalidArgumentError: A pair is invalid; nothing was sent.
        """
        work = self._async.download_many(
            files,
            concurrency=concurrency,
            part_size=part_size,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)


__all__ = ["Transfers"]
