"""Whole directories, in and out of a VM. A part of `AsyncVM`."""

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
    """The calls of `AsyncVM` on directories."""

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
        progress: Callable[[arker.TransferProgress], object] | None = None,
        deadline: float | None = None,
    ) -> arker.DirectoryReport:
        """What was done so that a directory of the VM holds what a local one does; only what differs is sent.

        Files are the same if size and digest are. Symlinks stay symlinks, permissions are kept, empty directories too.
        The files come in beside their places and are moved there at the end, all together: a call that fails as a whole
        or is cancelled before has changed nothing, and each file is the old one or the new one, whole, at any moment.
        A file that fails loses no other: see ``failures`` of what is returned.

        Args:
            local: The directory on this machine.
            remote: The directory in the VM; a relative path counts from the home directory. It is made if need be.
            ignore: Patterns in gitignore syntax, such as ``["*.pyc", ".git/", "!keep.pyc"]``; what they match is not
                sent, and not deleted in the VM. They need the extra ``arker-async[files]``.
            ignore_file: A file with more of them, such as ``.gitignore``; a relative path counts from ``local``.
            delete: Whether what the local directory has not is deleted in the VM.
            dry_run: Change nothing; what comes back is the plan.
            concurrency: Requests that may be in flight at once; 8 unless given.
            progress: Called with a `TransferProgress` of all files together now and then.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            DirectoryConflictError: Something would have to be removed that must not be; nothing was changed.
            LocalFileError: There is no such local directory, or it cannot be read.
            BadRequestError: The path in the VM is not one of a directory.
            ConfigurationError: Patterns were given, and the library for them is not installed.
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
        state = Progress("vm.upload_dir")
        with deadline_scope(deadline, state):
            if ignore_file is not None:
                options = await _directories.work.read_ignore_file(options, ignore_file)
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
        """What was done so that a local directory holds what one of the VM does; only what differs is fetched.

        As `upload_dir`, the other way. Whatever the VM does, nothing is written outside of the local directory.

        Args:
            remote: The directory in the VM; a relative path counts from the home directory.
            local: The directory on this machine; it is made if need be.
            ignore: Patterns in gitignore syntax; what they match is not fetched, and not deleted here. They need the
                extra ``arker-async[files]``.
            symlinks: By default a symlink that is absolute, or could lead out of the directory, is skipped, with the
                reason in its entry; ``"all"`` makes it here as it is there, which is for VMs that are trusted.
            delete: Whether what the VM's directory has not is deleted here.
            dry_run: Change nothing; what comes back is the plan.
            concurrency: Requests that may be in flight at once; 8 unless given.
            progress: Called with a `TransferProgress` of all files together now and then.
            deadline: Seconds for the whole call; None for no bound.

        Raises:
            DirectoryConflictError: Something would have to be removed that must not be; nothing was changed.
            NotFoundError: There is no such directory in the VM.
            BadRequestError: The path in the VM is not one of a directory.
            LocalFileError: The local directory cannot be made, read or written.
            ConfigurationError: Patterns were given, and the library for them is not installed.
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
