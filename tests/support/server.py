"""A scripted HTTP server: real, over TCP on the loopback, in a thread of its own.

It records every request as it came over the wire, and answers from a script: a list of replies that is used up one by
one, or a function. It can answer late, close the connection at any stage, and cut a body short.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import socket
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import orjson
from aiohttp import web
from attrs import field, frozen
from multidict import CIMultiDictProxy

T = TypeVar("T")


class Drop(enum.Enum):
    """Where the server closes the connection instead of answering properly."""

    BEFORE_READING = "as soon as the head of the request is there"
    AFTER_PROCESSING = "when the whole request has been read and recorded, with no answer"
    RESET = "the same, by a TCP reset"
    MID_BODY = "in the middle of the body, whose whole length was announced"


@frozen(kw_only=True)
class Reply:
    """One answer of the script.

    Attributes:
        delay: Seconds before it.
        raw: Bytes to put on the wire instead of a response, before the connection is closed.
        chunked: Send the body without a Content-Length.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(factory=dict[str, str])
    delay: float = 0.0
    drop: Drop | None = None
    raw: bytes | None = None
    chunked: bool = False


@frozen(kw_only=True)
class Recorded:
    """A request as it came over the wire.

    Attributes:
        target: What stood on the request line: path and query, still encoded (an absolute URL at a proxy).
        connection: Number of the connection that it came over.
    """

    method: str
    target: str
    headers: CIMultiDictProxy[str]
    body: bytes
    connection: int

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def key(self) -> str | None:
        """The idempotency key."""
        return self.headers.get("Idempotency-Key")


Script: TypeAlias = Callable[[Recorded], Reply | Awaitable[Reply]]


def ok(payload: object = None, *, status: int = 200, delay: float = 0.0, **headers: str) -> Reply:
    """Return a reply with a JSON body. Underscores in header names stand for hyphens."""
    body = b"" if payload is None else orjson.dumps(payload)
    return Reply(status=status, body=body, headers=_headers(headers), delay=delay)


def error(code: str, message: str = "no", *, status: int, **headers: str) -> Reply:
    """Return an error reply in the contract's shape."""
    body = orjson.dumps({"code": code, "message": message})
    return Reply(status=status, body=body, headers=_headers(headers))


def error_1(code: str, message: str = "no", *, status: int, **details: object) -> Reply:
    """Return an error reply in the shape of generation 1."""
    told = {
        "code": code,
        "message": message,
        "timestamp": "2026-11-01T00:00:00Z",
        "request_id": "req_1",
        "request": {"kind": "unmatched", "method": "POST"},
        "details": details,
    }
    return Reply(status=status, body=orjson.dumps({"error": told}))


def dropped(drop: Drop) -> Reply:
    return Reply(drop=drop, body=b'{"never": "whole"}')


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in given.items()}


class ServerThread:
    """An event loop in a thread, for servers that must not share the loop of their clients."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="scripted servers", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        self.loop.run_forever()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the thread's loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=20)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=20)


async def close_listener(listener: asyncio.Server) -> None:
    """Close a listener at a moment at which no connection is half accepted.

    One that was accepted gets its transport in the loop's next turn, and its handler in the one after that. If the
    listener is closed by then, the connection's socket is left to the garbage collection, in whatever test that is.
    """
    loop = asyncio.get_running_loop()
    try:
        for plug in listener.sockets:
            loop.remove_reader(plug.fileno())
        for _ in range(3):
            await asyncio.sleep(0)
    finally:
        listener.close()


_UNSCRIPTED: Final = Reply(status=500, body=b'{"code": "unscripted", "message": "the script has no answer to this"}')


class ScriptedServer:
    """A server on 127.0.0.1 and a port of its own."""

    def __init__(self, thread: ServerThread) -> None:
        self._thread = thread
        self.requests: list[Recorded] = []
        self.faults: list[str] = []
        """What went wrong in the server itself: a request that the script does not foresee, a failing script."""
        self.peak = 0
        """The largest number of requests that were in work at once."""
        self.connections = 0
        self._in_work = 0
        # The transports themselves: the address of one that is gone may belong to the next.
        self._numbers: dict[asyncio.Transport | None, int] = {}
        self._replies: deque[Reply | Script] = deque()
        self._answer: Script | None = None
        self.port = thread.call(self._start())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def last(self) -> Recorded:
        return self.requests[-1]

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        return len(self._server.connections)

    def script(self, *replies: Reply | Script) -> None:
        """Answer the coming requests with these, one after the other."""
        self._replies.extend(replies)

    def answer(self, script: Script | Reply) -> None:
        """Answer every request that the list does not answer like this."""
        self._answer = (lambda _: script) if isinstance(script, Reply) else script

    def close(self) -> None:
        self._thread.call(self._stop())

    def verify(self) -> None:
        """Raise unless everything went by the script and the script was used up."""
        assert not self.faults, self.faults
        assert not self._replies, f"{len(self._replies)} replies were never asked for"

    async def _start(self) -> int:
        # A handler that waits is not to outlive its client.
        self._server = web.Server(self._handle, access_log=None, lingering_time=0.0, handler_cancellation=True)
        self._listener = await asyncio.get_running_loop().create_server(self._server, "127.0.0.1", 0)
        return int(self._listener.sockets[0].getsockname()[1])

    async def _stop(self) -> None:
        await close_listener(self._listener)
        # Zero would be no bound at all.
        await self._server.shutdown(0.01)

    def _connection(self, request: web.BaseRequest) -> int:
        transport = request.transport
        if transport not in self._numbers:
            self.connections += 1
            self._numbers[transport] = self.connections
        return self._numbers[transport]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._in_work += 1
        self.peak = max(self.peak, self._in_work)
        try:
            return await self._respond(request)
        finally:
            self._in_work -= 1

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        upcoming = self._replies[0] if self._replies else self._answer
        early = isinstance(upcoming, Reply) and upcoming.drop is Drop.BEFORE_READING
        recorded = Recorded(
            method=request.method,
            target=request.raw_path,
            headers=request.headers,
            body=b"" if early else await request.content.read(),
            connection=self._connection(request),
        )
        self.requests.append(recorded)
        reply = await self._reply(recorded)
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.raw is not None:
            transport.write(reply.raw)
        if reply.raw is not None or reply.drop in (Drop.BEFORE_READING, Drop.AFTER_PROCESSING):
            transport.close()
            return web.Response()
        if reply.drop is Drop.RESET:
            plug: socket.socket = transport.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
            return web.Response()
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        if reply.chunked:
            response.enable_chunked_encoding()
        elif "Content-Length" not in response.headers:
            response.content_length = len(reply.body)
        await response.prepare(request)
        if reply.drop is Drop.MID_BODY:
            await response.write(reply.body[: len(reply.body) // 2])
            transport.close()
            return response
        if reply.body:
            await response.write(reply.body)
        await response.write_eof()
        return response

    async def _reply(self, recorded: Recorded) -> Reply:
        step = self._replies.popleft() if self._replies else self._answer
        if step is None:
            self.faults.append(f"unforeseen: {recorded.method} {recorded.target}")
            return _UNSCRIPTED
        if isinstance(step, Reply):
            return step
        try:
            reply = step(recorded)
            return await reply if inspect.isawaitable(reply) else reply
        except Exception as error:
            self.faults.append(f"the script failed: {error!r}")
            return _UNSCRIPTED


def closed_port() -> int:
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])
