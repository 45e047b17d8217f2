"""The bound on the silence of a connection: what counts as silence, and what does not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import Any, TypeAlias

import freezegun
import pytest

from arker import AsyncArker, HttpTimeouts, NetworkTimeoutError
from tests.support.secrets import API_KEY
from tests.support.server import ServerThread
from tests.support.waiting import longer_and_longer, until

pytestmark = pytest.mark.anyio


def _vm(size: int) -> tuple[bytes, bytes]:
    """Return the head of a reply, and its body with a description of some size."""
    body = b'{"vm_id": "v", "name": "a", "description": "' + b"x" * size + b'"}'
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body), body


_HEAD, _VM = _vm(60)

_Answer: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


class _Server:
    """A server in a thread of its own, which answers as it is told."""

    def __init__(self) -> None:
        self.requests = 0
        self.answer: _Answer
        self._serving: set[asyncio.Task[None] | None] = set()
        self.thread = ServerThread()
        self._server = self.thread.call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._serving.add(asyncio.current_task())
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                await self.answer(writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            self._serving.discard(asyncio.current_task())
            writer.close()

    async def _close(self) -> None:
        self._server.close()
        serving = [task for task in self._serving if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    def close(self) -> None:
        self.thread.call(self._close())
        self.thread.stop()


@pytest.fixture
async def server() -> AsyncIterator[_Server]:
    made = _Server()
    yield made
    made.close()


def _client(server: _Server, timeouts: HttpTimeouts) -> AsyncArker:
    return AsyncArker(API_KEY, base_url=f"http://127.0.0.1:{server.port}", retry=False, timeout=timeouts)


async def test_an_answer_that_arrived_while_the_loop_stood_still(server: _Server) -> None:
    """The program was not reading meanwhile, so that it was no silence; it reads such a reply in several steps."""
    blocked, sent = threading.Event(), threading.Event()
    head, body = _vm(700_000)

    async def answer(writer: asyncio.StreamWriter) -> None:
        while not blocked.is_set():
            await asyncio.sleep(0.001)
        writer.write(head + body)
        await writer.drain()
        sent.set()

    server.answer = answer
    idle = 0.5
    async with _client(server, HttpTimeouts(idle=idle)) as client:
        asking = asyncio.create_task(client.get_vm("v"))
        began = time.monotonic()
        while not server.requests and time.monotonic() < began + idle:
            await asyncio.sleep(0.001)
        blocked.set()
        assert sent.wait(20)
        time.sleep(max(0.0, began + idle * 1.5 - time.monotonic()))  # noqa: ASYNC251 - it is the fault
        assert (await asking).id == "v"


async def _waits_for(server: _Server, pieces: Sequence[bytes]) -> None:
    """Show that a reply is waited for that comes in pieces, each of them well within the bound."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            await asyncio.sleep(idle / 4)
            writer.write(piece)
            await writer.drain()

    server.answer = answer
    for idle in longer_and_longer(0.2):
        async with _client(server, HttpTimeouts(idle=idle)) as client:
            began = time.monotonic()
            try:
                assert (await client.get_vm("v")).id == "v"
            except NetworkTimeoutError:
                continue  # the machine was too busy to go on in time
            lasted = time.monotonic() - began
        assert lasted > 2 * idle
        break


async def test_a_body_that_comes_slowly_is_waited_for(server: _Server) -> None:
    """Each piece is progress, however long all of it takes."""
    await _waits_for(server, [_HEAD, *(_VM[start : start + 8] for start in range(0, len(_VM), 8))])


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", _HEAD, _HEAD + _VM[:9]])
async def test_silence_at_any_point_ends_it(server: _Server, begun: bytes) -> None:
    over = threading.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        while not over.is_set():
            await asyncio.sleep(0.01)

    server.answer = answer
    async with _client(server, HttpTimeouts(idle=0.1)) as client:
        with pytest.raises(NetworkTimeoutError) as caught:
            await client.get_vm("v")
        assert "no progress within the idle bound" in caught.value.message
        with pytest.raises(NetworkTimeoutError) as caught:
            await client.vm("v").delete()
        assert caught.value.outcome == "unknown"
        over.set()


