"""Transfers of whole directories to and from a VM. A part of `AsyncVM`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Literal

import arker
from arker import _directories
from arker._transport.attempts import Progress, deadline_scope
from arker._vm.base import VmBase
from arker.models import _checks as check


class Directories(VmBase):
    """The directory methods of `AsyncVM`."""

    async def upload_dir(
        self,
        local: arker.transfer.LocalPath,
        remote: arker.transfer.RemotePath,
        *,
        ignore: Iterable[str] = (),
        ignore_file: str | os.PathLike[str] | None = None,
        delete: bool = False,
        dry_run: bool = False,
        concurrency: int | None = None,
        checksum: bool = True,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker.DirectoryReport:
        """Make a directory in the VM match a local directory. Only differences are sent.

        Files are compared by size and digest. Symlinks, permissions and empty directories are preserved. New files are
        written next to their targets and moved into place together at the end. A call that fails as a whole or is
        cancelled before that has changed nothing, and at any moment each file is completely old or completely new. If
        one file fails, the others are still copied: see ``failures`` of the returned report.

        Args:
            local: The directory on this machine.
            remote: The directory in the VM; a relative path starts at the home directory. It is created if it does not
                exist.
            ignore: Patterns in gitignore syntax, such as ``["*.pyc", ".git/", "!keep.pyc"]``; matching paths are
                neither sent nor deleted in the VM. They need the extra ``arker-async[files]``.
            ignore_file: A file with further patterns, such as ``.gitignore``; a relative path starts at ``local``.
            delete: Whether to delete paths in the VM that the local directory does not have. If a file cannot be
                copied, they stay.
            dry_run: Change nothing and return the plan.
            concurrency: Maximum number of requests in flight; 8 by default.
            checksum: False to send no digests (SHA-256) with the files: see `AsyncVM.upload`. Those by which files of
                the same size are compared are computed nevertheless.
            progress: Called from time to time with a `TransferProgress` for all files together.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            DirectoryConflictError: A path that must not be removed is in the way; nothing was changed.
            LocalFileError: The local directory does not exist or cannot be read.
            RemoteNotADirectoryError: The path in the VM is not a directory.
            RemotePermissionError: The directory in the VM cannot be read or written.
            ConfigurationError: Patterns were given, but the library for them is not installed.
        """
        options = _directories.work.check_options(
            local,
            remote,
            ignore,
            delete=delete,
            dry_run=dry_run,
            concurrency=concurrency,
            progress=progress,
            checksum=checksum,
        )
        state = Progress("vm.upload_dir")
        with deadline_scope(deadline, state):
            if ignore_file is not None:
                options = await _directories.work.read_ignore_file(options, ignore_file, state)
            uploading = _directories.work.DirectoryWork(self._place, options, "upload", state)
            return await uploading.run(_directories.upload.upload_directory(uploading))

    async def download_dir(
        self,
        remote: arker.transfer.RemotePath,
        local: arker.transfer.LocalPath,
        *,
        ignore: Iterable[str] = (),
        symlinks: Literal["inside", "all"] = "inside",
        delete: bool = False,
        dry_run: bool = False,
        concurrency: int | None = None,
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker.DirectoryReport:
        """Make a local directory match a directory in the VM. Only differences are fetched.

        It works like `upload_dir` in the opposite direction. A malicious VM cannot cause writes outside the local
        directory.

        Args:
            remote: The directory in the VM; a relative path starts at the home directory.
            local: The directory on this machine; it is created if it does not exist.
            ignore: Patterns in gitignore syntax; matching paths are neither fetched nor deleted locally. They need the
                extra ``arker-async[files]``.
            symlinks: By default a symlink that is absolute or may point outside the directory is skipped, and its entry
                has the reason. ``"all"`` copies every symlink unchanged; use it only with VMs that you trust.
            delete: Whether to delete local paths that the VM's directory does not have. If a file cannot be copied,
                they stay.
            dry_run: Change nothing and return the plan.
            concurrency: Maximum number of requests in flight; 8 by default.
            progress: Called from time to time with a `TransferProgress` for all files together.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            DirectoryConflictError: A path that must not be removed is in the way; nothing was changed.
            RemoteFileNotFoundError: The directory does not exist in the VM.
            RemoteNotADirectoryError: The path in the VM is not a directory.
            RemotePermissionError: The directory in the VM cannot be read.
            LocalFileError: The local directory cannot be created, read or written.
            ConfigurationError: Patterns were given, but the library for them is not installed.
        """
        options = _directories.work.check_options(
            local,
            remote,
            ignore,
            delete=delete,
            dry_run=dry_run,
            concurrency=concurrency,
            progress=progress,
        )
        check.check_one_of("symlinks", symlinks, ("inside", "all"))
        state = Progress("vm.download_dir")
        with deadline_scope(deadline, state):
            downloading = _directories.work.DirectoryWork(self._place, options, "download", state)
            links = symlinks == "all"
            return await downloading.run(_directories.download.download_directory(downloading, links=links))


__all__ = ["Directories"]
