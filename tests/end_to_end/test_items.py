"""Iterators that are closed: by a block, by `contextlib.aclosing`, or by another task amid a step."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from arker import AsyncArker, AsyncItems, AsyncVM
from tests.support.server import ScriptedServer, ok
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio

IN_A_VM: dict[str, Callable[[AsyncVM], AsyncItems[Any]]] = {
    "scandir": lambda vm: vm.files.scandir("/etc"),
    "walk": lambda vm: vm.files.walk("/etc"),
    "grep": lambda vm: vm.files.grep(".", "/etc/passwd"),
    "iter_runs": lambda vm: vm.iter_runs(),
}


@pytest.mark.parametrize("name", IN_A_VM)
async def test_no_more_items_follow(vm: AsyncVM, name: str) -> None:
    await vm.run("true")
    items = IN_A_VM[name](vm)
    async with contextlib.aclosing(items) as same:
        assert same is items
        assert await anext(items)
    async with IN_A_VM[name](vm) as others:
        assert await anext(others)
    for closed in (items, others):
        assert [item async for item in closed] == []
        await closed.aclose()
    async with IN_A_VM[name](vm) as unused:
        pass
    assert [item async for item in unused] == []


async def test_the_output_of_a_run_that_goes_on(vm: AsyncVM) -> None:
    run = await vm.start("printf 'one\\ntwo\\nthr'; sleep 600")
    async with run.lines() as lines:
        assert (await anext(lines)).text == "one"
    assert [line async for line in lines] == []
    async with run.output() as chunks:
        assert (await anext(chunks)).data.startswith(b"o")
    assert [chunk async for chunk in chunks] == []
    await run.cancel()


@pytest.mark.parametrize("kind", ["lines", "output"])
async def test_another_task_closes_it_amid_a_step(vm: AsyncVM, kind: str) -> None:
    run = await vm.start("printf one; sleep 600")
    items: AsyncItems[Any] = run.lines() if kind == "lines" else run.output()
    found: list[object] = []

    async def read() -> None:
        async for item in items:
            found.append(item)

    async with run.output() as seen:
        await anext(seen)
    reader = asyncio.create_task(read())
    await until(lambda: bool(found) or kind == "lines")
    await asyncio.wait_for(asyncio.gather(items.aclose(), items.aclose()), PATIENCE)
    await asyncio.wait_for(reader, PATIENCE)
    assert len(found) == (kind == "output")
    await run.cancel()


async def test_a_list_is_closed_while_a_page_is_awaited(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vms": [], "next_cursor": None}, delay=600))
    vms = client.iter_vms()

    async def read() -> list[AsyncVM]:
        return [vm async for vm in vms]

    reader = asyncio.create_task(read())
    await until(lambda: bool(server.requests))
    with pytest.raises(RuntimeError, match="by another caller"):
        await anext(vms)
    await asyncio.wait_for(vms.aclose(), PATIENCE)
    assert await asyncio.wait_for(reader, PATIENCE) == []


async def test_a_task_that_is_cancelled_stays_cancelled(server: ScriptedServer, client: AsyncArker) -> None:
    server.script(ok({"vms": [], "next_cursor": None}, delay=600), ok({"vms": [], "next_cursor": None}))
    vms = client.iter_vms()
    reader = asyncio.ensure_future(anext(vms))
    await until(lambda: bool(server.requests))
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert [vm async for vm in vms] == []
    assert len(server.requests) == 2


async def test_the_work_of_a_fleet_has_ended_after_its_block(ar: AsyncArker) -> None:
    ended: list[int] = []

    async def work(_: AsyncVM, item: int) -> int:
        try:
            if item:
                await asyncio.sleep(600)
        finally:
            ended.append(item)
        return item

    async def items() -> AsyncIterator[int]:
        for number in range(9):
            yield number

    async with ar.fork_many("ubuntu", 2) as fleet:
        async with fleet.map(work, items()) as outcomes:
            assert (await anext(outcomes)).item == 0
            await asyncio.sleep(0)
        assert 0 in ended
        assert [outcome async for outcome in outcomes] == []


async def test_a_plain_loop_or_block_is_told_what_to_use(vm: AsyncVM) -> None:
    items: Any = vm.iter_runs()
    with pytest.raises(TypeError, match="use `async for`, in a coroutine"):
        list(items)
    with pytest.raises(TypeError, match="AsyncItems takes `async with`, in a coroutine; `with` is for Items"), items:
        pass
    with pytest.raises(AttributeError, match="use aclose"):
        items.close()
