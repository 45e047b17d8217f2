"""Programs that are interrupted or terminated: their context managers delete their VMs, and they end as they should."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import subprocess
import warnings
from typing import Any

import anyio
import pytest

from arker import AsyncArker, Hooks, RequestEvent
from arker._transport.http import sockets
from arker.emulator import Emulator
from tests.support.forked import start
from tests.support.length import cases
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

PROGRAM = """
import asyncio, contextlib, json, signal, sys
from arker import AsyncArker, Hooks, RequestEvent

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background inherit it as ignored
options = json.loads(sys.argv[1])
kind = sys.argv[2]

async def use(ar):
    async with await ar.fork("ubuntu") as vm:
        await vm.run("true")
        await asyncio.sleep(600)

async def main():
    if kind == "own handler":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    async with contextlib.AsyncExitStack() as stack:
        ar = await stack.enter_async_context(AsyncArker(**options))
        if kind == "nested":
            await stack.enter_async_context(AsyncArker(**options))
        vms = [await stack.enter_async_context(await ar.fork("ubuntu")) for _ in range(2)]
        tasks = [asyncio.create_task(use(ar)) for _ in range(3)]
        stack.push_async_callback(end, tasks)
        if kind == "running":
            tasks.append(asyncio.create_task(vms[0].run("sleep 600")))
        while len(await ar.list_vms()) < 5:
            await asyncio.sleep(0.01)
        print("ready", flush=True)
        if kind == "busy":
            import time
            time.sleep(0.5)
        await asyncio.gather(*tasks)

async def end(tasks):
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

if kind == "thread":
    import threading
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    thread.join()
else:
    asyncio.run(main())
"""


async def end_by(number: signal.Signals, kind: str, emulator: Emulator) -> int:
    """Return a program's exit status after a signal."""
    options = json.dumps(emulator.client_options)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    program = start("code", PROGRAM, options, kind, env={"ARKER_LEDGER": "off"}, **streams)
    try:
        assert program.stdout is not None
        assert await asyncio.to_thread(program.stdout.readline) == b"ready\n"
        program.send_signal(number)
        with anyio.fail_after(PATIENCE):
            return await asyncio.to_thread(program.wait)
    finally:
        program.kill()
        await asyncio.to_thread(program.communicate)


@pytest.mark.parametrize("kind", ["plain", "nested", "running", "busy"])
async def test_a_terminated_program_deletes_its_vms(emulator: Emulator, ar: AsyncArker, kind: str) -> None:
    assert await end_by(signal.SIGTERM, kind, emulator) == 128 + signal.SIGTERM
    assert not await ar.list_vms()


@pytest.mark.parametrize("kind", cases(["plain", "running"], rest=["nested", "busy"]))
async def test_an_interrupted_program_deletes_its_vms(emulator: Emulator, ar: AsyncArker, kind: str) -> None:
    assert await end_by(signal.SIGINT, kind, emulator) in (1, 130, -signal.SIGINT)
    assert not await ar.list_vms()


async def test_a_program_that_handles_the_signal_itself_is_left_alone(emulator: Emulator, ar: AsyncArker) -> None:
    assert await end_by(signal.SIGTERM, "own handler", emulator) == 1
    assert not await ar.list_vms()


async def test_where_there_is_no_main_thread_to_heed_it_the_signal_does_what_it_always_does(
    emulator: Emulator, ar: AsyncArker
) -> None:
    assert await end_by(signal.SIGTERM, "thread", emulator) == -signal.SIGTERM
    for vm in await ar.list_vms():
        await ar.vm(vm.vm_id).delete()


async def test_the_signal_is_handled_only_while_a_block_lasts(emulator: Emulator) -> None:
    before = signal.getsignal(signal.SIGTERM)
    async with AsyncArker(**emulator.client_options), AsyncArker(**emulator.client_options):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is before


LEFT = """
import asyncio, json, os, signal, sys
from arker import AsyncArker, Hooks, RequestEvent

async def enter():
    return await AsyncArker(**json.loads(sys.argv[1])).__aenter__()

async def main():
    ar = await asyncio.create_task(enter())
    await ar.list_vms()
    if sys.argv[2] == "task":
        end()

def end():
    os.kill(os.getpid(), signal.SIGTERM)
    print("it goes on", flush=True)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
if sys.argv[2] == "waiting":  # the task that enters the block still waits when its loop is closed
    entered = asyncio.Event()
    async def wait():
        async with AsyncArker(**json.loads(sys.argv[1])):
            entered.set()
            await asyncio.sleep(600)
    waiting = loop.create_task(wait())
    loop.run_until_complete(entered.wait())
if sys.argv[2] != "task":
    loop.close()
    end()
"""


