"""`async with ar.fork("ubuntu") as vm`: what a call gives is entered as well as awaited, and is still a coroutine."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any
from unittest import mock

import anyio
import pytest

import arker
from arker import AsyncArker, AsyncVM, NotFoundError, Pending

pytestmark = pytest.mark.anyio


@pytest.fixture
async def ar() -> AsyncGenerator[AsyncArker]:
    async with AsyncArker.local() as client:
        yield client


async def there(ar: AsyncArker) -> list[str]:
    return [vm.vm_id for vm in await ar.list_vms()]


async def assert_cancelled_without_a_trace(task: asyncio.Task[Any], ar: AsyncArker) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with anyio.fail_after(30):
        while await there(ar):
            await asyncio.sleep(0.01)


async def test_a_fork_is_entered_and_deleted_at_the_end(ar: AsyncArker) -> None:
    async with ar.fork("ubuntu") as vm:
        assert type(vm) is AsyncVM
        assert await there(ar) == [vm.id]
        assert (await vm.run("echo hi")).stdout_text == "hi\n"
        async with vm.fork() as other, vm.snapshot("kept") as third:
            assert len({vm.id, other.id, third.id} & set(await there(ar))) == 3
            third.keep()
        async with ar.get_vm(third.id) as same:
            assert same.id == third.id
        async with ar.find_vm(vm.id) as found:
            found.keep()
    assert await there(ar) == []


async def test_it_is_deleted_after_an_exception_too(ar: AsyncArker) -> None:
    with pytest.raises(ZeroDivisionError):
        async with ar.fork("ubuntu"):
            raise ZeroDivisionError
    assert await there(ar) == []
    async with ar.fork("ubuntu") as vm:
        vm.keep()
    assert await there(ar) == [vm.id]
    await vm.delete()


async def test_a_fork_that_fails_raises_at_the_block(ar: AsyncArker) -> None:
    with pytest.raises(NotFoundError):
        async with ar.fork("no-such-golden"):
            pytest.fail("it was entered")


async def test_what_is_cancelled_while_it_is_entered_leaves_no_vm(ar: AsyncArker) -> None:
    entered = 0

    async def enter() -> None:
        nonlocal entered
        async with ar.fork("ubuntu"):
            entered += 1
            await asyncio.Event().wait()

    for turns in (1, 2, 5, 10, 40, 200):
        task = asyncio.create_task(enter())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    task = asyncio.create_task(enter())
    before = entered
    while entered == before:
        await asyncio.sleep(0.01)
    await assert_cancelled_without_a_trace(task, ar)


async def test_an_exit_stack_takes_it(ar: AsyncArker) -> None:
    async with AsyncExitStack() as stack:
        vms = [await stack.enter_async_context(ar.fork("ubuntu")) for _ in range(2)]
        assert sorted(await there(ar)) == sorted(vm.id for vm in vms)
    assert await there(ar) == []


async def _in_task(pending: Coroutine[Any, Any, AsyncVM]) -> AsyncVM:
    return await asyncio.create_task(pending)


async def _gathered(pending: Awaitable[AsyncVM]) -> AsyncVM:
    (vm,) = await asyncio.gather(pending)
    return vm


async def _in_time(pending: Awaitable[AsyncVM]) -> AsyncVM:
    return await asyncio.wait_for(pending, 60)


async def _shielded(pending: Awaitable[AsyncVM]) -> AsyncVM:
    return await asyncio.shield(pending)


async def _as_completed(pending: Awaitable[AsyncVM]) -> AsyncVM:
    (done,) = asyncio.as_completed([pending])
    return await done


async def _from_a_thread(pending: Coroutine[Any, Any, AsyncVM]) -> AsyncVM:
    loop = asyncio.get_running_loop()
    future = await asyncio.to_thread(asyncio.run_coroutine_threadsafe, pending, loop)
    return await asyncio.wrap_future(future)


async def _in_a_group(pending: Coroutine[Any, Any, AsyncVM]) -> AsyncVM:
    if sys.version_info < (3, 11):
        return await pending
    async with asyncio.TaskGroup() as group:
        task = group.create_task(pending)
    return task.result()


async def _in_an_eager_task(pending: Coroutine[Any, Any, AsyncVM]) -> AsyncVM:
    if sys.version_info < (3, 12):
        return await pending
    return await asyncio.eager_task_factory(asyncio.get_running_loop(), pending)


async def _in_debug_mode(pending: Coroutine[Any, Any, AsyncVM]) -> AsyncVM:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        return await asyncio.create_task(pending)
    finally:
        loop.set_debug(False)


WAYS: list[Callable[[Pending[AsyncVM]], Awaitable[AsyncVM]]] = [
    _in_task,
    _gathered,
    _in_time,
    _shielded,
    _as_completed,
    _from_a_thread,
    _in_a_group,
    _in_an_eager_task,
    _in_debug_mode,
]


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_taken_where_a_coroutine_is(
    ar: AsyncArker, way: Callable[[Pending[AsyncVM]], Awaitable[AsyncVM]]
) -> None:
    vm = await way(ar.fork("ubuntu"))
    assert await there(ar) == [vm.id]
    await vm.delete()


async def test_task_groups_of_anyio_take_the_method(ar: AsyncArker) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(ar.fork, "ubuntu")
        group.start_soon(ar.fork, "ubuntu", name="a task")
    vms = await ar.list_vms()
    assert len(vms) == 2
    for vm in vms:
        await ar.vm(vm.vm_id).delete()


async def test_a_task_of_it_is_cancelled_as_any(ar: AsyncArker) -> None:
    task = asyncio.create_task(ar.fork("ubuntu"))
    await asyncio.sleep(0)
    assert "fork" in repr(task)
    await assert_cancelled_without_a_trace(task, ar)


async def test_it_can_be_used_once(ar: AsyncArker) -> None:
    pending = ar.fork("ubuntu")
    vm = await pending
    for again in (pending, pending.__aenter__()):
        with pytest.raises(RuntimeError, match="already awaited"):
            await again
    await vm.delete()


async def test_a_forgotten_await_is_told_as_for_any_coroutine(ar: AsyncArker) -> None:
    with pytest.warns(RuntimeWarning, match=r"AsyncArker\.fork' was never awaited"):
        ar.fork("ubuntu")
    pending = ar.fork("ubuntu")
    with pytest.raises(
        AttributeError, match=r"no attribute 'run': await what the call gives .*await fork\(…\).*arker_sync"
    ):
        pending.run  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]  # noqa: B018
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(pending)
    assert repr(pending) == "<Pending AsyncArker.fork>"
    assert inspect.getcoroutinestate(pending) == inspect.CORO_CREATED
    pending.close()
    assert inspect.getcoroutinestate(pending) == inspect.CORO_CLOSED
    assert await there(ar) == []


async def test_a_plain_block_is_refused_without_a_further_warning(ar: AsyncArker) -> None:
    told = r"fork\(…\) takes `async with`, as in `async with fork\(…\) as vm`; `with` is for arker_sync"
    with pytest.raises(TypeError, match=told), ar.fork("ubuntu"):  # type: ignore[attr-defined]  # pyright: ignore
        pass
    assert await there(ar) == []


async def test_an_exception_is_thrown_in_as_into_any_coroutine(ar: AsyncArker) -> None:
    pending = ar.fork("ubuntu")
    with pytest.raises(ZeroDivisionError):
        pending.throw(ZeroDivisionError())
    assert not inspect.iscoroutine(pending)
    assert asyncio.iscoroutine(pending)


@pytest.mark.parametrize(
    "method", [AsyncArker.fork, AsyncArker.get_vm, AsyncArker.find_vm, AsyncVM.fork, AsyncVM.snapshot]
)
def test_the_methods_still_look_like_coroutine_functions(method: Callable[..., object]) -> None:
    assert asyncio.iscoroutinefunction(method)
    assert inspect.iscoroutinefunction(method) or sys.version_info < (3, 11)
    client = mock.create_autospec(arker.AsyncArker if "AsyncArker" in method.__qualname__ else AsyncVM)
    assert inspect.iscoroutinefunction(getattr(client, method.__name__))
    assert pickle.loads(pickle.dumps(method)) is method
    assert "self" in inspect.signature(method).parameters
    assert method.__doc__


def test_a_program_runs_it_by_itself() -> None:
    client = AsyncArker.local()

    async def used(pending: Pending[AsyncVM]) -> str:
        async with client, pending as vm:
            return vm.id

    assert asyncio.run(used(client.fork("ubuntu")))
