"""A tunnel's traffic: a loopback listener outside, and a connection into the VM for each request.

No data from a client reaches the VM before the token has been checked, request by request.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Awaitable, Callable

from arker.emulator.sandbox.base import SandboxError
from arker.emulator.server.proxy.http_exchange import Client, ClientReader, Exchange, Far, Refusal, serve
from arker.emulator.server.proxy.http_heads import Fields, RequestHead, check_request

Connect = Callable[[], Awaitable[socket.socket]]


class TunnelProxy:
    """A listener on 127.0.0.1 that serves one tunnel.

    Args:
        connect: Makes a connection to the port in the VM; raises `SandboxError`.
        token: What requests have to bring as ``Authorization: Bearer``; None lets everyone in.
    """

    def __init__(self, connect: Connect, *, token: str | None) -> None:
        self._connect = connect
        self._token = token
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.AbstractServer | None = None
        self._closed = False
        # Listen at once: the address is known from the start, and early clients wait in the backlog.
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(ClientReader(), self._accept, loop=loop)

        if not self._closed:
            # Use two steps, the first without waiting: then `close` always finds the server that reads the socket.
            # Otherwise the loop would keep watching a descriptor whose number is reused by another file.
            self._server = await loop.create_server(protocol, sock=self._sock, start_serving=False)
            await self._server.start_serving()

    def close(self) -> None:
        """Stop listening and cut every connection."""
        self._closed = True
        if self._server is not None:
            self._server.close()
        self._sock.close()
        for task in self._connections:
            task.cancel()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, ClientReader)
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        if self._closed:
            task.cancel()

    async def _serve(self, reader: ClientReader, writer: asyncio.StreamWriter) -> None:
        async def exchange(client: Client, head: RequestHead) -> bool:
            self._check_token(head)
            try:
                connection = await self._connect()
            except SandboxError as error:
                raise Refusal(502, "unavailable", f"the tunnel does not reach the VM's port: {error}") from None
            inside = await Far.over("what listens on the port", connection)
            try:
                return await Exchange(
                    head, client, inside, target=head.target, fields=self._inside_fields(head)
                ).carry_out()
            finally:
                inside.cut()

        await serve(reader, writer, check_request, exchange)

    def _inside_fields(self, head: RequestHead) -> Fields:
        secret = frozenset[str]() if self._token is None else frozenset(("authorization",))
        host = () if head.all("host") else (("Host", "127.0.0.1"),)  # HTTP/1.0 need not have one, 1.1 must
        return (*host, *head.end_to_end(without=secret))

    def _check_token(self, head: RequestHead) -> None:
        if self._token is None:
            return
        given = head.all("authorization")
        scheme, _, credentials = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        matches = hmac.compare_digest(credentials.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not matches:
            raise Refusal(401, "unauthorized", "this tunnel needs Authorization: Bearer and the tunnel's auth_token")


__all__ = ["TunnelProxy"]