@pytest.mark.parametrize("kind", ["task", "loop", "waiting"])
async def test_a_block_whose_task_has_ended_does_not_keep_the_process(emulator: Emulator, kind: str) -> None:
    options = json.dumps(emulator.client_options)
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    program = start("code", LEFT, options, kind, env={"ARKER_LEDGER": "off"}, **streams)
    output, _ = await asyncio.to_thread(program.communicate, timeout=PATIENCE)
    assert (program.returncode, output) == (-signal.SIGTERM, b"")


@pytest.mark.parametrize("operation", ["fork", "vm.create_session", "vm.create_tunnel", "vm.run", "vm.delete"])
def test_a_hook_that_ends_the_program_leaves_no_vm(emulator: Emulator, operation: str) -> None:
    """The reply that it is told of is that of a task which the program's own one waits for, or of that one itself."""
    told: list[str] = []

    def end(event: RequestEvent) -> None:
        told.append(event.operation)
        if event.operation == operation and told.count(operation) == 1:
            raise SystemExit(f"enough of {operation}")

    async def use() -> None:
        async with (
            AsyncArker(**emulator.client_options, hooks=Hooks(on_request=end)) as ar,
            await ar.fork("ubuntu") as vm,
            vm.open_session() as session,
            vm.tunnel(8080),
        ):
            await session.run("true")

    async def left() -> list[str]:
        async with AsyncArker(**emulator.client_options) as ar:
            return [vm.id async for vm in ar.iter_vms()]

    with pytest.raises(SystemExit, match=f"enough of {operation}"):
        asyncio.run(use())
    assert asyncio.run(left()) == []
    assert told[-1] == "vm.delete"


@pytest.mark.parametrize("fleet", [False, True])
@pytest.mark.parametrize("operation", ["fork", "vm.run"])
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_hook_that_ends_the_program_again_and_again_leaves_no_vm(
    emulator: Emulator, operation: str, fleet: bool, kind: type[BaseException]
) -> None:
    """It raises for each of many replies that come at once, and amid the clean-up by each request of that, too."""
    over: list[bool] = []

    def end(event: RequestEvent) -> None:
        if over or event.operation == operation:
            over.append(True)
            raise kind

    async def use() -> None:
        async with AsyncArker(**emulator.client_options, hooks=Hooks(on_request=end)) as ar:

            async def one() -> None:
                async with await ar.fork("ubuntu") as vm:
                    await vm.run("true")

            if not fleet:
                await asyncio.gather(*(one() for _ in range(4)))
            async with ar.fork_many("ubuntu", 4) as vms:
                await vms.run("true")

    async def left() -> list[str]:
        async with AsyncArker(**emulator.client_options) as ar:
            return [vm.id async for vm in ar.iter_vms()]

    with pytest.raises(kind):
        asyncio.run(use())
    assert asyncio.run(left()) == []


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("what", ["vm", "fleet", "fork"])
def test_the_end_of_the_loop_cancels_no_removal(emulator: Emulator, what: str, turns: int) -> None:
    """`asyncio.run` cancels every task, and so those that remove what others wait for, at any of their steps."""

    async def use() -> None:
        ar = AsyncArker(**emulator.client_options)
        ends = asyncio.Event()

        async def block() -> None:
            if what == "vm":
                async with ar.fork("ubuntu"):
                    begun.set()
                    await ends.wait()
            elif what == "fleet":
                async with ar.fork_many("ubuntu", 2):
                    begun.set()
                    await ends.wait()
            else:
                begun.set()
                await ends.wait()
                await ar.fork("ubuntu")

        begun = asyncio.Event()
        task = asyncio.create_task(block())
        await begun.wait()
        ends.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not task.done()

    async def left() -> list[str]:
        async with AsyncArker(**emulator.client_options) as ar:
            return [vm.id async for vm in ar.iter_vms()]

    asyncio.run(use())
    assert asyncio.run(left()) == []


@pytest.mark.needs("terminals")
def test_the_end_of_the_loop_closes_terminals(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their connections are being closed, because everything is cancelled, when their blocks end them as well."""
    monkeypatch.setattr(sockets, "_TURNS", 2_000)  # closing them takes longer than what their blocks do before

    async def use() -> None:
        ar = AsyncArker(**emulator.client_options)
        opened = asyncio.Event()

        async def block() -> None:
            async with ar.fork("ubuntu") as vm, vm.terminal():
                opened.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        await opened.wait()
        assert not task.done()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(use(), debug=True)  # else aiohttp says it only when it is collected in a certain order
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
