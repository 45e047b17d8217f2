"""Connections for VMs: each allowed name is resolved once, and only the checked addresses are connected to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import IPv4Address, ip_address
from typing import Final, TypeAlias

from arker._basics.hosts import Address, Host, leads_here, plain
from arker.emulator.server.own_addresses import is_own
from arker.emulator.server.proxy.egress import HOST_NAME, Policy, Target
from arker.emulator.server.proxy.egress_upstream import Upstream, Upstreams
from arker.emulator.server.proxy.http_exchange import Far, Refusal
from arker.emulator.server.proxy.http_heads import Fields, MessageError

CONNECT_TIMEOUT: Final = 10.0
_UPSTREAM_TIMEOUT: Final = 30.0
_MOST_ADDRESSES: Final = 8
_MOST_LOOKUPS: Final = 8
_NO_SUCH_NAME = frozenset((socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)))
_LOOPBACK = IPv4Address("127.0.0.1")


Addresses: TypeAlias = tuple[list[Address], str | None]
"""The addresses of a name (empty when it does not exist), and its canonical name."""


class ResolutionError(Exception):
    """An error in resolving the addresses of a name."""


class Resolver:
    """A resolver of names, a few at a time, in threads that nothing waits for: name servers can be slow."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_MOST_LOOKUPS)

    async def __call__(self, name: str) -> Addresses:
        """Resolve a name to its addresses. Raises `ResolutionError` when that is not possible."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Addresses] = loop.create_future()

        def settle(found: Addresses | None) -> None:
            self._slots.release()
            if answer.done():  # the caller no longer waits
                return
            if found is None:
                answer.set_exception(ResolutionError(name))
            else:
                answer.set_result(found)

        def look_up() -> None:
            found = _look_up(name)
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(settle, found)

        try:
            threading.Thread(target=look_up, name="arker-egress-lookup", daemon=True).start()
        except RuntimeError:  # there are too many threads
            settle(None)
        return await answer


def _look_up(name: str) -> Addresses | None:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except socket.gaierror as error:
        return ([], None) if error.errno in _NO_SUCH_NAME else None
    except (OSError, UnicodeError):
        return None
    addresses = dict.fromkeys(plain(ip_address(entry[4][0])) for entry in found)
    return list(addresses), next((entry[3] for entry in found if entry[3]), None)


class Dialer:
    """A dialer that makes the connections of one VM.

    Args:
        policy: Where the VM may go.
        host_ports: Ports of this machine's loopback that it may reach by `HOST_NAME`.
        upstreams: The proxies to go through.
        resolve: Looks names up, as a `Resolver` does.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        host_ports: Collection[int],
        upstreams: Upstreams,
        resolve: Callable[[str], Awaitable[Addresses]] | None = None,
    ) -> None:
        self.policy = policy
        self._host_ports = frozenset(host_ports)
        self._upstreams = upstreams
        self._look_up = resolve or Resolver()
        self._this_machine = socket.gethostname().lower()

    async def connect(self, target: Target) -> Far:
        """Connect to the target itself, or to it through a proxy. Raises `Refusal`."""
        upstream = await self._check(target, "https")
        if upstream is None:
            return await self._connect_direct(target)
        far = await self._connect_upstream(upstream)
        try:
            await asyncio.wait_for(_ask_upstream(far, target, upstream), _UPSTREAM_TIMEOUT)
        except BaseException as error:
            far.cut()
            if isinstance(error, asyncio.TimeoutError):
                raise Refusal(504, "unavailable", f"{far.name} did not answer in time") from None
            raise
        return far

    async def connect_for_http(self, target: Target) -> tuple[Far, Upstream | None]:
        """Connect for a plain HTTP request to the target. Returns the connection and its proxy, if any. Raises
        `Refusal`.
        """
        upstream = await self._check(target, "http")
        if upstream is None:
            return await self._connect_direct(target), None
        return await self._connect_upstream(upstream), upstream

    async def _check(self, target: Target, scheme: str) -> Upstream | None:
        """Check whether the VM may connect, as far as possible without resolving a name. Returns the proxy to use."""
        if not self.policy.allows(target):
            raise self._forbidden(target)
        if target.host == HOST_NAME:
            if target.port not in self._host_ports:
                raise Refusal(403, "forbidden", f"{target}: this port of the machine is not open to VMs (host_ports)")
            return None
        if target.host == self._this_machine or _is_here(target.host):
            raise _unreachable(target)
        if not isinstance(target.host, str):
            await self._check_blocked_names(target, target.host)
        if not self._upstreams.applies(scheme, target):
            return None
        upstream = self._upstreams.get(scheme)
        if upstream is None:
            raise Refusal(502, "unavailable", f"the {scheme} proxy of the server's environment cannot be used")
        return upstream

    async def _check_blocked_names(self, target: Target, address: Address) -> None:
        """Refuse the address of a blocked name, or if a name cannot be resolved, since a VM can cause that."""
        names = self.policy.blocked_names(target.port)
        lookups = [asyncio.ensure_future(self._look_up(name)) for name in names]
        try:
            for found, _ in await asyncio.wait_for(asyncio.gather(*lookups), CONNECT_TIMEOUT):
                if address in found:
                    raise self._forbidden(target)
        except (ResolutionError, asyncio.TimeoutError):
            message = f"{target}: addresses are refused while the names that the policy blocks cannot be resolved"
            raise Refusal(403, "forbidden", message) from None
        finally:
            for lookup in lookups:
                lookup.cancel()
            await asyncio.gather(*lookups, return_exceptions=True)

    async def _connect_direct(self, target: Target) -> Far:
        deadline = time.monotonic() + CONNECT_TIMEOUT
        if target.host == HOST_NAME:
            return await _connect_any(str(target), [_LOOPBACK], target.port, deadline)
        if not isinstance(target.host, str):
            return await _connect_any(str(target), [target.host], target.port, deadline)
        found, canonical = await self._resolve(target.host, str(target), deadline)
        # A resolver may complete a name, and then it is another one that the policy has to let pass.
        if canonical is not None and self.policy.kind == "block":
            with contextlib.suppress(ValueError):
                if not self.policy.allows(Target.parse(canonical, default_port=target.port)):
                    raise self._forbidden(target)
        reachable = [address for address in found if not _is_here(address)]
        if not reachable:
            raise _unreachable(target)
        allowed = [address for address in reachable if self.policy.allows_address(address, target.port)]
        if not allowed:
            raise self._forbidden(target)
        return await _connect_any(str(target), allowed, target.port, deadline)

    async def _connect_upstream(self, upstream: Upstream) -> Far:
        deadline = time.monotonic() + CONNECT_TIMEOUT
        name = f"the proxy {upstream.target} of the server's environment"
        if isinstance(upstream.target.host, str):
            found, _ = await self._resolve(upstream.target.host, name, deadline)
        else:
            found = [upstream.target.host]
        return await _connect_any(
            name, found, upstream.target.port, deadline, tls_name=str(upstream.target.host) if upstream.tls else None
        )

    async def _resolve(self, name: str, what: str, deadline: float) -> Addresses:
        try:
            found = await asyncio.wait_for(self._look_up(name), deadline - time.monotonic())
        except (ResolutionError, asyncio.TimeoutError):
            raise Refusal(502, "unavailable", f"{what}: the name could not be resolved") from None
        if not found[0]:
            raise Refusal(502, "unavailable", f"{what}: there is no host of that name")
        return found

    def _forbidden(self, target: Target) -> Refusal:
        return Refusal(403, "forbidden", f"the VM's network policy ({self.policy.kind}) does not let it reach {target}")


