"""Single exchanges over aiohttp, without retries. Loaded at the first request."""

from __future__ import annotations

import asyncio
import io
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol, TypeAlias

import aiohttp
import anyio
from multidict import CIMultiDict
from yarl import URL

from arker._http_failures import explain
from arker._http_sessions import CallersSession, LoopSessions
from arker._version import version
from arker._wire import IDEMPOTENCY_HEADER, ExchangeFailedError, Request, Response
from arker.config import Settings, proxy_for
from arker.errors import BadReplyError

SLICE: Final = 1024 * 1024
"""Bodies above this size are handed to the connection in pieces of it, which spares a copy of the whole."""

Piece: TypeAlias = bytes | memoryview
Body: TypeAlias = Callable[[], AsyncIterator[Piece]]


def user_agent() -> str:
    return f"arker-async/{version()} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"


class Http:
    """Single exchanges with the API and with presigned URLs."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession | None = None) -> None:
        self._own = session is None
        self._sessions = LoopSessions(settings.max_connections) if session is None else CallersSession(session)
        self._idle = settings.timeouts.idle
        agent = user_agent()
        self._headers = CIMultiDict(
            {"Authorization": f"Bearer {settings.api_key}", "User-Agent": agent, "Accept": "application/json"}
        )
        self._headers_with_body = CIMultiDict(self._headers, **{"Content-Type": "application/json"})
        self._presigned_headers = CIMultiDict({"User-Agent": agent})
        connect, idle = settings.timeouts.connect, settings.timeouts.idle
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=idle)
        self._patient = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=None)
        self._upload = aiohttp.ClientTimeout(total=settings.timeouts.upload, sock_connect=connect, sock_read=None)
        self._proxies: dict[tuple[str, str], str | None] = {}

    async def aclose(self) -> None:
        """Close the sessions that this object has made."""
        await self._sessions.aclose()

    def close_outside(self) -> None:
        """The same where no event loop runs, the sessions of loops that stand still included."""
        self._sessions.close_outside()

    def _proxy(self, url: URL) -> str | None:
        if not self._own or url.host is None:
            return None
        key = (url.scheme, url.host)
        if key not in self._proxies:
            self._proxies[key] = proxy_for(*key)
        return self._proxies[key]

    async def exchange(self, request: Request) -> Response:
        """One request to the API and its whole response; raises `ExchangeFailedError`."""
        text = f"{request.base_url}{request.path}?{request.query}" if request.query else request.base_url + request.path
        url = URL(text, encoded=True)
        headers = self._headers if request.body is None else self._headers_with_body
        if request.idempotency_key is not None:
            headers = CIMultiDict(headers)
            headers[IDEMPOTENCY_HEADER] = request.idempotency_key
        if request.body is None or len(request.body) <= SLICE:
            return await self._exchange(request, url, headers, request.body)
        headers = CIMultiDict(headers, **{"Content-Length": str(len(request.body))})
        with _bounded_progress(self._idle) as watched:
            body = watched(slices(request.body), wait_afterwards=request.awaits_work)
            return await self._exchange(request, url, headers, body)

    async def _exchange(
        self, request: Request, url: URL, headers: CIMultiDict[str], body: bytes | AsyncIterator[Piece] | None
    ) -> Response:
        if request.awaits_work:
            async with self._sessions.place_to_wait():
                return await self._send(request, url, headers, body)
        return await self._send(request, url, headers, body)

    async def _send(
        self, request: Request, url: URL, headers: CIMultiDict[str], body: bytes | AsyncIterator[Piece] | None
    ) -> Response:
        session = self._sessions.get()
        try:
            response = await session.request(
                request.method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,
                timeout=self._patient if request.awaits_work else self._timeout,
                proxy=self._proxy(url),
                # aiohttp never repeats a POST, so the most frequent calls need not go through the middleware.
                middlewares=() if self._own and request.method == "POST" else None,
            )
            async with response:
                return Response(response.status, response.headers, await response.read())
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, RuntimeError) as error:
            raise explain(error, url, session) from None

    async def put(self, presigned_url: str, body: Body, size: int) -> Response:
        """PUT a body of ``size`` bytes to a presigned URL, with no authorization; raises `ExchangeFailedError`.

        The time without progress is bounded as well as the time in all.
        """
        url = _presigned(presigned_url)
        headers = CIMultiDict(self._presigned_headers, **{"Content-Length": str(size)})
        session = self._sessions.get()
        with _bounded_progress(self._idle) as watched:
            try:
                async with session.put(
                    url,
                    data=watched(body()) if size else b"",
                    headers=headers,
                    allow_redirects=False,
                    raise_for_status=False,
                    timeout=self._upload,
                    proxy=self._proxy(url),
                ) as response:
                    return Response(response.status, response.headers, await response.read())
            except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, RuntimeError) as error:
                raise explain(error, url, session) from None

    @asynccontextmanager
    async def _get(self, presigned_url: str) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        url = _presigned(presigned_url)
        session = self._sessions.get()
        try:
            async with session.get(
                url,
                headers=self._presigned_headers,
                raise_for_status=False,
                timeout=self._timeout,
                proxy=self._proxy(url),
            ) as response:
                yield response
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError, RuntimeError) as error:
            raise explain(error, url, session) from None

    async def fetch(self, presigned_url: str) -> Response:
        """GET a presigned URL, with no authorization, into memory once its size; raises `ExchangeFailedError`."""
        async with self._get(presigned_url) as response:
            content = io.BytesIO()
            async for piece in response.content.iter_any():
                content.write(piece)
            # getvalue() shares the buffer, where read() would copy it.
            return Response(response.status, response.headers, content.getvalue())


class _Watch(Protocol):
    def __call__(self, pieces: AsyncIterator[Piece], *, wait_afterwards: bool = False) -> AsyncIterator[Piece]: ...


@contextmanager
def _bounded_progress(idle: float | None) -> Generator[_Watch, None, None]:
    """Bound the time, in seconds, in which a request's body makes no progress; raises `ExchangeFailedError`.

    aiohttp bounds the silence of the other side only after the body has gone. What is yielded wraps the body;
    ``wait_afterwards`` lifts the bound when all of it has gone.
    """
    bound = float("inf") if idle is None else idle
    # From the first piece on: until then the request waits for a connection, which has bounds of its own.
    with anyio.CancelScope() as scope:

        async def watched(pieces: AsyncIterator[Piece], *, wait_afterwards: bool = False) -> AsyncIterator[Piece]:
            # A piece is asked for when the connection has taken the one before it.
            async for piece in pieces:
                scope.deadline = anyio.current_time() + bound
                yield piece
            scope.deadline = float("inf") if wait_afterwards else anyio.current_time() + bound

        yield watched
    if scope.cancelled_caught:
        raise ExchangeFailedError(f"the request made no progress for {bound:g} s", delivered=True, timed_out=True)


async def slices(data: bytes | bytearray | memoryview) -> AsyncIterator[memoryview]:
    """A buffer in pieces, without copying it."""
    view = memoryview(data)
    for start in range(0, len(view), SLICE):
        yield view[start : start + SLICE]


def _presigned(url: str) -> URL:
    try:
        parsed = URL(url, encoded=True)
        # A port that is none is found out when it is asked for.
        usable = parsed.scheme in ("http", "https") and bool(parsed.host) and parsed.port is not None
        if usable:
            return parsed
    except ValueError:
        pass
    raise BadReplyError("the presigned URL is not a URL", path="$.presigned_url", status=200)
