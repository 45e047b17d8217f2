# Generated from arker/read_stream.py by "nox -s facade": change that file, not this one.
"""`ReadStream`: a file of a VM, read piece by piece."""

from __future__ import annotations

from types import TracebackType

import arker
from arker._basics.typing import Self
from arker_sync._bridge.facade import Facade


class ReadStream(Facade):
    """The bytes of a file, in order. Made by `VM.open_read`; ``with`` opens it and closes it.

        with vm.open_read("/tmp/large") as stream:
            head = stream.read(100)
            for chunk in stream:
                print(len(chunk))

    One thread at a time may read from it. It holds one connection while it is open, and about a MiB of memory.
    """

    _async: arker.AsyncReadStream

    @property
    def path(self) -> str:
        """Where the file is in the VM."""
        return self._async.path

    @property
    def size(self) -> int:
        """The file's size in bytes; known once it is open."""
        return self._async.size

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._async.position

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
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        work = self._async.__anext__()
        return self._lease.step(work)

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the file.

        Args:
            size: How many: fewer come only at the end of the file. All that is left unless given.
        """
        work = self._async.read(size)
        return self._lease.call(work)

    def close(self) -> None:
        """Let go of the connection; the stream cannot be read any more."""
        work = self._async.aclose()
        self._lease.call(work)


__all__ = ["ReadStream"]
