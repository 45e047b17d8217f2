"""Work in threads, where the user may have no more of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arker import AsyncArker
from arker._tasks.threads import in_thread
from arker.emulator import Emulator
from arker.errors import EmulatorError
from tests.support.server import ScriptedServer, ok

pytestmark = pytest.mark.anyio


@contextmanager
def none_left() -> Generator[None, None, None]:
    """Have no thread started, as where a container has as many as it may."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        yield


def fail() -> int:
    raise LookupError("the work's own")


async def test_work_is_done_once_although_it_waits_for_a_thread() -> None:
    busy, done = threading.Event(), list[int]()

    def work() -> int:
        done.append(1)
        return len(done)

    running = asyncio.ensure_future(in_thread(busy.wait))
    await asyncio.sleep(0)
    with none_left():
        assert await in_thread(work) == 1
        with pytest.raises(LookupError, match="own"):
            await in_thread(fail)
    busy.set()
    await running
    await in_thread(int)  # the thread takes it after what came before
    assert done == [1]


async def test_the_first_work_of_all_is_done_without_any_thread() -> None:
    with none_left():
        assert await in_thread(str, 7) == "7"


@pytest.mark.parametrize("fails", [False, True])
async def test_work_that_another_thread_has_taken_is_waited_for(fails: bool) -> None:
    """It may take it at the very moment at which the error is raised."""
    loop = asyncio.get_running_loop()
    run, queued, done = loop.run_in_executor, list[asyncio.Future[object]](), list[int]()

    def work() -> int:
        done.append(1)
        return len(done) if not fails else fail()

    def queue_and_fail(executor: None, function: Callable[[], object]) -> None:
        queued.append(run(executor, function))
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "run_in_executor", queue_and_fail)
        (found,) = await asyncio.gather(in_thread(work), return_exceptions=True)
    await asyncio.wait(queued)
    assert done == [1]
    assert isinstance(found, LookupError) if fails else found == 1


async def test_an_address_is_looked_up_without_a_thread(server: ScriptedServer) -> None:
    server.answer(lambda _: ok({"vm_id": "v"}))
    url = server.url.replace("127.0.0.1", "localhost")
    with none_left():
        async with AsyncArker("key", base_url=url, retry=False) as client:
            vm = await client.fork("ubuntu")
    assert vm.id == "v"
    assert len(server.requests) == 1


def test_a_backend_that_could_not_be_launched_leaves_nothing_and_can_be_launched_again(tmp_path: Path) -> None:
    emulator = Emulator(isolation="none", state_parent=tmp_path)
    with none_left(), pytest.raises(EmulatorError, match="can't start new thread"):
        emulator.launch()
    assert emulator.pid is None
    assert list(tmp_path.iterdir()) == []
    with emulator:
        assert emulator.pid is not None
