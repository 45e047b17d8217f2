"""HTTP through a proxy of the backend, between a client and a server that say what no library would let them say."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest

from arker.emulator.server.proxy.http_wire import Wire
from arker.emulator.server.proxy.tunnel_proxy import TunnelProxy

pytestmark = pytest.mark.anyio

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Server:
    """Takes what comes, and answers with the same bytes each time; then the connection ends."""

    def __init__(self, answer: bytes, *, says_end: bool = False) -> None:
        self.answer = answer
        self.says_end = says_end
        """Whether it ends its half of the connection first, as servers of Python's standard library do."""
        self.received: list[bytes] = []
        """What each connection got, up to the end of a request that has no body or one in chunks."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            if b"\r\nTransfer-Encoding: chunked\r\n" in request:
                request += await reader.readuntil(b"0\r\n\r\n")
            self.received.append(request)
            writer.write(self.answer)
            await writer.drain()
            if self.says_end:
                writer.write_eof()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def through(server: Server) -> AsyncGenerator[int]:
    """Return the port of a tunnel to the server."""
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0, limit=256 * 1024)
    address = listener.sockets[0].getsockname()

    async def connect() -> socket.socket:
        connection = socket.socket()
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, address)
        return connection

    proxy = TunnelProxy(connect, token=None)
    await proxy.start()
    try:
        yield int(proxy.url.rpartition(":")[2])
    finally:
        proxy.close()
        listener.close()
        await listener.wait_closed()


async def say(port: int, *pieces: bytes, end: bool = True) -> bytes:
    """Return what comes of these bytes, each piece sent by itself, up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        if end:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(), 30)
    except OSError:  # a connection that was reset meanwhile cannot be ended either: ENOTCONN
        return b""
    finally:
        writer.close()


