"""`AsyncFiles`: the files of a VM, in the terms of `os` and `pathlib`."""

from __future__ import annotations

from typing import Any, Literal, overload

import arker
from arker._basics.guidance import whole
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.shown import shown
from arker._vmfiles.changes import Changes
from arker._vmfiles.contents import Contents
from arker._vmfiles.looks import Looks


@whole
class AsyncFiles(Contents, Looks, Changes):
    """The files of a VM: read, written, listed and changed. `AsyncVM.files` is one, and needs no request.

        await vm.files.write_text("/srv/notes.txt", "hello", parents=True)
        print((await vm.files.stat("/srv/notes.txt")).size, await vm.files.listdir("/srv"))

    Each method is one command in a session of the SDK's own, which is kept for the next ones, or one request for a
    file's content. Paths may be of any bytes: those that are not UTF-8 are surrogates, as `os.fsdecode` makes them.
    Errors are Python's own as well, such as `FileNotFoundError`, with ``errno`` and ``filename``.
    """

    __reduce__ = refuse_to_be_pickled

    @overload
    def open(
        self,
        path: arker.transfer.RemotePath,
        mode: Literal["rb", "wb", "ab", "xb"],
        *,
        parents: bool = False,
        permissions: int | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncRemoteFile[bytes]: ...

    @overload
    def open(
        self,
        path: arker.transfer.RemotePath,
        mode: Literal["r", "w", "a", "x", "rt", "wt", "at", "xt"] = "r",
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        parents: bool = False,
        permissions: int | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncRemoteFile[str]: ...

    @overload
    def open(
        self,
        path: arker.transfer.RemotePath,
        mode: str,
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        parents: bool = False,
        permissions: int | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncRemoteFile[Any]: ...

    def open(
        self,
        path: arker.transfer.RemotePath,
        mode: str = "r",
        *,
        encoding: str = "utf-8",
        errors: str = "strict",
        parents: bool = False,
        permissions: int | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncRemoteFile[Any]:
        """Return a file for ``async with``, which opens it.

            async with vm.files.open("/srv/log.txt", "a") as file:
                await file.write("done")

        A file that is read is fetched piece by piece, from any position. A file that is written is kept on this machine
        and sent at the end of the block; after an exception in the block nothing is written.

        Args:
            path: Path of the file in the VM; a relative path starts at the home directory.
            mode: ``r`` (read), ``w`` (write), ``a`` (append) or ``x`` (create), with ``b`` for bytes. Ends of lines
                stay as they are.
            encoding: Encoding of a text file.
            errors: Handling of what cannot be decoded or encoded, as for `open`.
            parents: Whether to create missing directories.
            permissions: Permission bits of a file that is written.
            deadline: Seconds for opening and for sending the file; None for no limit.

        Raises:
            RemoteFileNotFoundError: At ``async with``: there is no such file, or no directory to write it to.
            RemoteFileExistsError: At ``async with``: the file to create exists.
            FileChangedError: During a read: the file has changed.
        """
        return arker.AsyncRemoteFile(
            self._place,
            path,
            mode,
            encoding=encoding,
            errors=errors,
            parents=parents,
            permissions=permissions,
            deadline=deadline,
        )

    def watch(
        self, path: arker.transfer.RemotePath = ".", *, recursive: bool = False, interval: float = 1.0
    ) -> arker.AsyncWatch:
        """Return the changes in a directory, for ``async with``, which begins to watch.

            async with vm.files.watch("/srv/inbox") as changes:
                async for event in changes:
                    print(event.kind, event.path)

        The VM's kernel tells of them (inotify) where the VM has Python; otherwise lists are compared. The events and
        `AsyncWatch.method` say which it is. There is no event for the temporary name (``.upload-…``, ``.arker-…``)
        under which a file is written before it gets its own.

        Args:
            path: The directory in the VM; the home directory by default.
            recursive: Whether to watch the directories below it, too.
            interval: Maximum number of seconds until a change is noticed, at the price of that many requests.

        Raises:
            RemoteFileNotFoundError: At ``async with``: there is no such directory.
            RemoteNotADirectoryError: At ``async with``: it is not a directory.
        """
        return arker.AsyncWatch(self._place, path, recursive, interval)

    def __repr__(self) -> str:
        return shown(self._place.redact(f"<AsyncFiles of VM {self._place.vm_id}>"))


__all__ = ["AsyncFiles"]
