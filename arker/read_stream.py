"""`AsyncReadStream`: a stream of a VM's file."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import arker
from arker._basics.guidance import instead, no_end, no_plain_block
from arker._basics.pickling import refuse_to_be_pickled
from arker._basics.typing import Self
from arker._context import Place
from arker._files.checks import check_path
from arker._files.job import Job, make_job
from arker._files.remote import Reading, RemoteFile
from arker.errors import ConfigurationError
from arker.models import _checks as check


class AsyncReadStream:
    """A stream of a file's bytes in order. `AsyncVM.open_read` returns one; ``async with`` opens and closes it.

        async with vm.open_read("/tmp/large") as stream:
            head = await stream.read(100)
            async for chunk in stream:
                print(len(chunk))

    Only one task at a time may read from it. While it is open, it uses one connection and about 1 MiB of memory. In
    another event loop than before it goes on at the same byte, by another connection.
    """

    __reduce__ = refuse_to_be_pickled
    if not TYPE_CHECKING:
        __getattr__ = instead
        __enter__ = no_plain_block
        __exit__ = no_end

    def __init__(self, place: Place, path: arker.transfer.RemotePath) -> None:
        """Initialize the stream. Use `AsyncVM.open_read` to get one."""
        self._path = check_path(path)
        self._place = place
        self._size: int | None = None
        self._job: Job | None = None
        self._reading: Reading | None = None
        self._rest = b""
        self._position = 0

    @property
    def path(self) -> str:
        """The file's path in the VM."""
        return self._path

    @property
    def size(self) -> int:
        """The file's size in bytes; known once it is open."""
        if self._size is None:
            raise self._not_open()
        return self._size

    @property
    def position(self) -> int:
        """The number of bytes read so far."""
        return self._position

    def _not_open(self) -> ConfigurationError:
        problem = f"the stream of {self._path} is not open: use it as a context manager, once"
        return ConfigurationError(problem, operation="vm.open_read")

    async def __aenter__(self) -> Self:
        if self._size is not None:
            raise self._not_open()
        job = make_job(self._place, "vm.open_read", "download")
        remote = RemoteFile(job, self._path)
        async with job.named(self._path):
            await remote.open()
        self._job, self._size = job, remote.size
        self._reading = Reading(job, remote)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._next()
        if not piece:
            raise StopAsyncIteration
        self._position += len(piece)
        return piece

    async def _next(self) -> bytes:
        """Return the next bytes; none at the end of the file."""
        if self._reading is None:
            raise self._not_open()
        piece, self._rest = self._rest, b""
        if piece:
            return piece
        assert self._job is not None
        async with self._job.named(self._path):
            return await self._reading.next()

    async def read(self, size: int = -1) -> bytes:
        """Read the next bytes of the file. A call that fails or is cancelled takes none: the next one returns them.

        Args:
            size: Number of bytes; fewer are returned only at the end of the file. By default all remaining bytes.
        """
        if size != -1:
            check.check_integer("size", size, minimum=0)
        if self._reading is None:
            raise self._not_open()
        pieces: list[bytes] = []
        began = self._position
        left = self.size - began if size == -1 else size
        try:
            while left > 0 and (piece := await self._next()):
                if len(piece) > left:
                    piece, self._rest = piece[:left], piece[left:]
                pieces.append(piece)
                self._position += len(piece)
                left -= len(piece)
        except BaseException:
            # The next call begins with what has come, or the caller would have a gap.
            self._rest, self._position = b"".join([*pieces, self._rest]), began
            raise
        return b"".join(pieces)

    async def aclose(self) -> None:
        """Close the stream and release its connection."""
        reading, self._reading = self._reading, None
        self._rest = b""
        if reading is not None:
            reading.close()


__all__ = ["AsyncReadStream"]