def single(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", answer)]


def whole(data: bytes) -> list[bytes]:
    return [data]


CUTS = pytest.mark.parametrize("cut", [whole, single])


@CUTS
async def test_requests_are_written_anew(cut: Callable[[bytes], list[bytes]]) -> None:
    server = Server(b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX-Own: \xe9\r\n\r\nok")
    request = b"POST /a HTTP/1.1\r\nhost:x\r\nTransfer-Encoding:  Chunked \r\nX-Own:\t1 \r\n\r\n"
    request += b"3;name=value\r\nabc\r\n00a \r\nGET /\r\n\r\nX\r\n0;last\r\nX-Trailer: 1\r\nY:\r\n\r\n"
    async with through(server) as port:
        answer = await say(port, *cut(request + GET))
    assert statuses(answer) == [200, 200]
    assert answer.count(b"X-Own: \xe9\r\n") == 2
    first, second = server.received
    head, _, body = first.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"POST /a HTTP/1.1",
        b"host: x",
        b"X-Own: 1",
        b"Transfer-Encoding: chunked",
        b"Connection: close",
    ]
    if cut is not single:
        assert body == b"3\r\nabc\r\na\r\nGET /\r\n\r\nX\r\n0\r\n\r\n"
    assert second.startswith(b"GET / HTTP/1.1\r\n")


@CUTS
@pytest.mark.parametrize(
    "body",
    [
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3;\nabc\r\n0\r\n\r\n",
        b"3;\rx\r\nabc\r\n0\r\n\r\n",
        b"3;\x01\r\nabc\r\n0\r\n\r\n",
        b"3;\x7f\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n3;\r\r\nabc\r\n0\r\n\r\n",
        b"0000000000000003\r\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\r\n0000000000000000\r\n\r\n",
        b"0\r\n\n",
        b"0;\r\r\n\r\n",
        b"0\r\nX: 1\n\r\n",
        b"3\r\nabc\r\n0\r\nX: 1\nY: 2\r\n\r\n",
        b"0\r\nX: 1\r\n folded\r\n\r\n",
        b"0\r\nX: \x01\r\n\r\n",
        b"0\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_a_body_with_two_meanings_is_refused_from_either_side(
    body: bytes, cut: Callable[[bytes], list[bytes]]
) -> None:
    start = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    if len(body) > 1000 and cut is single:
        return
    server = Server(CHUNKED + body + b"more")
    async with through(server) as port:
        assert statuses(await say(port, *cut(start + body + GET))) == [400]
        assert server.received == []
        answer = await say(port, GET)
    # The head has gone out, or it came together with what is wrong; a client never sees an end.
    assert statuses(answer) in ([], [200])
    assert not answer.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\n\r\n",
        b"HTTP/1.1 200 OK\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n",
        b"HTTP/1.1 200 \x01\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nX: 1\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ],
    ids=lambda answer: repr(answer[:60]),
)
async def test_an_answer_with_two_meanings_is_none(answer: bytes) -> None:
    async with through(Server(answer)) as port:
        assert statuses(await say(port, GET)) == [502]


async def test_heads_of_the_largest_size_and_above() -> None:
    def request(size: int) -> bytes:
        return GET[:-2] + b"X: " + b"x" * (size - len(GET) - 5) + b"\r\n\r\n"

    assert len(request(65536)) == 65536
    async with through(Server(b"HTTP/1.1 204 No Content\r\n\r\n")) as port:
        assert statuses(await say(port, request(65536))) == [204]
        assert statuses(await say(port, request(65537))) == [431]


async def test_what_is_refused_is_not_repeated() -> None:
    async with through(Server(b"")) as port:
        for head in (b"GET /?secret\x01 HTTP/1.1\r\n\r\n", GET[:-2] + b"Authorization Bearer secret\r\n\r\n"):
            answer = await say(port, head)
            assert statuses(answer) == [400]
            assert b"secret" not in answer


async def test_an_upgrade_keeps_what_came_early_from_both_sides() -> None:
    server = Server(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nearly")
    request = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with through(server) as port:
        head, _, stream = (await say(port, request)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching\r\n")
    assert stream == b"early"


@pytest.mark.parametrize("size", [10_000, 10_000_000])
@pytest.mark.parametrize("says_length", [True, False])
async def test_an_answer_that_does_not_wait_for_the_request_arrives(says_length: bool, size: int) -> None:
    """The server ends the connection with most of the body unread, so that the rest cannot be sent."""
    length = b"Content-Length: 3\r\n" if says_length else b""
    server = Server(b"HTTP/1.1 413 Too Large\r\n%b\r\nbig" % length, says_end=not says_length)
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    async with through(server) as port:
        for _ in range(5):
            answer = await say(port, request, bytes(size))
            assert statuses(answer) == [413]
            assert answer.endswith(b"\r\n\r\nbig" if says_length else b"\r\n3\r\nbig\r\n0\r\n\r\n")


async def test_an_answer_that_may_be_cut_short_breaks_off() -> None:
    server = Server(b"HTTP/1.1 413 Too Large\r\n\r\nbig")
    async with through(server) as port:
        answer = await say(port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n", bytes(10_000_000))
        assert not answer.endswith(b"0\r\n\r\n")


async def test_small_messages_do_not_wait_for_each_others_receipt() -> None:
    options: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        before = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        Wire(reader, writer, serving=True)
        options.set_result([before, connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)])
        writer.close()

    # Such a socket names no protocol, and asyncio leaves it as it is.
    server = await asyncio.start_server(accept, sock=socket.create_server(("127.0.0.1", 0)))
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    before, after = await options
    writer.close()
    server.close()
    await server.wait_closed()
    assert before == 0
    assert after != 0


def test_what_reads_http_is_not_loaded_with_the_server() -> None:
    program = (
        "import sys, arker.emulator.__main__, arker.emulator.server.service, arker.emulator.server.proxy.tunnel_proxy\n"
        "import arker.emulator.server.proxy.egress_proxy\n"
        "print([name for name in sys.modules if name.startswith('h11') or name.endswith('http_wire')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
