"""The look-up of hosts' addresses, which goes on while the interpreter ends."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver


class Resolver(AbstractResolver):
    """aiohttp's own way, in a thread; while the interpreter ends no thread takes any work, so the loop itself waits.

    Functions of `atexit` delete VMs then, when the last connection may be long gone.
    """

    def __init__(self) -> None:
        self._usual: AbstractResolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        try:
            return await self._usual.resolve(host, port, family)
        except RuntimeError:  # no thread can be started
            return _resolved(host, port, family)

    async def close(self) -> None:
        await self._usual.close()


def _resolved(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    """Look a host's addresses up; blocks."""
    found = socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    return [
        ResolveResult(
            hostname=host,
            host=str(address[0]),
            port=int(address[1]),
            family=kind,
            proto=protocol,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, protocol, _, address in found
    ]


__all__ = ["Resolver"]