def _unreachable(target: Target) -> Refusal:
    message = f"{target} is this machine or its links: out of reach of VMs, whatever their network policy"
    if not isinstance(target.host, str) and (target.host.is_loopback or target.host.is_unspecified):
        message += "; a VM's own servers are reached without the proxy (no_proxy)"
    return Refusal(403, "forbidden", message)


def _is_here(host: Host) -> bool:
    """Return whether a host is this machine or its links."""
    return leads_here(host) or (not isinstance(host, str) and is_own(host))


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6


async def _connect_any(
    name: str, addresses: Sequence[Address], port: int, deadline: float, *, tls_name: str | None = None
) -> Far:
    """Connect to the first of the addresses that accepts."""
    reason = "there was no time"
    tried = addresses[:_MOST_ADDRESSES]
    for number, address in enumerate(tried):
        patience = (deadline - time.monotonic()) / (len(tried) - number)
        if patience <= 0:
            break
        try:
            return await _connect(name, address, port, patience, tls_name)
        except asyncio.TimeoutError:
            reason = "it did not answer in time"
        except OSError as error:  # that of TLS included
            reason = error.strerror or type(error).__name__
    status = 504 if reason == "it did not answer in time" else 502
    raise Refusal(status, "unavailable", f"{name} could not be reached: {reason}")


async def _connect(name: str, address: Address, port: int, patience: float, tls_name: str | None) -> Far:
    connection = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_connect(connection, (str(address), port)), patience)
        far = Far.over(name, connection, tls_name=tls_name)
        return await (far if tls_name is None else asyncio.wait_for(far, patience))
    except BaseException:
        connection.close()
        raise


async def _ask_upstream(far: Far, target: Target, upstream: Upstream) -> None:
    """Ask a proxy to connect to the target. Afterwards the connection leads to the target."""
    far.wire.write_request("CONNECT", str(target), (("Host", str(target)), *upstream_fields(upstream)))
    far.wire.write_end()
    try:
        await far.wire.drain()
        while (response := await far.wire.read_response()).interim:
            pass
    except (MessageError, asyncio.IncompleteReadError, OSError):
        raise Refusal(502, "unavailable", f"{far.name} did not answer in HTTP/1.1") from None
    if not 200 <= response.status < 300:
        raise Refusal(502, "unavailable", f"{far.name} answered {response.status} to CONNECT {target}")


def upstream_fields(upstream: Upstream) -> Fields:
    """Return the header fields that are for the proxy itself."""
    return () if upstream.authorization is None else (("Proxy-Authorization", upstream.authorization),)


__all__ = ["Dialer", "Addresses", "ResolutionError", "Resolver", "upstream_fields"]
