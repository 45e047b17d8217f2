"""Functions for the VMs of a fleet, and commands that end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from arker import AsyncVM
from tests.support.cloud import Cloud
from tests.support.server import Reply, error


async def echo(vm: AsyncVM, item: int) -> str:
    return (await vm.run(f"echo {item}")).stdout_text.strip()


def killing(cloud: Cloud, *commands: str, times: int = 1) -> Callable[[str, str], Reply | None]:
    """Each of the commands kills its VM, so often."""
    left = dict.fromkeys(commands, times)

    def on_run(vm_id: str, command: str) -> Reply | None:
        if left.get(command, 0):
            left[command] -= 1
            cloud.lose(vm_id)
            return error("not_found", "there is no such VM", status=404)
        return None

    return on_run


class Gates:
    """A function whose calls wait until they are told to go on."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.vms: list[AsyncVM] = []
        self.ended: list[int] = []
        self._gates: dict[int, asyncio.Event] = {}
        self._news = asyncio.Event()

    async def __call__(self, vm: AsyncVM, item: int) -> int:
        self._gates[item] = asyncio.Event()
        self.begun.append(item)
        self.vms.append(vm)
        self._news.set()
        try:
            await self._gates[item].wait()
        finally:
            self.ended.append(item)
        return item * 10

    def open(self, *items: int) -> None:
        for item in items:
            self._gates[item].set()

    async def wait_for(self, count: int) -> None:
        """Until so many have begun."""
        while len(self.begun) < count:
            self._news.clear()
            await self._news.wait()


__all__ = ["Gates", "echo", "killing"]
