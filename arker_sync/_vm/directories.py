# Generated from arker/_vm/directories.py by "nox -s facade": change that file, not this one.
"""Transfers of whole directories to and from a VM. A part of `VM`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Literal

import arker
from arker_sync import _bridge
from arker_sync._vm.base import VmBase


class Directories(VmBase):
    """The directory methods of `VM`."""

    def upload_dir(
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
            checksum: False to send no digests (SHA-256) with the files: see `VM.upload`. Those by which files of
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
        work = self._async.upload_dir(
            local,
            remote,
            ignore=ignore,
            ignore_file=ignore_file,
            delete=delete,
            dry_run=dry_run,
            concurrency=concurrency,
            checksum=checksum,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)

    def download_dir(
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
        work = self._async.download_dir(
            remote,
            local,
            ignore=ignore,
            symlinks=symlinks,
            delete=delete,
            dry_run=dry_run,
            concurrency=concurrency,
            progress=_bridge.callbacks.relay("progress", progress),
            deadline=deadline,
        )
        return self._lease.call(work)


__all__ = ["Directories"]
