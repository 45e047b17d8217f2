"""Event loops that come and go, sessions and who closes them, connections and their bound."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import anyio
import pytest

from arker import (
    ArkerError,
    AsyncArker,
    AsyncVM,
    ConfigurationError,
    Hooks,
    InvalidArgumentError,
    NetworkError,
    RetryEvent,
    RetryPolicy,
)
from arker._transport.http.closing import finish
from tests.support.clients import COMPUTE, make_client
from tests.support.samples import completed
from tests.support.secrets import API_KEY
from tests.support.server import Drop, Reply, ScriptedServer, dropped, error, ok
from tests.support.waiting import PATIENCE, put_forward, until

OK = {"vm_id": "v"}


# --- loops -----------------------------------------------------------------------------------------------------------


def test_a_client_serves_one_loop_after_the_other(server: ScriptedServer) -> None:
    server.answer(ok(OK))
    client = make_client(server)

    async def twice() -> None:
        await client.get_vm("v")
        await client.get_vm("v")

    for _ in range(3):
        asyncio.run(twice())
    assert [request.connection for request in server.requests] == [1, 1, 2, 2, 3, 3]
    asyncio.run(client.aclose())
    with pytest.raises(ConfigurationError, match="the client is closed"):
        asyncio.run(client.get_vm("v"))


@pytest.mark.anyio
async def test_a_session_that_two_loops_close_at_once() -> None:
    """Each loop closes the sessions of all: the second one leaves the session to the first, which is not done yet."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def guard() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            begun.set()
            await go_on.wait()

    session = guard()
    await session.__anext__()
    closing = asyncio.create_task(finish(session))
    await begun.wait()
    await finish(session)
    go_on.set()
    await closing


def test_a_handle_serves_one_loop_after_the_other(server: ScriptedServer) -> None:
    server.answer(lambda request: ok(completed() if request.path.endswith("/runs") else OK))
    client = make_client(server)
    vm = asyncio.run(client.fork("ubuntu"))
    assert asyncio.run(vm.run("true")).exit_code == 0
    asyncio.run(client.aclose())


def test_loops_in_two_threads_at_once(server: ScriptedServer) -> None:
    server.answer(ok(OK, delay=0.01))
    client = make_client(server)
    barrier = threading.Barrier(2, timeout=PATIENCE)
    problems: list[BaseException] = []

    async def work() -> None:
        for _ in range(3):
            barrier.wait()
            await asyncio.gather(*(client.get_vm("v") for _ in range(5)))

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=2 * PATIENCE)
    assert not problems
    assert len(server.requests) == 30
    asyncio.run(client.aclose())


def test_closing_reaches_a_loop_in_another_thread(server: ScriptedServer) -> None:
    server.answer(ok(OK))
    client = make_client(server)
    used, done = threading.Event(), threading.Event()

    async def use() -> None:
        await client.get_vm("v")
        used.set()
        while not done.is_set():
            await asyncio.sleep(0.005)
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await client.get_vm("v")

    problems: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(use())
        except BaseException as problem:
            problems.append(problem)

    thread = threading.Thread(target=run)
    thread.start()
    assert used.wait(timeout=PATIENCE)
    asyncio.run(client.aclose())
    done.set()
    thread.join(timeout=PATIENCE)
    assert not problems


# --- the end of a client ---------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_closed_client_says_so(server: ScriptedServer) -> None:
    server.answer(ok(OK))
    client = make_client(server)
    async with client:
        vm = await client.get_vm("v")
        assert "closed" not in repr(client)
    await client.aclose()
    assert "closed" in repr(client)
    for work in (client.get_vm("v"), client.fork("ubuntu"), vm.run("true"), vm.sync("/f"), vm.sync("/f", b"")):
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await work
    with pytest.raises(ConfigurationError, match="the client is closed"):
        await client.__aenter__()
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_a_client_that_was_never_used_opens_nothing(server: ScriptedServer) -> None:
    client = make_client(server)
    await client.aclose()
    assert server.connections == 0


