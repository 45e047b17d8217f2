"""Single exchanges over aiohttp, without retries. Loaded at the first request."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from arker._basics.hidden import Hidden
from arker._basics.version import version
from arker._protocol.request import IDEMPOTENCY_HEADER, ExchangeFailedError, Flow, Request, Response
from arker._transport.http.callers import CallersSession
from arker._transport.http.failures import explain
from arker._transport.http.opened import EXCHANGE_ERRORS, READ_BUFFER, Opened
from arker._transport.http.pieces import SLICE, Body, BoundedProgress, Piece, Slices
from arker._transport.http.replies import read_excerpt, read_reply, take_reply
from arker._transport.http.sessions import AUTO_HEADERS, LoopSessions
from arker._transport.http.sockets import Socket, open_socket, refuse_other_replies
from arker._transport.http.urls import MAX_REDIRECTS, REDIRECTS, presigned, redirected, tunnelled
from arker._transport.redaction import Redactor
from arker.config import Settings, proxy_for
from arker.errors import BadReplyError

_SENT_AT_ONCE: Final = 16 * 1024
"""Bytes of a body that any connection takes at once, so that it has been sent when the reply is here."""

_JSON: Final = {"Content-Type": "application/json"}

_Options: TypeAlias = dict[str, Any]
"""Keyword arguments of aiohttp's requests."""


def user_agent() -> str:
    return f"arker-async/{version()} python/{platform.python_version()} aiohttp/{aiohttp.__version__}"


