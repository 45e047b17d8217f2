"""What calls leave behind: nothing that only the garbage collector would remove.

A circle of references keeps what it holds in memory until a collection finds it, and each object of it makes every
collection take longer, of hundreds of VMs at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from arker import AsyncArker, AsyncVM, DeadlineExceededError, NotFoundError
from arker.emulator import Emulator
from tests.support.garbage import assert_leaves_nothing

pytestmark = pytest.mark.anyio

Use = Callable[[AsyncArker, AsyncVM], Awaitable[object]]

_LARGE: Final = bytes(9 * 1024 * 1024)


async def fork(ar: AsyncArker, _: AsyncVM) -> None:
    await (await ar.fork("ubuntu")).delete()


async def fork_a_vm(_: AsyncArker, vm: AsyncVM) -> None:
    await (await vm.fork()).delete()


async def run(_: AsyncArker, vm: AsyncVM) -> None:
    assert (await vm.run("echo $A", env={"A": "hi"}, on_cancel="kill")).stdout == b"hi\n"


async def start(_: AsyncArker, vm: AsyncVM) -> None:
    await (await vm.start("true")).wait()


async def write(_: AsyncArker, vm: AsyncVM) -> None:
    await vm.sync("small", b"hello")
    await vm.sync("large", _LARGE[: 1024 * 1024])
    assert await vm.sync("small") == b"hello"


async def upload(_: AsyncArker, vm: AsyncVM) -> None:
    await vm.upload(_LARGE, "large", strategy="put")
    await vm.upload(_LARGE, "large", strategy="parts")


async def terminal(_: AsyncArker, vm: AsyncVM) -> None:
    async with vm.terminal() as terminal:
        await terminal.write(b"exit\n")
        async for _output in terminal:
            pass


async def fleet(ar: AsyncArker, _: AsyncVM) -> None:
    async with ar.fork_many("ubuntu", 2) as vms:
        assert [outcome.ok async for outcome in vms.map(AsyncVM.run, ["true", "true"])] == [True, True]


async def not_found(ar: AsyncArker, _: AsyncVM) -> None:
    try:  # not by pytest's function, which keeps the error for a while
        await ar.get_vm("there-is-none")
    except NotFoundError:
        return
    pytest.fail("it was found")


async def fork_in_vain(ar: AsyncArker, _: AsyncVM) -> None:
    try:
        await ar.fork("there-is-none")
    except NotFoundError:
        return
    pytest.fail("it was forked")


async def late(_: AsyncArker, vm: AsyncVM) -> None:
    try:
        await vm.run("sleep 60", deadline=0.1, on_cancel="kill")
    except DeadlineExceededError:
        return
    pytest.fail("it was in time")


@pytest.mark.parametrize(
    "use", [fork, fork_a_vm, fork_in_vain, run, start, write, upload, terminal, fleet, not_found, late]
)
async def test_nothing_is_left_to_the_garbage_collector(
    ar: AsyncArker, vm: AsyncVM, use: Use, caplog: pytest.LogCaptureFixture
) -> None:
    await assert_leaves_nothing(lambda: use(ar, vm), caplog)


@pytest.mark.parametrize("deadline", [None, 600.0])
async def test_nothing_is_left_after_a_second_attempt(
    ar: AsyncArker, vm: AsyncVM, emulator: Emulator, deadline: float | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def run_again() -> None:
        emulator.faults.error(operation="run", status=503, code="unavailable", retry_after=0.01)
        assert (await vm.run("echo hi", deadline=deadline)).stdout == b"hi\n"

    await assert_leaves_nothing(run_again, caplog)
