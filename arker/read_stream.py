"""`AsyncReadStream`: a file of a VM, read piece by piece."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from arker._transport import Transport
    from arker.transfer import RemotePath


class AsyncReadStream:
    """The bytes of a file, in order. Made by `AsyncVM.open_read`; ``async with`` opens it and closes it.

        async with vm.open_read("/tmp/large") as stream:
            head = await stream.read(100)
            async for chunk in stream:
                print(len(chunk))

    One task at a time may read from it. It holds one connection while it is open, and about a MiB of memory.
    """

    def __init__(self, transport: Transport, base_url: str, vm_id: str, path: RemotePath) -> None:
        """Made by `AsyncVM.open_read`."""
        raise NotImplementedError

    @property
    def path(self) -> str:
        """Where the file is in the VM."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """The file's size in bytes; known once it is open."""
        raise NotImplementedError

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        raise NotImplementedError

    async def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer only at the end of the file; all that is left unless given."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Let go of the connection; the stream cannot be read any more."""
        raise NotImplementedError


__all__ = ["AsyncReadStream"]
