"""The limiter of the whole client, on a server that refuses what is too much."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import anyio
import pytest

from arker import ApiError, AsyncArker, Hooks, HttpTimeouts, RateLimitedError, RetryEvent
from arker._transport import window
from arker._transport.limiter import Limiter
from arker._transport.window import INITIAL, Window
from tests.support.clients import make_client
from tests.support.samples import completed
from tests.support.server import Recorded, Reply, ScriptedServer, error, ok
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.anyio


class Busy:
    """A server that serves so many requests at once and refuses the others."""

    def __init__(self, capacity: int, *, seconds: float = 0.02, retry_after: str | None = None) -> None:
        self.capacity = capacity
        self.seconds = seconds
        self.refusal = (
            error("whatever", status=429, Retry_After=retry_after) if retry_after else error("whatever", status=429)
        )
        self.in_work = 0
        self.refused = 0
        self.served: list[str] = []

    async def __call__(self, request: Recorded) -> Reply:
        if self.in_work >= self.capacity:
            self.refused += 1
            return self.refusal
        self.in_work += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.in_work -= 1
        self.served.append(request.path)
        if request.method == "DELETE":
            return ok({"deleted": True})
        if request.path.endswith("/fork") or request.method == "GET":
            return ok({"vm_id": f"vm-{len(self.served)}"})
        return ok(completed())


async def test_five_hundred_vms_on_a_server_that_takes_fifty_requests(server: ScriptedServer) -> None:
    async def use(client: AsyncArker) -> None:
        # Without a block: its end has a bound in time, which is not what this is about.
        vm = await client.fork("ubuntu")
        await vm.run("true")
        await vm.delete()

    async def are_few_refused() -> bool:
        busy = Busy(50, seconds=0.08)
        server.answer(busy)
        started = time.monotonic()
        async with make_client(server) as client:
            with anyio.fail_after(120):
                await asyncio.gather(*(use(client) for _ in range(500)))
        assert len(busy.served) == 1500
        # The window is tried out now and then, so more often the longer it takes; at best it is 2.4 seconds.
        late = max(0.0, time.monotonic() - started - 4)
        return busy.refused < 0.05 * (1500 + busy.refused) + 10 * late

    # A server that gets no processor refuses late, and is taken for one that takes more: on a busy machine that happens
    # now and then. The simulations of the window have clocks of their own, and no second try.
    assert await are_few_refused() or await are_few_refused() or await are_few_refused()


async def test_a_refusal_after_which_the_window_opens_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "PATIENCE", 600.0)
    limiter = Limiter(Window(8, size=2))
    assert limiter.try_enter(False)
    assert limiter.try_enter(False)
    limiter.refused(False, retry_after=None)
    waiting = [asyncio.ensure_future(limiter.enter(False, limiter.number())) for _ in range(2)]
    await asyncio.sleep(0.02)  # their timer is set: for when the server may take two again
    limiter.refused(False, retry_after=None)
    with anyio.fail_after(PATIENCE):
        for each in waiting:
            await each
            limiter.answered(False)
    assert limiter.in_flight == limiter.queued == 0


async def test_two_requests_at_once_are_too_much(server: ScriptedServer) -> None:
    busy = Busy(1, seconds=0.002)
    server.answer(busy)
    async with make_client(server) as client:
        with anyio.fail_after(30):
            await asyncio.gather(*(client.get_vm("v") for _ in range(30)))
    assert len(busy.served) == 30


async def test_retry_after_holds_back_the_others_too(server: ScriptedServer) -> None:
    moments: list[float] = []

    def answer(request: Recorded) -> Reply:
        moments.append(asyncio.get_running_loop().time())
        return error("whatever", status=429, Retry_After="0.4") if len(moments) == 1 else ok({"vm_id": "v"})

    server.answer(answer)
    retries: list[RetryEvent] = []
    async with make_client(server, hooks=Hooks(on_retry=retries.append)) as client:
        first = asyncio.create_task(client.get_vm("first"))
        await until(lambda: retries)
        await asyncio.gather(first, *(client.get_vm(f"v{number}") for number in range(5)))
    assert len(moments) == 7
    assert moments[1] - moments[0] >= 0.39


async def test_retry_after_holds_back_no_deletion(server: ScriptedServer) -> None:
    def answer(request: Recorded) -> Reply:
        if request.method == "DELETE":
            return ok({"deleted": True})
        return error("rate_limited", status=429, Retry_After="60")

    server.answer(answer)
    async with make_client(server, retry=False) as client:
        with pytest.raises(RateLimitedError):
            await client.get_vm("v")
        held = [asyncio.ensure_future(client.get_vm("v")) for _ in range(3)]
        await until(lambda: client._transport.limiter.queued == len(held))  # pyright: ignore[reportPrivateUsage]
        async with client.vm("v"):
            pass
        assert [request.method for request in server.requests] == ["GET", "DELETE"]
        for each in held:
            each.cancel()
        await asyncio.wait(held)


async def test_deletions_that_a_server_refuses_in_that_time_close_the_window_no_further(server: ScriptedServer) -> None:
    server.answer(lambda _: error("rate_limited", status=429, Retry_After="60"))
    async with make_client(server, retry=False) as client:
        window = client._transport.limiter.window  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(RateLimitedError):
            await client.get_vm("v")
        before = window.places, window.spacing
        for _ in range(3):
            with pytest.raises(RateLimitedError):
                await client.vm("v").delete()
        assert len(server.requests) == 4
        assert (window.places, window.spacing) == before


@pytest.mark.parametrize(
    ("refusal", "counts"),
    [
        (error("internal", "throttled by the host", status=500), True),
        (error("resource_pressure", "no room", status=503), True),
        (Reply(status=429, body=b"<html>Too Many Requests</html>"), True),
        (Reply(status=403, body=b"<html>SlowDown: overloaded, over capacity, 503, too many: throttled</html>"), False),
        (Reply(status=502, body=b"ThrottlingException"), False),
        (Reply(status=400, body=b'{"error": "rate_limited"}'), False),
        (Reply(status=502, body=b'{"errors": [{"code": "resource_pressure", "detail": "at capacity"}]}'), False),
    ],
)
async def test_the_words_of_a_proxy_do_not_close_the_window(
    server: ScriptedServer, refusal: Reply, counts: bool
) -> None:
    server.answer(lambda _: refusal)
    async with make_client(server, retry=False) as client:
        window = client._transport.limiter.window  # pyright: ignore[reportPrivateUsage]
        before = window.places
        with pytest.raises(ApiError):
            await client.get_vm("v")
        assert (window.places < before) is counts


async def test_deletions_come_one_after_another_where_the_server_takes_one_at_a_time() -> None:
    limiter = Limiter(Window(1))
    assert limiter.try_enter(False)
    limiter.refused(False, retry_after=60.0)
    assert limiter.window.opens_to_deletions_at > 0
    held = [asyncio.ensure_future(limiter.enter(False, limiter.number())) for _ in range(2)]
    given_up, *deletions = [asyncio.ensure_future(limiter.enter(False, limiter.number(), True)) for _ in range(3)]
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    for each in deletions:
        with anyio.fail_after(PATIENCE):
            await each
        assert limiter.in_flight == 1
        assert not limiter.try_enter(False, True)
        limiter.answered(False)
    assert limiter.queued == len(held)
    assert not limiter.try_enter(False)
    for each in held:
        each.cancel()
    await asyncio.wait(held)
    assert (limiter.in_flight, limiter.queued) == (0, 0)


async def test_a_pause_that_is_too_long_holds_back_nobody_else(server: ScriptedServer) -> None:
    server.script(error("whatever", status=429, Retry_After="3600"), ok({"vm_id": "v"}))
    async with make_client(server) as client:
        with pytest.raises(RateLimitedError):
            await client.get_vm("v")
        with anyio.fail_after(PATIENCE):
            await client.get_vm("v")


async def test_first_come_first_served(server: ScriptedServer) -> None:
    busy = Busy(4, seconds=0.005)
    server.answer(busy)
    async with make_client(server, max_connections=4) as client:
        tasks: list[asyncio.Task[object]] = []
        for number in range(60):
            tasks.append(asyncio.create_task(client.get_vm(f"v{number:02}")))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
    order = [int(path.rpartition("/v")[2]) for path in busy.served]
    assert all(abs(place - number) < 8 for place, number in enumerate(order)), order


async def test_commands_that_take_long_do_not_hold_up_what_is_quick(server: ScriptedServer) -> None:
    over = threading.Event()

    async def answer(request: Recorded) -> Reply:
        if request.method == "POST":
            while not over.is_set():
                await asyncio.sleep(0.005)
            return ok(completed())
        return ok({"deleted": True})

    server.answer(answer)
    async with make_client(server, max_connections=10) as client:
        runs = [asyncio.create_task(client.vm("v").run("sleep")) for _ in range(30)]
        await until(lambda: len(server.requests) >= 9)  # one place is kept from them
        with anyio.fail_after(PATIENCE):
            await client.vm("v").delete()
        assert not any(run.done() for run in runs)
        over.set()
        await asyncio.gather(*runs)


async def test_hundreds_of_long_commands_are_sent_at_once(server: ScriptedServer) -> None:
    # The server refuses nothing, so no request waits for another's command to end: none ends before all have begun.
    begun, all_begun = 0, asyncio.Event()

    async def answer(request: Recorded) -> Reply:
        nonlocal begun
        begun += 1
        if begun == 4 * INITIAL:
            all_begun.set()
        await all_begun.wait()
        return ok(completed())

    server.answer(answer)
    # A busy machine takes long for so many, and no question is to be counted as one of them.
    async with make_client(server, timeout=HttpTimeouts(silence=None)) as client:
        with anyio.fail_after(120):
            await asyncio.gather(*(client.vm("v").run("true") for _ in range(4 * INITIAL)))
    assert server.peak == 4 * INITIAL


async def test_a_place_is_given_back_whatever_happens(server: ScriptedServer) -> None:
    over = threading.Event()

    async def answer(_: Recorded) -> Reply:
        await until(over.is_set)
        return ok({"vm_id": "v"})

    server.answer(answer)
    async with make_client(server, max_connections=2) as client:
        limiter = client._transport.limiter  # pyright: ignore[reportPrivateUsage]
        tasks = [asyncio.create_task(client.get_vm("v")) for _ in range(40)]
        await until(lambda: len(server.requests) == 2)
        assert (limiter.in_flight, limiter.queued) == (2, 38)
        for task in tasks[::2]:
            task.cancel()
        over.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (limiter.in_flight, limiter.queued) == (0, 0)
        await client.get_vm("v")


async def test_one_limiter_for_the_loops_of_all_threads(server: ScriptedServer) -> None:
    busy = Busy(5, seconds=0.005)
    server.answer(busy)
    client = make_client(server, max_connections=5)

    async def many() -> None:
        await asyncio.gather(*(client.get_vm("v") for _ in range(100)))

    with in_threads(4, lambda: asyncio.run(many())) as threads:
        for thread in threads:
            await asyncio.to_thread(thread.join, 60)
    assert len(busy.served) == 400
    assert busy.refused == 0
    assert server.peak <= 5
    await client.aclose()


@contextmanager
def in_threads(count: int, work: object) -> Generator[list[threading.Thread]]:
    assert callable(work)
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield threads
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)


async def test_a_loop_that_ends_with_waiters_leaves_nothing() -> None:
    limiter = Limiter(Window(1))
    assert limiter.try_enter(False)

    async def wait() -> None:
        tasks = [asyncio.create_task(limiter.enter(False, limiter.number())) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert limiter.queued == len(tasks)
        # The loop ends here, and cancels them.

    await asyncio.to_thread(asyncio.run, wait())
    assert limiter.queued == 0
    limiter.leave(False)
    assert limiter.in_flight == 0


async def test_who_was_refused_comes_before_those_that_came_later() -> None:
    limiter = Limiter(Window(1))
    order: list[int] = []

    async def go(number: int) -> None:
        await limiter.enter(False, number)
        order.append(number)
        await asyncio.sleep(0)
        limiter.leave(False)

    assert limiter.try_enter(False)
    tasks = [asyncio.create_task(go(number)) for number in (5, 6, 7, 2, 6, 1)]
    await asyncio.sleep(0.01)
    limiter.leave(False)
    await asyncio.gather(*tasks)
    assert order == [1, 2, 5, 6, 6, 7]


@pytest.mark.parametrize("ceiling", [1, 2, 88])
async def test_after_a_refusal_nobody_is_forgotten(ceiling: int) -> None:
    limiter = Limiter(Window(ceiling))

    async def go(seconds: float, refusals: int) -> None:
        number = limiter.number()
        while True:
            if not limiter.try_enter(False):
                await limiter.enter(False, number)
            await asyncio.sleep(seconds)
            if not refusals:
                return limiter.answered(False)
            refusals -= 1
            limiter.refused(False, retry_after=None)

    with anyio.fail_after(30):
        # The second takes longer than the pause between requests, which the first has brought about.
        await asyncio.gather(go(0.01, 1), go(0.1, 0), *(go(0.01, 0) for _ in range(4)))
    assert (limiter.in_flight, limiter.queued) == (0, 0)
