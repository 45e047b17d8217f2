"""A VM whose files an earlier server has not left whole. They stay as they are, for a repair, until it is deleted."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn

from arker.emulator.sandbox.base import (
    FileReader,
    FileWriter,
    RunHandle,
    RunSpec,
    SandboxError,
    TerminalHandle,
    TerminalSpec,
    Volume,
)


class DamagedSandbox:
    """The `Sandbox` of such a VM. It refuses everything but its deletion.

    Args:
        initial_env: The environment that the VM's sessions began with, which its record keeps.
        why: What is wrong with its files.
        discard: Removes what there is of them.

    Attributes:
        initial_env: As given.
        why: As given.
    """

    def __init__(self, initial_env: Mapping[str, str], why: str, discard: Callable[[], Awaitable[None]]) -> None:
        self.initial_env = initial_env
        self.why = why
        self._discard = discard

    async def run(self, spec: RunSpec) -> RunHandle:
        self._refuse()

    async def open_terminal(self, spec: TerminalSpec) -> TerminalHandle:
        self._refuse()

    async def open_read(self, path: str) -> FileReader:
        self._refuse()

    async def open_write(self, path: str, size: int) -> FileWriter:
        self._refuse()

    async def connect(self, port: int) -> socket.socket:
        self._refuse()

    async def bind(self, volumes: Mapping[str, Volume]) -> None:
        self._refuse()

    def unbound(self, path: str) -> str | None:
        return self.why

    def obstacle(self, path: str) -> str | None:
        return self.why

    def holds(self, volume: Volume) -> bool:
        return False

    async def delete(self) -> None:
        await self._discard()

    def _refuse(self) -> NoReturn:
        raise SandboxError("unrecoverable", self.why)


__all__ = ["DamagedSandbox"]
