# Generated from arker/remote_file.py by "nox -s facade": change that file, not this one.
"""`RemoteFile`: an open file of a VM."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import AnyStr, Generic

import arker
from arker._basics.typing import Self
from arker_sync._bridge.facade import Facade


class RemoteFile(Facade, Generic[AnyStr]):
    """An open file of a VM, of bytes or of text. `Files.open` returns one; ``with`` opens and closes it.

        with vm.files.open("/etc/passwd") as file:
            for line in file:
                print(line.rstrip())

    A file that is read is fetched piece by piece, from any position. A file that is written is kept on this machine and
    sent at the end of the block, or by `flush`; after an exception in the block nothing more is written.

    Only one thread at a time may use it.
    """

    _async: arker.AsyncRemoteFile[AnyStr]

    @property
    def path(self) -> str:
        """The file's path in the VM."""
        return self._async.path

    @property
    def name(self) -> str:
        """The same as ``path``, as files of this machine call it."""
        return self._async.name

    @property
    def mode(self) -> str:
        """The mode that it was opened with."""
        return self._async.mode

    @property
    def closed(self) -> bool:
        """Whether the file is not open, or not any more."""
        return self._async.closed

    @property
    def size(self) -> int:
        """The size in bytes of a file that is read, or of what was written so far; known once it is open."""
        return self._async.size

    def tell(self) -> int:
        """Return the position in bytes. That of a file that is appended to begins at the size it was opened with.

        A text file that is read does not tell it.
        """
        return self._async.tell()

    def readable(self) -> bool:
        """Return whether the file is one that is read, as a library asks that takes files."""
        return self._async.readable()

    def writable(self) -> bool:
        """Return whether the file is one that is written."""
        return self._async.writable()

    def seekable(self) -> bool:
        """Return whether the file has positions that `seek` goes to: a binary file that is read has."""
        return self._async.seekable()

    # --- life -----------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        work = self._async.__aenter__()
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        work = self._async.__aexit__(exc_type, exc, traceback)
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    def close(self) -> None:
        """Close the file; one that is written is sent."""
        work = self._async.aclose()
        self._lease.call(work)

    # --- reading --------------------------------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AnyStr:
        work = self._async.__anext__()
        return self._lease.step(work)

    def read(self, size: int | None = -1) -> AnyStr:
        """Read the next bytes or characters of the file. A call that fails or is cancelled takes none of them.

        Args:
            size: How many; fewer are returned only at the end of the file. By default (-1 or None) all that remain.
        """
        work = self._async.read(size)
        return self._lease.call(work)

    def readline(self) -> AnyStr:
        r"""Read a line, with its ``\n``; nothing at the end of the file."""
        work = self._async.readline()
        return self._lease.call(work)

    def readlines(self, hint: int | None = -1) -> list[AnyStr]:
        r"""Read the lines that remain, each with its ``\n``.

        Args:
            hint: The number of bytes or characters after which no further line is read; by default (-1 or None), or if
                it is 0, all lines are.
        """
        work = self._async.readlines(hint)
        return self._lease.call(work)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position in a file that is read, and return it. A text file moves to its beginning only.

        Args:
            offset: The position in bytes.
            whence: Where it counts from: `os.SEEK_SET`, `os.SEEK_CUR` or `os.SEEK_END`.
        """
        return self._async.seek(offset, whence)

    # --- writing --------------------------------------------------------------------------------------------------

    def write(self, data: AnyStr) -> int:
        """Write bytes, or text to a text file. Return how many bytes or characters they are.

        Args:
            data: What to write.
        """
        work = self._async.write(data)
        return self._lease.call(work)

    def writelines(self, lines: Iterable[AnyStr]) -> None:
        r"""Write several pieces, one after the other. No ``\n`` is added.

        Args:
            lines: Bytes, or texts for a text file.
        """
        work = self._async.writelines(lines)
        self._lease.call(work)

    def flush(self) -> None:
        """Send what was written so far, so that the file in the VM has it. What is written later is appended to it.

        Without this, nothing is sent before the file is closed, and then all of it at once: the file is the former one
        or the whole new one. A file that is read is left as it is.
        """
        work = self._async.flush()
        self._lease.call(work)


__all__ = ["RemoteFile"]
