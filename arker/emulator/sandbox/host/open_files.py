"""Open files of a VM, as the server reads and writes them through a descriptor."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Literal

from arker.emulator.sandbox.base import SandboxError


class AgentFileReader:
    """The `FileReader` of a file that an agent has opened."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._open = True

    def close(self) -> None:
        if self._open:
            self._open = False
            os.close(self.fd)


class AgentFileWriter:
    """The `FileWriter` of a file that an agent has opened."""

    def __init__(self, fd: int, finish: Callable[[Literal["commit", "abort"]], Awaitable[None]]) -> None:
        """Wrap a descriptor.

        Args:
            fd: Open for writing; closed with this object.
            finish: Has the agent put the file into its place, or remove it.
        """
        self.fd = fd
        self._finish = finish
        self._open = True

    async def commit(self) -> None:
        self._close()
        await self._finish("commit")

    async def abort(self) -> None:
        if self._open:
            self._close()
            await self._finish("abort")

    def _close(self) -> None:
        if not self._open:
            raise SandboxError("bad_request", "the file has been committed or aborted already")
        self._open = False
        os.close(self.fd)


__all__ = ["AgentFileReader", "AgentFileWriter"]
