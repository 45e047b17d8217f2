"""A client for all that a framework does in an event loop, and VMs that live as long as the loop does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from contextlib import AsyncExitStack
from typing import Any

from attrs import define, field

from arker import AsyncArker, AsyncVM
from arker.integrations._shared import make_client

_Pending = dict[Hashable, "asyncio.Task[AsyncVM]"]


@define(eq=False)
class LoopClient:
    """What belongs to an event loop: a client, and the VMs that others are forked from.

    For frameworks that make many sandboxes, and name no moment at which all are done. At its end `asyncio.run` cancels
    the tasks that are left, and waits for them; one of them holds these.
    """

    client: AsyncArker
    _stack: AsyncExitStack = field(factory=AsyncExitStack)
    _prepared: _Pending = field(factory=dict[Hashable, "asyncio.Task[AsyncVM]"])
    _holder: asyncio.Task[None] | None = None

    async def prepared(
        self,
        key: Hashable,
        fork: Callable[[], Awaitable[AsyncVM]],
        build: Callable[[AsyncVM], Awaitable[None]],
    ) -> AsyncVM:
        """Return the VM with a key, and make it if there is none yet. A failure is that of all who wait for it.

        Args:
            key: What the VM is the same for.
            fork: Makes the VM.
            build: Prepares it. It goes on if one of those who wait is cancelled.
        """
        task = self._prepared.get(key)
        if task is None or _failed(task):
            task = self._prepared[key] = asyncio.ensure_future(self._prepare(fork, build))
        return await asyncio.shield(task)

    async def _prepare(
        self, fork: Callable[[], Awaitable[AsyncVM]], build: Callable[[AsyncVM], Awaitable[None]]
    ) -> AsyncVM:
        async with AsyncExitStack() as stack:
            vm = await stack.enter_async_context(await fork())
            await build(vm)
            await self._stack.enter_async_context(stack.pop_all())
        return vm

    async def hold(self, ready: asyncio.Event) -> None:
        """Open the client, and close it with all VMs when this is cancelled.

        Args:
            ready: Set when the client is open.
        """
        loop = asyncio.get_running_loop()
        try:
            async with self.client, self._stack:
                ready.set()
                try:
                    await loop.create_future()
                finally:
                    for task in self._prepared.values():
                        task.cancel()
                    await asyncio.gather(*self._prepared.values(), return_exceptions=True)
        finally:
            _loops.pop(loop, None)


_loops: dict[asyncio.AbstractEventLoop, asyncio.Task[LoopClient]] = {}


async def loop_client() -> LoopClient:
    """Return what belongs to the running loop. The first call makes it."""
    loop = asyncio.get_running_loop()
    task = _loops.get(loop)
    if task is None or _failed(task):
        task = _loops[loop] = asyncio.ensure_future(_make())
    return await asyncio.shield(task)


async def _make() -> LoopClient:
    made, ready = LoopClient(make_client()), asyncio.Event()
    made._holder = asyncio.ensure_future(made.hold(ready))
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait([made._holder, waiting], return_when=asyncio.FIRST_COMPLETED)
    if not ready.is_set():
        waiting.cancel()
        await made._holder  # which raises
    return made


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


__all__ = ["LoopClient", "loop_client"]