async def test_a_connection_that_takes_longer_is_bounded_by_its_own(server: _Server) -> None:
    """The time up to the connection is not the server's silence."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    server.answer = answer
    timeouts = HttpTimeouts(idle=0.05, connect=0.5)
    address = f"https://127.0.0.1:{server.port}"  # it does not answer to the beginning of TLS
    async with AsyncArker(API_KEY, base_url=address, retry=False, timeout=timeouts) as client:
        with pytest.raises(NetworkTimeoutError) as caught:
            await client.get_vm("v")
    assert "no connection within the connect bound" in caught.value.message
    assert caught.value.outcome == "not_started"


async def test_requests_at_once_end_each_by_itself(server: _Server) -> None:
    """One timer serves all, and those that are answered leave the others alone."""
    over = threading.Event()
    number = 0

    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        silent = number % 2
        while silent and not over.is_set():
            await asyncio.sleep(0.01)
        writer.write(_HEAD + _VM)

    server.answer = answer
    async with _client(server, HttpTimeouts(idle=1.0)) as client:
        results = await asyncio.gather(*(client.get_vm("v") for _ in range(20)), return_exceptions=True)
        over.set()
    silent = [result for result in results if isinstance(result, NetworkTimeoutError)]
    assert len(silent) >= 10  # more where the machine was too busy
    assert not [result for result in results if isinstance(result, BaseException) and result not in silent]


@pytest.mark.parametrize("begun", [b"", b'{"vm_id": "v", "na', b'{"vm_id": "v", "name": "a"}'])
async def test_a_reply_that_ends_with_its_connection_is_not_ended_by_silence(server: _Server, begun: bytes) -> None:
    """What has come of it may look like a whole reply, such as that to a deletion."""
    over = threading.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + begun)
        while not over.is_set():
            await asyncio.sleep(0.01)

    server.answer = answer
    async with _client(server, HttpTimeouts(idle=0.1)) as client:
        with pytest.raises(NetworkTimeoutError) as caught:
            await client.vm("v").delete()
        assert caught.value.outcome == "unknown"
        over.set()


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\n", *(b"X-%d: 1\r\n" % number for number in range(12)), _HEAD.partition(b"\n")[2] + _VM],
        [*(b"HTTP/1.1 102 Processing\r\n\r\n" for _ in range(12)), _HEAD + _VM],
    ],
    ids=["lines", "interim"],
)
async def test_a_head_that_comes_slowly_is_waited_for(server: _Server, pieces: list[bytes]) -> None:
    """Each piece of the head is progress as well."""
    await _waits_for(server, pieces)


async def test_silence_after_the_time_was_frozen(server: _Server) -> None:
    """A timer that was set meanwhile would never ring, and serve all later requests."""
    over = threading.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        while server.requests > 1 and not over.is_set():
            await asyncio.sleep(0.01)
        writer.write(_HEAD + _VM)

    server.answer = answer
    async with _client(server, HttpTimeouts(idle=0.1)) as client:
        with freezegun.freeze_time("2031-01-01"):
            await client.get_vm("v")
        with pytest.raises(NetworkTimeoutError):
            await client.get_vm("v", deadline=60)
        over.set()


async def test_a_coroutine_that_is_discarded_elsewhere(server: _Server) -> None:
    """The task in which that happens, as by the garbage collector, may be in the midst of a request of its own."""
    over = threading.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        while not over.is_set():
            await asyncio.sleep(0.01)

    class Discarding:
        def __await__(self) -> Generator[Any, Any, object]:
            asked = client.get_vm("v").__await__()
            awaited = asked.send(None)
            while True:
                try:
                    got = yield awaited
                except BaseException as error:
                    awaited = asked.throw(error)
                else:
                    awaited = asked.send(got)
                discarded.close()

    async def discard() -> object:
        return await Discarding()

    server.answer = answer
    async with _client(server, HttpTimeouts(idle=2.0)) as client:
        discarded = client.vm("v").delete()
        first = asyncio.ensure_future(discarded)
        await until(lambda: server.requests == 1)
        with pytest.raises(NetworkTimeoutError) as caught:
            await asyncio.wait_for(discard(), 60)
        assert "no progress within the idle bound" in caught.value.message
        first.cancel()
        over.set()
