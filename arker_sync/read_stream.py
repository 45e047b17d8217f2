# Generated from arker/read_stream.py by "nox -s facade": change that file, not this one.
"""`ReadStream`: a stream of a VM's file."""

from __future__ import annotations

from types import TracebackType

import arker
from arker._basics.typing import Self
from arker_sync._bridge.facade import Facade


class ReadStream(Facade):
    """A stream of a file's bytes in order. `VM.open_read` returns one; ``with`` opens and closes it.

        with vm.open_read("/tmp/large") as stream:
            head = stream.read(100)
            for chunk in stream:
                print(len(chunk))

    Only one thread at a time may read from it. While it is open, it uses one connection and about 1 MiB of memory. In
    another event loop than before it goes on at the same byte, by another connection.
    """

    _async: arker.AsyncReadStream

    @property
    def path(self) -> str:
        """The file's path in the VM."""
        return self._async.path

    @property
    def size(self) -> int:
        """The file's size in bytes; known once it is open."""
        return self._async.size

    @property
    def position(self) -> int:
        """The number of bytes read so far."""
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
        self._lease.call(work, leave=lambda: self._async.__aexit__(None, None, None), raised=exc_type)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        work = self._async.__anext__()
        return self._lease.step(work)

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes of the file. A call that fails or is cancelled takes none: the next one returns them.

        Args:
            size: Number of bytes; fewer are returned only at the end of the file. By default all remaining bytes.
        """
        work = self._async.read(size)
        return self._lease.call(work)

    def close(self) -> None:
        """Close the stream and release its connection."""
        work = self._async.aclose()
        self._lease.call(work)


__all__ = ["ReadStream"]