@pytest.mark.anyio
async def test_closing_amid_a_request(server: ScriptedServer) -> None:
    """What was on its way may have had its effect; it is neither called unsent nor sent again."""
    server.answer(ok(completed(), delay=600))
    client = make_client(server)
    task = asyncio.create_task(client.vm("v").run("true"))
    await until(lambda: server.requests)
    with anyio.fail_after(PATIENCE):
        await client.aclose()
        with pytest.raises(ArkerError) as caught:
            await task
    assert caught.value.outcome == "unknown"
    assert len(server.requests) == 1


@pytest.mark.anyio
async def test_closing_between_two_attempts(server: ScriptedServer) -> None:
    server.answer(error("unavailable", status=503))
    retries: list[RetryEvent] = []
    policy = RetryPolicy(base_delay=600, max_delay=600, jitter=0.0)
    client = make_client(server, retry=policy, hooks=Hooks(on_retry=retries.append))
    task = asyncio.create_task(client.vm("v").run("true"))
    await until(lambda: retries)
    with anyio.fail_after(PATIENCE):
        await client.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await task
    assert len(server.requests) == 1


def test_nothing_is_left_open(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answer(ok(OK))

    async def careless() -> None:
        client = make_client(server)
        await client.get_vm("v")
        server.script(dropped(Drop.AFTER_PROCESSING), ok(OK, delay=600))
        task = asyncio.create_task(client.get_vm("v", deadline=50))
        await until(lambda: len(server.requests) == 3)
        await put_forward(monkeypatch, 50)
        with pytest.raises(ArkerError):
            await task

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(careless())
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("moment", ["goes on", "ends"])
def test_a_client_that_is_forgotten(server: ScriptedServer, moment: str) -> None:
    """It is garbage together with its session, as parts of a cycle are. The session is closed nevertheless."""
    server.answer(ok(OK))

    async def forget() -> None:
        client = make_client(server)
        await client.get_vm("v")
        cycle: list[Any] = [client]
        cycle.append(cycle)

    async def careless() -> None:
        await forget()
        if moment == "goes on":
            gc.collect()
            await until(lambda: server.open_connections == 0)
        else:
            asyncio.get_running_loop().call_soon(gc.collect)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(careless())
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


SCRIPT = """
import asyncio, sys
from arker import AsyncArker
client = AsyncArker("key", base_url=sys.argv[1])
async def main():
    vm = await client.get_vm("v")
    await asyncio.gather(*(vm.refresh() for _ in range(3)))
async def tidy():
    async with AsyncArker("key", base_url=sys.argv[1]) as other:
        await other.get_vm("v")
asyncio.run(main())
asyncio.run(main())
asyncio.run(tidy())
print("done")
"""


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False)


def test_no_warning_in_a_strict_interpreter(server: ScriptedServer) -> None:
    server.answer(ok(OK))
    ended = python("-W", "error", "-X", "dev", "-c", SCRIPT, server.url)
    # On a busy machine the development mode logs slow steps of any task.
    remarks = [line for line in ended.stderr.splitlines() if not line.startswith("Executing <")]
    assert (ended.returncode, ended.stdout, remarks) == (0, "done\n", [])


BY_HAND = """
import asyncio, gc, sys
from arker import AsyncArker
client = AsyncArker("key", base_url=sys.argv[1])
def call(work):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
for _ in range(3):
    call(client.get_vm("v"))
    gc.collect()
if sys.argv[2] == "closed":
    call(client.aclose())
    gc.collect()
print("done")
"""