class Http:
    """Single exchanges with the API and with presigned URLs."""

    def __init__(
        self,
        settings: Settings,
        session: aiohttp.ClientSession | None = None,
        tell_round_trip: Callable[[float], None] = lambda _: None,
        in_new_loop: Callable[[], None] = lambda: None,
    ) -> None:
        """Make the HTTP side of a client.

        Args:
            settings: The client's settings.
            session: The caller's session, if given.
            tell_round_trip: Called with the round trip to each host, in seconds, when it is first connected to.
            in_new_loop: Called once in each event loop; never for a session of the caller's, which has only one.
        """
        self._own = session is None
        self._idle = settings.timeouts.idle
        agent = user_agent()
        identity = CIMultiDict({"User-Agent": agent, "Accept": "application/json"})
        if self._own:
            identity["Accept-Encoding"] = "identity"  # a session of the caller's has a choice of its own
        self._anonymous_headers = identity
        of_api = CIMultiDict({"Authorization": Hidden(f"Bearer {settings.api_key}")}, **identity)
        self._headers_of_api = of_api
        # A session of its own has them already, which is quicker than passing them with each request.
        self._headers: CIMultiDict[str] = CIMultiDict() if self._own else of_api
        self._headers_with_body = CIMultiDict(self._headers, **_JSON)
        self._presigned_headers = CIMultiDict({"User-Agent": agent})
        connect, idle = settings.timeouts.connect, settings.timeouts.idle
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=idle)
        self._patient = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=None)
        self._upload = aiohttp.ClientTimeout(total=settings.timeouts.upload, sock_connect=connect, sock_read=None)
        # What does not differ from the session's own settings is not passed with each request, which takes its time.
        self._sessions: LoopSessions | CallersSession
        common: _Options = {"allow_redirects": False}
        if session is None:
            self._sessions = LoopSessions(
                settings.max_connections,
                aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=None),
                tell_round_trip=tell_round_trip,
                headers=of_api,
                idle=idle,
                in_new_loop=in_new_loop,
            )
            # aiohttp never repeats a POST, so the most frequent calls need not go through the middleware.
            self._options, self._repeatable = {**common, "middlewares": ()}, common
        else:
            self._sessions = CallersSession(session)
            common |= {"raise_for_status": False, "timeout": self._timeout}
            self._options = self._repeatable = common
        # A WebSocket keeps its connection for as long as it is open, so it takes no place from requests.
        self._socket_sessions = (
            LoopSessions(None, self._timeout, (refuse_other_replies,), skip_auto_headers=AUTO_HEADERS)
            if session is None
            else self._sessions
        )
        self._patient_options: _Options = {**self._options, "timeout": self._patient}
        self._insecure_hosts = settings.insecure_hosts
        self._redact = Redactor(settings.api_key)
        self._proxies: dict[tuple[str, str], str | None] = {}
        self._proxies_of_api: dict[str, str | None] = {}

    async def aclose(self) -> None:
        """Close the sessions that this object has made."""
        await self._socket_sessions.aclose()
        await self._sessions.aclose()

    def close_outside(self) -> None:
        """Close the sessions where no event loop runs, including those of loops that are not running."""
        self._socket_sessions.close_outside()
        self._sessions.close_outside()

    def _proxy(self, url: URL) -> str | None:
        if not self._own:
            return None
        key = (url.scheme, url.raw_authority)  # the URL's cached parts; decoding its host each time would be slow
        if key not in self._proxies:
            # As it is written: not every host with xn-- can be decoded, and those in NO_PROXY are not.
            self._proxies[key] = None if url.raw_host is None else proxy_for(url.scheme, url.raw_host)
        return self._proxies[key]

    def exchange(self, request: Request, flow: Flow | None = None) -> Coroutine[Any, Any, Response]:
        """Send one request to the API, and return the whole response; raises `ExchangeFailedError`.

        Args:
            request: The request.
            flow: Updated with the bytes transferred.
        """
        url = _url(request.base_url, request.path, request.query)
        headers = self._headers if request.body is None else self._headers_with_body
        if request.anonymous:
            headers = self._anonymous_headers
            if request.body is not None:
                headers = CIMultiDict(headers, **_JSON)
        if request.idempotency_key is not None:
            headers = CIMultiDict(headers)
            headers[IDEMPOTENCY_HEADER] = request.idempotency_key
        if request.body is None or (len(request.body) <= SLICE and request.ending is None):
            return self._send(request, url, headers, request.body, flow)
        headers = CIMultiDict(headers, **{"Content-Length": str(request.size)})
        return self._send_in_slices(request, url, headers, request.body, flow)

    async def _send_in_slices(
        self, request: Request, url: URL, headers: CIMultiDict[str], body: bytes, flow: Flow | None
    ) -> Response:
        def tell(sent: int) -> None:
            if flow is not None:
                flow.sent = sent

        with BoundedProgress(self._idle) as watched:
            ending = request.ending
            pieces = watched(Slices(body, tell, ending), wait_afterwards=request.awaits_work)
            try:
                return await self._send(request, url, headers, pieces, flow)
            except ExchangeFailedError:
                # The connection calls what fails inside of it a failure of its own.
                if ending is None or ending.failure is None:
                    raise
            # Outside of the handler, since what the connection has failed with leads to this; so does its traceback.
            failure, ending.failure = ending.failure, None
            try:
                raise failure.with_traceback(None)
            finally:
                del failure  # now its traceback has this frame

    async def _send(
        self,
        request: Request,
        url: URL,
        headers: CIMultiDict[str],
        body: bytes | AsyncIterator[Piece] | None,
        flow: Flow | None,
    ) -> Response:
        in_use = self._sessions.in_use()
        session, silences = in_use.session, in_use.silences
        if request.anonymous:
            session = self._sessions.bare()
        if request.method != "POST":
            options = self._repeatable
        elif request.awaits_work:
            options, silences = self._patient_options, None
        else:
            options = self._options
        at_once = body is None or (isinstance(body, bytes) and len(body) <= _SENT_AT_ONCE)
        if silences is not None and not at_once:
            # Sending may take long, while aiohttp's bound begins only afterwards.
            options, silences = {**options, "timeout": self._timeout}, None
        try:
            proxy = self._proxies_of_api[request.base_url]
        except KeyError:
            proxy = self._proxies_of_api[request.base_url] = self._proxy(url)
        if proxy is not None:
            options = {**options, "proxy": proxy}
            if not request.anonymous:
                # A session's own headers go to the proxy as well, and the key would be its user's.
                session, given = self._sessions.bare(), headers
                headers = CIMultiDict(self._headers_of_api)
                headers.update(given)
        task = None if silences is None else asyncio.current_task()
        try:
            response = await session.request(request.method, url, data=body, headers=headers, **options)
            content = response.content
            if flow is not None:
                flow.content = content
            if at_once and response.connection is None:
                # All of it is here already, and aiohttp has given the connection back: there is nothing to await.
                return Response(response.status, response.headers, take_reply(response, self._redact))
            async with response:
                if content.is_eof():
                    return Response(response.status, response.headers, await read_reply(response, self._redact))
                done = self._sessions.reading(content)
                try:
                    return Response(response.status, response.headers, await read_reply(response, self._redact))
                finally:
                    done()
        except EXCHANGE_ERRORS as error:
            raise explain(error, url, session) from None
        finally:
            if silences is not None:
                silences.end(task)
            del task  # it keeps what it fails with, whose traceback has this frame

    async def put(self, presigned_url: str, body: Body, size: int, *, base_url: str) -> Response:
        """PUT a body of ``size`` bytes to a presigned URL, with no authorization; raises `ExchangeFailedError`.

        Both the time without progress and the total time are bounded. ``base_url`` is the API that the URL came from.
        """
        url = presigned(presigned_url, base_url, self._insecure_hosts)
        headers = CIMultiDict(self._presigned_headers, **{"Content-Length": str(size)})
        session = self._sessions.bare()
        with BoundedProgress(self._idle) as watched:
            try:
                async with session.put(
                    url,
                    data=watched(body()) if size else b"",
                    headers=headers,
                    allow_redirects=False,
                    raise_for_status=False,
                    timeout=self._upload,
                    skip_auto_headers=AUTO_HEADERS,
                    proxy=self._proxy(url),
                ) as response:
                    return Response(response.status, response.headers, await read_excerpt(response))
            except EXCHANGE_ERRORS as error:
                raise explain(error, url, session) from None

    async def open(self, presigned_url: str, *, base_url: str, headers: Mapping[str, str] | None = None) -> Opened:
        """GET a presigned URL without authorization; raises `ExchangeFailedError`. A few redirects are followed.

        Args:
            presigned_url: The URL.
            base_url: The API that the URL came from.
            headers: Headers for ranges and conditions.
        """
        url = presigned(presigned_url, base_url, self._insecure_hosts)
        sent = self._presigned_headers if headers is None else CIMultiDict(self._presigned_headers, **headers)
        session = self._sessions.bare()
        hops = 0
        while True:
            try:
                response = await session.get(
                    url,
                    headers=sent,
                    allow_redirects=False,
                    raise_for_status=False,
                    timeout=self._timeout,
                    skip_auto_headers=AUTO_HEADERS,
                    proxy=self._proxy(url),
                    read_bufsize=READ_BUFFER,
                )
            except EXCHANGE_ERRORS as error:
                raise explain(error, url, session) from None
            location = response.headers.get("Location") if response.status in REDIRECTS else None
            if location is None:
                return Opened(response, url, session, self._sessions.reading(response.content))
            response.close()
            if hops == MAX_REDIRECTS:
                problem = f"the presigned URL redirects more than {MAX_REDIRECTS} times"
                raise BadReplyError(problem, status=response.status)
            url = redirected(url, location, response.status)
            hops += 1

    async def fetch(
        self, presigned_url: str, size: int, *, base_url: str, tell: Callable[[int], None] | None = None
    ) -> Response:
        """GET a presigned URL without authorization, with a single copy in memory; raises `ExchangeFailedError`.

        A few redirects are followed.

        Args:
            presigned_url: The URL.
            size: Bytes that are expected; no more are read.
            base_url: The API that the URL came from.
            tell: Called at the start and about every MiB with the number of bytes received.
        """
        if tell is not None:
            tell(0)
        opened = await self.open(presigned_url, base_url=base_url)
        try:
            return await opened.whole(size, tell)
        finally:
            opened.close()

    async def through_tunnel(
        self, tunnel_url: str, path: str, method: str, headers: Mapping[str, str], body: bytes | None, *, base_url: str
    ) -> Response:
        """Send a request through a tunnel; raises `ExchangeFailedError`.

        The API key is not sent, and redirects are not followed.

        ``base_url`` is the API that the tunnel's URL came from.
        """
        url = tunnelled(tunnel_url, path, base_url, self._insecure_hosts)
        sent = CIMultiDict({"User-Agent": user_agent()}, **headers)
        if body is None or len(body) <= SLICE:
            return await self._send_through_tunnel(method, url, sent, body)
        sent.setdefault("Content-Length", str(len(body)))
        with BoundedProgress(self._idle) as watched:
            pieces = watched(Slices(body), wait_afterwards=True)
            return await self._send_through_tunnel(method, url, sent, pieces)

    async def _send_through_tunnel(
        self, method: str, url: URL, headers: CIMultiDict[str], body: bytes | AsyncIterator[Piece] | None
    ) -> Response:
        session = self._sessions.bare()
        try:
            async with session.request(
                method,
                url,
                data=body,
                headers=headers,
                allow_redirects=False,
                raise_for_status=False,
                timeout=self._timeout,
                skip_auto_headers=AUTO_HEADERS,
                proxy=self._proxy(url),
            ) as response:
                return Response(response.status, response.headers, await read_reply(response, self._redact))
        except EXCHANGE_ERRORS as error:
            raise explain(error, url, session) from None

    async def open_socket(self, request: Request, ticket: str) -> Socket:
        """Open a WebSocket to the API with a ticket, a secret, in place of the API key.

        Raises `ExchangeFailedError`, or `HandshakeRefusedError` with the server's reply.
        """
        query = "&".join(part for part in (request.query, f"ticket={quote(ticket, safe='')}") if part)
        url = URL(f"{request.base_url}{request.path}?{query}", encoded=True)
        session = self._socket_sessions.get()
        return await open_socket(session, url, self._presigned_headers, proxy=self._proxy(url))


@lru_cache(maxsize=1024)
def _url(base_url: str, path: str, query: str) -> URL:
    if query:
        return URL(f"{base_url}{path}?{query}", encoded=True)
    base = _base(base_url)
    # Each of hundreds of VMs has its own URLs; the part before the path is the same, and is parsed only once.
    return base.with_path(base.raw_path + path if len(base.raw_path) > 1 else path, encoded=True)


@lru_cache(maxsize=16)
def _base(base_url: str) -> URL:
    return URL(base_url, encoded=True)
