"""A VM's way out: an HTTP proxy that accepts connections inside the VM and makes them outside, by the VM's policy.

It takes ``CONNECT host:port``, for TLS and other protocols that start like that, and requests with an ``http://`` URL.
Each of these is checked separately, uses its own connection to its URL's host, and gets a ``Host`` field made from the
URL. Programs in a VM are hostile: connections are counted, heads are bounded, and bodies are never held in memory.
What all VMs together may have open leaves the server enough descriptors to answer its clients.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
from collections.abc import Callable, Mapping
from typing import Final

from arker._basics.hosts import MalformedHostError
from arker.emulator.server.proxy.egress import Policy, Target
from arker.emulator.server.proxy.egress_dial import Dialer, upstream_fields
from arker.emulator.server.proxy.http_exchange import Client, ClientReader, Exchange, Refusal, serve, splice
from arker.emulator.server.proxy.http_heads import RequestHead, check_proxy_request

MOST_CONNECTIONS: Final = 256
"""Connections of a VM at a time, where there is room for so many; further ones wait."""

_PAUSE: Final = 0.1  # seconds, when this process has no more descriptors
_DESCRIPTORS: Final = 4  # that the process may have, for each connection: two, and as many for everything else
_VMS: Final = 4  # that it takes at least to fill the room
_URL = re.compile(r"http://([^/?#]*)((?:[/?][^#]*)?)", re.IGNORECASE)
# The VM itself, by each name and address that servers print: some programs do not support networks or brackets.
_NOT_PROXIED = "localhost,vm,ip6-localhost,ip6-loopback,127.0.0.1,127.0.1.1,127.0.0.0/8,0.0.0.0,::1,[::1],::,[::]"

logger = logging.getLogger("arker.emulator")


class Room:
    """The number of connections that all VMs of a server may have.

    Args:
        size: How many there may be at a time.

    Attributes:
        share: How many of them one VM may have.
    """

    def __init__(self, size: int) -> None:
        self.share = max(1, min(MOST_CONNECTIONS, size // _VMS))
        self._free = size
        self._waiting: dict[EgressProxy, Callable[[], None]] = {}

    @classmethod
    def of_this_process(cls) -> Room:
        """Return the room that this process's limit of descriptors allows."""
        try:
            import resource
        except ImportError:  # no such system has VMs with a network of their own
            return cls(_VMS * MOST_CONNECTIONS)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return cls(65536 if soft == resource.RLIM_INFINITY else soft // _DESCRIPTORS)

    def take(self, proxy: EgressProxy, then: Callable[[], None]) -> bool:
        """Take room for one connection and return whether there was any. If not, call ``then`` when there may be."""
        if self._free:
            self._free -= 1
            return True
        self._waiting[proxy] = then
        return False

    def give_back(self) -> None:
        """Give back the room of one connection, and call the waiting proxies."""
        self._free += 1
        waiting, self._waiting = self._waiting, {}
        for then in waiting.values():
            then()

    def forget(self, proxy: EgressProxy) -> None:
        """Remove a proxy from those that wait."""
        self._waiting.pop(proxy, None)


class EgressProxy:
    """The `arker.emulator.sandbox.base.Outlet` of a VM."""

    def __init__(self, dialer: Dialer, room: Room) -> None:
        self._dialer = dialer
        self._room = room
        self._listener: socket.socket | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._failing = False
        self._connections: set[asyncio.Task[None]] = set()

    def variables(self, host: str, port: int) -> Mapping[str, str]:
        url = f"http://{host}:{port}"
        return {
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), url),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), _NOT_PROXIED),
        }

    def open(self, listener: socket.socket) -> None:
        self.cut()
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener, self._accept)

    def cut(self) -> None:
        self._stop_accepting()
        self._room.forget(self)
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for task in self._connections:
            task.cancel()

    def obey(self, policy: Policy) -> None:
        """Follow another policy from now on. Connections that are open end."""
        self._dialer.policy = policy
        for task in self._connections:
            task.cancel()

    def _accept(self) -> None:
        listener = self._listener
        while listener is not None and len(self._connections) < self._room.share:
            if not self._room.take(self, self._resume_accepting):
                break
            try:
                connection, _ = listener.accept()
            except OSError as error:
                self._room.give_back()
                self._not_accepted(error)
                return
            self._failing = False
            connection.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._serve(connection))
            self._connections.add(task)
            task.add_done_callback(self._ended)
        self._stop_accepting()

    def _not_accepted(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError):
            return
        if not self._failing:  # once, not ten times a second
            self._failing = True
            logger.warning("a VM's connection could not be accepted: %s", error.strerror)
        self._stop_accepting()
        if error.errno != errno.EINVAL:  # another holder has shut it down, which is permanent
            self._pause = asyncio.get_running_loop().call_later(_PAUSE, self._resume_accepting)

    def _stop_accepting(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)

    def _resume_accepting(self) -> None:
        self._pause = None
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _ended(self, task: asyncio.Task[None]) -> None:
        full = len(self._connections) >= self._room.share
        self._connections.discard(task)
        self._room.give_back()
        if full and self._pause is None:
            self._resume_accepting()
        if not task.cancelled() and task.exception() is not None:
            logger.error("a VM's connection ended by an error of the server", exc_info=task.exception())

    async def _serve(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = ClientReader()
        try:
            transport, protocol = await loop.connect_accepted_socket(
                lambda: asyncio.StreamReaderProtocol(reader, loop=loop), connection
            )
        except BaseException:
            connection.close()
            raise
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)

        await serve(reader, writer, check_proxy_request, self._exchange)

    async def _exchange(self, client: Client, head: RequestHead) -> bool:
        if head.method == "CONNECT":
            await self._tunnel(client, head)
            return False
        return await self._forward(client, head)

    async def _tunnel(self, client: Client, head: RequestHead) -> None:
        try:
            target = Target.parse(head.target, default_port=None)
        except MalformedHostError as error:
            raise Refusal(400, "bad_request", f"the target of CONNECT is malformed: {error}") from None
        far = await self._dialer.connect(target)
        try:
            await client.wire.read_body()  # it has no body, and the bytes that follow are not HTTP
            client.wire.write_response(200, "Connection established", ())
            await splice(client, far)
        finally:
            far.cut()

    async def _forward(self, client: Client, head: RequestHead) -> bool:
        match = _URL.fullmatch(head.target)
        if match is None:  # the target is not repeated: there may be a password in it
            raise Refusal(400, "bad_request", "expected an http:// URL as the request's target; for others use CONNECT")
        try:
            target = Target.parse(match[1], default_port=80)
        except MalformedHostError as error:
            raise Refusal(400, "bad_request", f"the host of the URL is malformed: {error}") from None
        path = match[2] if match[2].startswith("/") else f"/{match[2]}"
        host = target.name if target.port == 80 else str(target)
        dropped = frozenset(name.lower() for name, _ in head.fields if name.lower().startswith("proxy-"))
        fields = (("Host", host), *head.end_to_end(without=dropped | {"host"}))
        far, upstream = await self._dialer.connect_for_http(target)
        try:
            if upstream is not None:
                path, fields = f"http://{host}{path}", (*fields, *upstream_fields(upstream))
            return await Exchange(head, client, far, target=path, fields=fields).carry_out()
        finally:
            far.cut()


__all__ = ["MOST_CONNECTIONS", "EgressProxy", "Room"]