@pytest.mark.parametrize("end", ["closed", "not closed"])
def test_loops_that_are_closed_by_hand(server: ScriptedServer, end: str) -> None:
    """They are not shut down, as `asyncio.run` does it. Nothing is written to standard error of that."""
    server.answer(ok(OK))
    ended = python("-c", BY_HAND, server.url, end)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_importing_the_package_imports_no_http_library() -> None:
    code = "import sys, arker; arker.AsyncArker('k', region='r'); print(sorted({'aiohttp', 'yarl'} & set(sys.modules)))"
    ended = python("-c", code)
    assert (ended.stdout, ended.stderr) == ("[]\n", "")


# --- the caller's session --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_callers_session_is_used_and_not_closed(server: ScriptedServer) -> None:
    server.answer(ok(OK))
    async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as session:
        async with make_client(server, session=session) as client:
            await client.get_vm("v")
            await client.fork("ubuntu")
        assert not session.closed
        assert [request.headers.get("X-Mine") for request in server.requests] == ["yes", "yes"]
        assert server.last.headers["Authorization"] == f"Bearer {API_KEY}"
        # Retries are counted there, too.
        async with make_client(server, session=session, retry=False) as client:
            server.script(dropped(Drop.AFTER_PROCESSING))
            with pytest.raises(NetworkError):
                await client.vm("v").run("true")


@pytest.mark.anyio
async def test_a_session_that_is_closed(server: ScriptedServer) -> None:
    session = aiohttp.ClientSession()
    await session.close()
    async with make_client(server, session=session) as client:
        with pytest.raises(ConfigurationError, match="session= is closed"):
            await client.get_vm("v")
    assert not server.requests


def test_a_session_of_another_loop(server: ScriptedServer) -> None:
    server.answer(ok(OK))
    loop = asyncio.new_event_loop()

    async def make() -> tuple[aiohttp.ClientSession, AsyncArker]:
        session = aiohttp.ClientSession()
        client = make_client(server, session=session)
        await client.get_vm("v")
        return session, client

    session, client = loop.run_until_complete(make())
    with pytest.raises(ConfigurationError, match="another event loop"):
        asyncio.run(client.get_vm("v"))
    loop.run_until_complete(session.close())
    loop.close()
    assert len(server.requests) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("session", [7, "s", object()])
async def test_a_session_that_is_none(server: ScriptedServer, session: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        async with make_client(server, session=session) as client:
            await client.get_vm("v")
    assert caught.value.argument == "session"
    assert not server.requests


# --- connections -----------------------------------------------------------------------------------------------------


@pytest.mark.anyio
@pytest.mark.parametrize("limit", [1, 3])
async def test_connections_are_bounded(server: ScriptedServer, limit: int) -> None:
    server.answer(ok(OK, delay=0.01))
    async with make_client(server, max_connections=limit) as client:
        await asyncio.gather(*(client.get_vm("v") for _ in range(12)))
    assert len(server.requests) == 12
    assert server.peak <= limit
    assert server.connections <= limit


@pytest.mark.anyio
async def test_many_at_once(server: ScriptedServer, client: AsyncArker) -> None:
    server.answer(lambda request: ok({"vm_id": request.path.rpartition("/")[2]}))
    vms = await asyncio.gather(*(client.get_vm(f"vm-{number}") for number in range(200)))
    assert [vm.id for vm in vms] == [f"vm-{number}" for number in range(200)]


@pytest.mark.anyio
async def test_cookies_are_not_kept(server: ScriptedServer, vm: AsyncVM) -> None:
    server.answer(Reply(body=b'{"vm_id": "v"}', headers={"Set-Cookie": "a=b"}))
    await vm.refresh()
    await vm.refresh()
    assert "Cookie" not in server.last.headers


@pytest.mark.anyio
async def test_cancelling_a_call_leaves_the_client_usable(server: ScriptedServer, vm: AsyncVM) -> None:
    server.script(ok(completed(), delay=600))
    task = asyncio.create_task(vm.run("true"))
    await until(lambda: server.requests)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    server.script(ok(completed()))
    assert (await vm.run("true")).exit_code == 0
    assert server.last.target == f"{COMPUTE}/v1/vms/vm-1/runs"
