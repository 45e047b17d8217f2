"""A proxy before a backend, which holds every request and every reply that passes against generation 1."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from attrs import define, field
from yarl import URL

from arker.emulator import Emulator
from tests.generations.schemas.check import Wrong, check_reply, check_request, find

_HOP: Final = {"host", "connection", "content-length", "transfer-encoding", "keep-alive", "accept-encoding"}
"""Headers that are about one connection."""


@define
class Exchange:
    """A request and its reply.

    Attributes:
        operation: The operation's name in generation 1; None where it has none.
        target: Path below the base URL, and query.
    """

    operation: str | None
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    reply: bytes


@define
class Witness:
    """What has passed.

    Attributes:
        url: The base URL for clients.
        key: The backend's API key.
        wrong: What the contract does not allow, in words.
        exchanges: All that passed, in the order of the replies.
    """

    url: str
    key: str
    wrong: list[str] = field(factory=list[str])
    exchanges: list[Exchange] = field(factory=list[Exchange])

    @property
    def client_options(self) -> dict[str, Any]:
        """The arguments of a client that goes through here."""
        urls = ("base_url", "burst_base_url", "control_base_url")
        return {"api_key": self.key, "ledger": False, **dict.fromkeys(urls, self.url)}

    @property
    def seen(self) -> Counter[str]:
        """How often each operation was asked for."""
        return Counter(each.operation or f"{each.method} {each.target}" for each in self.exchanges)

    def verify(self) -> None:
        """Fail if something was wrong."""
        if self.wrong:
            raise Wrong("\n".join(self.wrong))


def _plain(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP}


async def _pass_socket(request: web.Request, session: aiohttp.ClientSession, url: URL) -> web.StreamResponse:
    """Pass on what goes over a WebSocket, in both directions."""

    async def pass_on(source: Any, sink: Any) -> None:
        async for message in source:
            if message.type is aiohttp.WSMsgType.BINARY:
                await sink.send_bytes(message.data)
            else:
                await sink.send_str(message.data)

    async with session.ws_connect(url) as onward:
        inward = web.WebSocketResponse()
        await inward.prepare(request)
        back = asyncio.ensure_future(pass_on(inward, onward))
        while (message := await onward.receive()).type is aiohttp.WSMsgType.BINARY:
            await inward.send_bytes(message.data)
        await inward.close(code=onward.close_code or 1000, message=str(message.extra or "").encode())
        await back
    return inward


@asynccontextmanager
async def witness(emulator: Emulator) -> AsyncGenerator[Witness, None]:
    """Open a proxy before an embedded backend."""
    parts = urlsplit(emulator.url)
    root = f"{parts.scheme}://{parts.netloc}"
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        seen = Witness("", emulator.api_key)

        async def handle(request: web.Request) -> web.StreamResponse:
            content = await request.read()
            target = request.raw_path.removeprefix(parts.path)
            try:
                check_request(request.method, target, request.headers, content)
            except (Wrong, ValueError) as error:
                seen.wrong.append(str(error))
            url = URL(root + request.raw_path, encoded=True)
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _pass_socket(request, session, url)
            async with session.request(
                request.method, url, data=content, headers=_plain(request.headers), allow_redirects=False
            ) as response:
                reply = await response.read()
            operation = find(request.method, target.partition("?")[0])
            name = None if operation is None else operation.name
            seen.exchanges.append(
                Exchange(name, request.method, target, request.headers, content, response.status, reply)
            )
            try:
                check_reply(request.method, target, response.status, response.headers, reply)
            except (Wrong, ValueError) as error:
                seen.wrong.append(f"{error} (asked for {target} {content[:300]!r})")
            return web.Response(status=response.status, headers=_plain(response.headers), body=reply)

        application = web.Application(client_max_size=2**26)
        application.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            seen.url = f"http://127.0.0.1:{runner.addresses[0][1]}{parts.path}"
            yield seen
        finally:
            await runner.cleanup()


__all__ = ["Exchange", "Witness", "witness"]
