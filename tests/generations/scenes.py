"""What the operations of the client are tried on."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import aiohttp
from attrs import field, frozen

from arker import AsyncArker, AsyncVM
from arker.emulator import Emulator

Act: TypeAlias = Callable[["Scene"], Awaitable[None]]

_numbers: Final = itertools.count(1)


@frozen
class Scene:
    """A client, a VM of its own, and names that are not taken.

    Attributes:
        ar: The client.
        vm: A handle on the VM.
    """

    ar: AsyncArker
    vm: AsyncVM

    def name(self) -> str:
        """Return a new name."""
        return f"name-{next(_numbers)}"


@frozen
class Operation:
    """An operation of the client.

    Attributes:
        name: How it is called.
        act: What does it, and fails if the result is not right.
        without: What must not be: the generations that lack it, by themselves.
    """

    name: str
    act: Act = field(repr=False)
    without: frozenset[str] = frozenset()


@asynccontextmanager
async def scene(emulator: Emulator, ar: AsyncArker) -> AsyncGenerator[Scene, None]:
    """Fork a VM by a request that both generations know, and delete it in the end."""
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def ask(method: str, path: str, **body: Any) -> Any:
            async with session.request(method, emulator.url + path, json=body or None) as response:
                return await response.json()

        vm_id = str((await ask("POST", "/v1/fork", source_vm_id="ubuntu"))["vm_id"])
        try:
            yield Scene(ar, ar.vm(vm_id))
        finally:
            await ask("DELETE", f"/v1/vms/{vm_id}")


__all__ = ["Act", "Operation", "Scene", "scene"]
