"""A proxy on this machine that passes HTTP requests and WebSockets on to a tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp import web
from attrs import field, frozen
from multidict import CIMultiDict

from arker._tasks.cleanup import end
from arker._transport.http.sessions import no_hidden_retry
from arker._transport.http.urls import tunnelled
from arker.config import proxy_for

_OF_CONNECTION: Final = frozenset(
    (
        *("connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade", "expect"),
    )
)
"""Headers of one connection, which are not passed on (RFC 9110, section 7.6.1)."""
_OWN_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
_IDLE: Final = 60.0


@frozen
class Target:
    """A tunnel.

    Attributes:
        url: Its URL.
        headers: What requests through it need: its authorization, or none.
        base_url: Base URL of its VM.
        insecure_hosts: Hosts that may be reached by plain HTTP.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    base_url: str
    insecure_hosts: frozenset[str] = frozenset()


@asynccontextmanager
async def serving(target: Target, port: int) -> AsyncGenerator[str, None]:
    """Serve a tunnel on 127.0.0.1 for the length of the block. Yields the URL.

    Args:
        target: The tunnel.
        port: The port; 0 for a free one.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_IDLE)
    async with aiohttp.ClientSession(
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0),
        timeout=timeout,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        middlewares=(no_hidden_retry,),
    ) as session:
        relay = _Relay(target, session)
        runner = web.ServerRunner(web.Server(relay.answer, access_log=None, handler_cancellation=True))
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


class _Relay:
    """The way of requests to a tunnel."""

    def __init__(self, target: Target, session: aiohttp.ClientSession) -> None:
        self._target = target
        self._session = session

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request by what the tunnel answers."""
        # A page of another site, whose name leads here, must not get through with the token.
        if (request.url.host or "") not in _OWN_NAMES:
            return web.Response(status=403, text=f"{request.host} is no name of this proxy\n")
        if not request.raw_path.startswith("/"):
            return web.Response(status=400, text="expected the path of this server\n")
        target = self._target
        url = tunnelled(target.url, request.raw_path, target.base_url, target.insecure_hosts)
        proxy = proxy_for(url.scheme, url.host or "")
        try:
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._socket(request, url, proxy)
            return await self._exchange(request, url, proxy)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            return web.Response(status=502, text=f"the tunnel could not be reached: {type(error).__name__}\n")

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        headers = _passed_on(request.headers)
        headers.popall("Host", None)
        if self._target.headers:
            headers.popall("Authorization", None)
        headers.extend(self._target.headers)
        return headers

    async def _exchange(self, request: web.BaseRequest, url: Any, proxy: str | None) -> web.StreamResponse:
        body = request.content.iter_any() if request.can_read_body else None
        async with self._session.request(
            request.method, url, headers=self._headers(request), data=body, allow_redirects=False, proxy=proxy
        ) as reply:
            response = web.StreamResponse(status=reply.status, reason=reply.reason, headers=_passed_on(reply.headers))
            await response.prepare(request)
            try:
                async for piece in reply.content.iter_any():
                    await response.write(piece)
            except (aiohttp.ClientError, OSError):
                # Its head has been sent, so that only the end of the connection can say that the rest is missing.
                if request.transport is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

    async def _socket(self, request: web.BaseRequest, url: Any, proxy: str | None) -> web.StreamResponse:
        headers = self._headers(request)
        protocols = [name.strip() for name in headers.get("Sec-WebSocket-Protocol", "").split(",") if name.strip()]
        for name in [name for name in headers if name.lower().startswith("sec-websocket-")]:
            headers.popall(name, None)
        try:
            there = await self._session.ws_connect(
                url, headers=headers, protocols=protocols, proxy=proxy, autoping=False, autoclose=False, max_msg_size=0
            )
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status, text=f"{error.message}\n")
        async with there:
            chosen = [there.protocol] if there.protocol else []
            here = web.WebSocketResponse(
                protocols=chosen, autoping=False, autoclose=False, max_msg_size=0, compress=False
            )
            await here.prepare(request)
            ways: dict[asyncio.Task[None], tuple[Any, Any]] = {
                asyncio.ensure_future(_pass_on(here, there)): (here, there),
                asyncio.ensure_future(_pass_on(there, here)): (there, here),
            }
            try:
                over, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:  # a socket that is closed must not be read by another task
                    await end(way)
            source, target = ways[over.pop()]
            await target.close(code=_sendable(source.close_code))
            await source.close(code=_sendable(source.close_code))
        return here


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    """Return the headers that go on, whatever connection they came over."""
    named = {name.strip().lower() for name in headers.get("Connection", "").split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _OF_CONNECTION | named)


async def _pass_on(source: Any, target: Any) -> None:
    """Pass the messages of a WebSocket on, until its end."""
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.PING:
            await target.ping(message.data)
        elif message.type is aiohttp.WSMsgType.PONG:
            await target.pong(message.data)


def _sendable(code: int | None) -> int:
    """Return a code that may be sent: those that only say how a connection was lost may not (RFC 6455, section 7.4)."""
    return 1000 if code is None or code in {1005, 1006} else code


__all__ = ["Target", "serving"]
