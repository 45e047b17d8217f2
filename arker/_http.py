"""The only user of aiohttp's client: single exchanges, without retries. Loaded at the first request."""

from __future__ import annotations

import asyncio
import io
import platform
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Final, Protocol, TypeAlias

import aiohttp
import anyio
from attrs import define
from multidict import CIMultiDict
from yarl import URL

from arker._version import version
from arker._wire import IDEMPOTENCY_HEADER, ExchangeFailedError, Request, Response
from arker.config import Settings, proxy_for
from arker.errors import BadReplyError, ConfigurationError, InvalidArgumentError

SLICE: Final = 1024 * 1024
"""Bodies above this size are handed to the connection in pieces of it, which spares a copy of the whole."""

Piece: TypeAlias = bytes | memoryview
Body: TypeAlias = Callable[[], AsyncIterator[Piece]]

_SKIPPED_AUTO_HEADERS: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_NOTHING_SENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.InvalidURL,
    aiohttp.ServerFingerprintMismatch,
    UnicodeError,  # a host name that no resolver takes
)


def user_agent() -> str:
    return f"arker-async/{version()} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"


class _LostError(aiohttp.ClientError):
    """The connection was lost after the request had been handed to it."""


async def _no_hidden_retry(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keeps aiohttp from repeating a request by itself on a kept-alive connection: every attempt is counted."""
    try:
        return await handler(request)
    except _NOTHING_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _LostError(str(error) or type(error).__name__) from None


@define(eq=False)
class _Entry:
    session: aiohttp.ClientSession
    guard: AsyncGenerator[None, None]


class LoopSessions:
    """One session for each event loop that asks, closed with its loop at the latest.

    A session is bound to its loop, so a client that is kept in a module and used from a second ``asyncio.run``, or from
    loops in two threads, needs one for each.
    """

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._entries: dict[asyncio.AbstractEventLoop, _Entry] = {}
        self._closed = False

    def get(self) -> aiohttp.ClientSession:
        """The session of the running loop."""
        loop = asyncio.get_running_loop()
        entry = self._entries.get(loop)
        return entry.session if entry is not None else self._open(loop)

    def _open(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self._closed:
            # The client was closed while a call waited for its next attempt; nobody would close a new session.
            raise ConfigurationError("the client is closed")
        for ended in [other for other in list(self._entries) if other.is_closed()]:
            self._entries.pop(ended, None)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, limit_per_host=0, ttl_dns_cache=300),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_SKIPPED_AUTO_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(_no_hidden_retry,),
        )
        guard = self._guard(loop, session)
        # An async generator that has been started is closed by the loop's shutdown_asyncgens(), and the session with
        # it. It yields before it awaits anything, so a single step starts it.
        try:
            guard.__anext__().send(None)
        except StopIteration:
            pass
        self._entries[loop] = _Entry(session, guard)
        return session

    async def _guard(
        self, loop: asyncio.AbstractEventLoop, session: aiohttp.ClientSession
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._entries.pop(loop, None)
            await session.close()

    async def aclose(self) -> None:
        """Close the sessions of this loop and of the loops that run in other threads."""
        self._closed = True
        here = asyncio.get_running_loop()
        for loop, entry in list(self._entries.items()):
            if loop is here:
                await entry.guard.aclose()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(_finish(entry.guard), loop)
                await asyncio.wait_for(asyncio.wrap_future(closing), timeout=5)
            # A loop that has stopped closes its session itself, when it is shut down.


async def _finish(guard: AsyncGenerator[None, None]) -> None:
    await guard.aclose()


def check_session(session: object) -> None:
    """Refuse what is no aiohttp session, before anything is sent with it."""
    if not isinstance(session, aiohttp.ClientSession):
        raise InvalidArgumentError("session", session, "expected an aiohttp.ClientSession")


class CallersSession:
    """A session that the caller made: used, never closed."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._session.closed:
            raise ConfigurationError("the session that was passed as session= is closed")
        if self._loop is not loop:
            raise ConfigurationError(
                "the session that was passed as session= belongs to another event loop; "
                "without session= the client makes one for each loop"
            )
        return self._session

    async def aclose(self) -> None:
        return None


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
            raise _failed(error, url, session) from None

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
                raise _failed(error, url, session) from None

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
            raise _failed(error, url, session) from None

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
    with anyio.move_on_after(bound) as scope:

        async def watched(pieces: AsyncIterator[Piece], *, wait_afterwards: bool = False) -> AsyncIterator[Piece]:
            # A piece is asked for when the connection has taken the one before it.
            async for piece in pieces:
                scope.deadline = anyio.current_time() + bound
                yield piece
            scope.deadline = float("inf") if wait_afterwards else anyio.current_time() + bound

        yield watched
    if scope.cancelled_caught:
        raise ExchangeFailedError(
            f"the request's body made no progress for {bound:g} s", delivered=True, timed_out=True
        )


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


def _failed(error: Exception, url: URL, session: aiohttp.ClientSession) -> Exception:
    """What an exception of aiohttp means. Only hosts and errors of the system are quoted, never a path or query."""
    if isinstance(error, (ConfigurationError, ExchangeFailedError)):
        return error
    where = str(url.origin())  # without user, password, path and query
    delivered = not isinstance(error, _NOTHING_SENT)
    if isinstance(error, aiohttp.RedirectClientError):
        return ExchangeFailedError(f"{where}: it redirects to what is no URL", delivered=True)
    if isinstance(error, aiohttp.InvalidURL):
        return ConfigurationError(f"{where} is not a URL that can be requested")
    if isinstance(error, asyncio.TimeoutError):
        what = "no progress within the idle bound" if delivered else "no connection within the connect bound"
        return ExchangeFailedError(f"{where}: {what}", delivered=delivered, timed_out=True)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        # Not every version of aiohttp gives this one an `os_error`.
        return ExchangeFailedError(f"cannot trust {where}: {error.certificate_error}", delivered=False)
    if isinstance(error, aiohttp.ClientConnectorError):
        return ExchangeFailedError(f"cannot connect to {where}: {error.os_error}", delivered=False)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ExchangeFailedError(f"{where}: the reply was cut short", delivered=True)
    if session.closed and isinstance(error, RuntimeError):
        # So aiohttp refuses to begin. Any other error on a session that was closed meanwhile is a lost connection.
        return ConfigurationError("the session is closed")
    if isinstance(error, UnicodeError):
        return ExchangeFailedError(f"cannot connect to {where}: not the name of a host", delivered=False)
    return ExchangeFailedError(f"{where}: the connection was lost ({type(error).__name__})", delivered=delivered)
