"""Coroutines that run at once, and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from arker._tasks.cleanup import carry_through
from arker._tasks.running_loop import running_loop

Item = TypeVar("Item")


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run several coroutines at once. The first failure, or a cancellation, ends the others before it is raised."""
    made = list(works)
    try:
        loop = running_loop()
    except BaseException:
        for work in made:
            work.close()
        raise
    tasks = [loop.create_task(work) for work in made]
    if not tasks:
        return
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await carry_through(_end_all(tasks))
    # A failure tells more than that the others were cancelled.
    tasks.sort(key=lambda task: task.cancelled() or task.exception() is None)
    try:
        while tasks:
            tasks.pop(0).result()
    finally:
        del tasks  # they keep what they failed with, whose traceback has this frame


async def _end_all(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # else the loop reports it as never retrieved


async def pooled(items: Iterable[Item], work: Callable[[Item], Coroutine[Any, Any, None]], workers: int) -> None:
    """Process the items concurrently, in their order."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    await together(worker() for _ in range(workers))


__all__ = ["pooled", "together"]
