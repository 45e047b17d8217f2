"""Results that one task hands to another: the waiter goes on at once, and is a task like any other."""

from __future__ import annotations

import asyncio
import gc
import sys
import traceback
from contextvars import ContextVar
from typing import Any, TypeVar

import anyio
import pytest

from arker._tasks.cleanup import make_or_undo

T = TypeVar("T")

WHOSE: ContextVar[str] = ContextVar("whose", default="none")


async def never(task: asyncio.Task[Any]) -> None:
    raise AssertionError("nothing was to be undone")


async def after(future: asyncio.Future[None], value: T) -> T:
    await future
    return value


@pytest.mark.anyio
async def test_each_waiter_goes_on_before_the_next_result_is_made() -> None:
    """So what a result leaves behind is released before more is made of it: see `Handover`."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    happened: list[str] = []

    async def make(number: int) -> int:
        await over
        happened.append(f"made {number}")
        return number

    async def wait(number: int) -> None:
        happened.append(f"got {await make_or_undo(make(number), never)}")

    waiting = [asyncio.create_task(wait(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    over.set_result(None)
    await asyncio.gather(*waiting)
    assert happened == [f"{what} {number}" for number in range(5) for what in ("made", "got")]


@pytest.mark.anyio
async def test_the_waiter_is_in_its_own_task_and_context() -> None:
    makers: list[asyncio.Task[Any] | None] = []

    async def make() -> str:
        WHOSE.set("maker's")
        await asyncio.sleep(0.001)
        makers.append(asyncio.current_task())
        return WHOSE.get()

    async def wait() -> None:
        WHOSE.set("waiter's")
        me = asyncio.current_task()
        assert await make_or_undo(make(), never) == "maker's"
        assert asyncio.current_task() is me is not makers[-1]
        assert WHOSE.get() == "waiter's"
        await asyncio.sleep(0)
        assert asyncio.current_task() is me
        raise LookupError("the waiter's own")

    for _ in range(2):
        task = asyncio.create_task(wait())
        with pytest.raises(LookupError, match="the waiter's own"):
            await task
    assert all(maker is not None and maker.done() and maker.exception() is None for maker in makers)


@pytest.mark.anyio
async def test_a_failure_is_raised_where_it_is_awaited() -> None:
    async def make() -> None:
        await asyncio.sleep(0)
        raise LookupError("no")

    async def make_at_once() -> None:
        raise LookupError("no")

    for failing in (make, make_at_once):
        with pytest.raises(LookupError) as caught:
            await make_or_undo(failing(), never)
        assert caught.value.__context__ is None


@pytest.mark.anyio
async def test_a_cancelled_waiter_undoes_what_is_made_meanwhile() -> None:
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    undone: list[str] = []

    async def undo(task: asyncio.Task[str]) -> None:
        over.set_result(None)
        undone.append(await task)

    waiting = asyncio.create_task(make_or_undo(after(over, "it"), undo))
    await asyncio.sleep(0.001)
    waiting.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as caught:
        await waiting
    if sys.version_info >= (3, 11):  # before, a message was lost on its way
        assert caught.value.args == ("enough",)
    assert undone == ["it"]


@pytest.mark.anyio
async def test_a_waiter_that_is_cancelled_in_the_turn_of_its_result() -> None:
    """Either it has got the result, or it is undone: never neither, and never both."""
    for first in ("result", "cancellation"):
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        undone: list[int] = []
        got: list[int] = []

        async def undo(task: asyncio.Task[int], undone: list[int] = undone) -> None:
            undone.append(await task)

        async def wait(over: asyncio.Future[None] = over, got: list[int] = got, undo: Any = undo) -> None:
            got.append(await make_or_undo(after(over, 1), undo))
            await asyncio.sleep(0)

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0.001)
        if first == "result":
            over.set_result(None)
            waiting.cancel()
        else:
            waiting.cancel()
            over.set_result(None)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(got) + len(undone) == 1


@pytest.mark.anyio
async def test_a_scope_and_a_timeout_end_the_wait() -> None:
    ended: list[str] = []

    async def undo(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait({task})
        ended.append("yes")

    with anyio.move_on_after(0.01) as scope:
        await make_or_undo(asyncio.sleep(600), undo)
    assert scope.cancelled_caught
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(make_or_undo(asyncio.sleep(600), undo), 0.01)
    assert ended == ["yes", "yes"]


@pytest.mark.anyio
async def test_a_maker_that_is_cancelled_before_it_begins() -> None:
    """A program may cancel every task but its own."""
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(make_or_undo(asyncio.sleep(0), never))
    await asyncio.sleep(0)
    (maker,) = asyncio.all_tasks() - before - {waiting}
    maker.cancel()
    ended, _ = await asyncio.wait({waiting}, timeout=60)
    assert ended
    assert waiting.cancelled()


@pytest.mark.anyio
async def test_thousands_one_after_the_other() -> None:
    """The waiter's next step is within its maker's last one, but no deeper."""
    depths: set[int] = set()
    for number in range(1000):
        assert await make_or_undo(asyncio.sleep(0, number), never) == number
        depths.add(sum(1 for _ in traceback.walk_stack(None)))
    assert max(depths) - min(depths) < 20


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_is_the_waiters(error: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    async def wait() -> None:
        await make_or_undo(asyncio.sleep(0.001), never)
        raise error

    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(wait())
        with pytest.raises(error):
            loop.run_until_complete(task)
        assert isinstance(task.exception(), error)
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
    del task
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


if sys.version_info >= (3, 12):  # tasks that begin at once are new in it

    def test_a_result_that_is_there_at_once() -> None:
        async def make() -> int:
            return 1

        async def main() -> None:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            assert await make_or_undo(make(), never) == 1
            assert await make_or_undo(asyncio.sleep(0, 2), never) == 2

        asyncio.run(main())


@pytest.mark.anyio
async def test_nothing_is_left_for_the_garbage_collector() -> None:
    async def make() -> int:
        await asyncio.sleep(0)
        return 1

    async def wait() -> int:
        return await make_or_undo(make(), never)

    await asyncio.gather(*(wait() for _ in range(3)))
    gc.collect()
    before = gc.get_debug()
    gc.disable()
    try:
        await asyncio.gather(*(wait() for _ in range(3)))
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [type(each).__name__ for each in gc.garbage if "andover" in type(each).__name__]
    finally:
        gc.set_debug(before)
        gc.garbage.clear()
        gc.enable()
    assert left == []
