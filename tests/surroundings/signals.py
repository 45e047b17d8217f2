"""Programs that are told to end twice. Started as ``python -m tests.surroundings.signals CLIENT WORK``.

They say when they are in the midst of their work, and log warnings to standard error, one on each line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
import time

from arker import AsyncArker, AsyncVM
from arker_sync import VM, Arker

logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
# Tests that run in the background inherit it as ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


def ready() -> None:
    print("ready\n", end="", flush=True)  # in one piece, since several threads may say so at once


async def work_in(vm: AsyncVM, item: int) -> None:
    ready()
    await vm.run("say it takes long")


async def asynchronous(work: str) -> None:
    async with AsyncArker() as ar, contextlib.AsyncExitStack() as stack:
        if work == "vms":
            for _ in range(3):
                await stack.enter_async_context(await ar.fork("ubuntu"))
        else:
            fleet = await stack.enter_async_context(ar.fork_many("ubuntu", 6, max_concurrency=2))
            if work == "map":
                async for _ in fleet.map(work_in, range(6)):
                    pass
        ready()
        await asyncio.sleep(600)


def work_in_blocking(vm: VM, item: int) -> None:
    ready()
    vm.run("say it takes long")


def blocking(work: str) -> None:
    with Arker() as ar, contextlib.ExitStack() as stack:
        if work == "vms":
            for _ in range(3):
                stack.enter_context(ar.fork("ubuntu"))
        elif work == "goes on":
            go_on(stack.enter_context(ar.fork("ubuntu")))
            return
        else:
            fleet = stack.enter_context(ar.fork_many("ubuntu", 6, max_concurrency=2))
            if work == "map":
                for _ in fleet.map(work_in_blocking, range(6)):
                    pass
        ready()
        time.sleep(600)


def go_on(vm: VM) -> None:
    """Go on after each Ctrl-C, as an interactive program does: it ends a command only."""
    for _ in range(3):
        ready()
        try:
            vm.run("say it takes long")
        except KeyboardInterrupt:
            vm.sync("/done", b"")


if __name__ == "__main__":
    client, work = sys.argv[1:]
    if client == "async":
        asyncio.run(asynchronous(work))
    else:
        blocking(work)
