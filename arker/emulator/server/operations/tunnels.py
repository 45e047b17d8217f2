"""The operations on tunnels (contract, sections 4 and 5), and the tunnels that runs and forks ask for.

Each tunnel has a loopback port of its own. A tunnel of a run closes when the run ends, and stays in the list as closed;
one that is deleted is forgotten. All go with their VM, and a fork of the VM gets none of them.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import partial
from typing import Any

from aiohttp import web
from attrs import frozen

from arker.emulator.server import parsing, replies
from arker.emulator.server.backend import Backend
from arker.emulator.server.errors import ServiceError, invalid, lacking, missing, require_http
from arker.emulator.server.proxy.tunnel_proxy import TunnelProxy
from arker.emulator.server.records import Organisation, RunRecord, TunnelRecord, VmRecord

_STATES = ("starting", "open", "closed")


@frozen(kw_only=True)
class Wish:
    """A tunnel that was asked for."""

    port: int
    authenticated: bool


def parse(fields: parsing.Fields) -> Wish:
    """Parse the fields of a create request, or of a fork's ``tunnel``."""
    ports = fields.raw("ports")
    if not isinstance(ports, list) or len(ports) != 1:  # pyright: ignore[reportUnknownArgumentType]
        raise invalid(fields.name("ports"), "a list with exactly one port")
    port: Any = ports[0]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 65535:
        raise invalid(fields.name("ports"), "a port number from 1 to 65535")
    mode = fields.text("auth_mode")
    if mode not in {None, "public", "authenticated"}:
        raise invalid(fields.name("auth_mode"), "public or authenticated")
    return Wish(port=port, authenticated=mode == "authenticated")


def open_tunnel(backend: Backend, vm: VmRecord, wish: Wish, *, with_vm: bool = False) -> TunnelRecord:
    """Open a tunnel. It is reachable when this returns."""
    require_http("tunnels")
    token = secrets.token_urlsafe(32) if wish.authenticated else None
    try:
        proxy = TunnelProxy(partial(vm.sandbox.connect, wish.port), token=token)
    except OSError as error:
        raise lacking(f"no port could be opened for the tunnel: {error.strerror}") from None
    tunnel = TunnelRecord(
        tunnel_key=secrets.token_hex(16),
        seq=backend.next_number(),
        vm=vm,
        port=wish.port,
        token=token,
        started_ms=backend.clock.now_ms(),
        proxy=proxy,
        with_vm=with_vm,
    )
    vm.tunnels[tunnel.tunnel_key] = tunnel
    backend.spawn(proxy.start())
    return tunnel


def open_all(backend: Backend, vm: VmRecord, wishes: Iterable[Wish]) -> list[TunnelRecord]:
    """Open all tunnels or none."""
    opened: list[TunnelRecord] = []
    try:
        for wish in wishes:
            opened.append(open_tunnel(backend, vm, wish))
    except ServiceError:
        forget_all(opened)
        raise
    return opened


def forget_all(opened: Iterable[TunnelRecord]) -> None:
    """Close tunnels as if they had never been opened."""
    for tunnel in opened:
        _forget(tunnel)


def tie(backend: Backend, run: RunRecord, tunnels: list[TunnelRecord]) -> None:
    """Tie tunnels to a run: they close when it ends."""

    async def close_at_end() -> None:
        await run.done.wait()
        for tunnel in tunnels:
            _close(tunnel)

    if tunnels:
        run.tunnels = tunnels
        for tunnel in tunnels:
            tunnel.run_id = run.run_id
        backend.spawn(close_at_end())


def close_all(vm: VmRecord) -> None:
    for tunnel in vm.tunnels.values():
        _close(tunnel)


def _close(tunnel: TunnelRecord) -> None:
    tunnel.state = "closed"
    tunnel.proxy.close()


def _forget(tunnel: TunnelRecord) -> None:
    _close(tunnel)
    tunnel.vm.tunnels.pop(tunnel.tunnel_key, None)


def _tunnel(backend: Backend, org: Organisation, request: web.Request) -> TunnelRecord:
    vm = backend.vm(org, request.match_info["vm_id"])
    tunnel = vm.tunnels.get(request.match_info["tunnel_key"])
    if tunnel is None:
        raise missing("resource", f"there is no tunnel {request.match_info['tunnel_key']!r}")
    return tunnel


async def create_tunnel(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    fields = await parsing.read_fields(backend, "TunnelRequest", request)
    vm = backend.usable_vm(org, request.match_info["vm_id"])
    tunnel = open_tunnel(backend, vm, parse(fields))
    return replies.json_response(replies.tunnel_json(tunnel, token=True))


async def get_tunnel(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    return replies.json_response(replies.tunnel_json(_tunnel(backend, org, request)))


async def delete_tunnel(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    _forget(_tunnel(backend, org, request))
    return replies.json_response({"deleted": True})


async def list_tunnels(backend: Backend, org: Organisation, request: web.Request) -> web.Response:
    vm = backend.vm(org, request.match_info["vm_id"])
    states = parsing.query_choices(request.query, "state", _STATES)
    tunnels, cursor = backend.cursors.page(
        f"tunnels {vm.vm_id}",
        reversed(vm.tunnels.values()),
        cursor=request.query.get("cursor"),
        limit=parsing.query_limit(backend, request.query),
        wanted=lambda tunnel: states is None or tunnel.state in states,
    )
    body: dict[str, Any] = {"tunnels": [replies.tunnel_json(tunnel) for tunnel in tunnels]}
    if cursor is not None:
        body["next_cursor"] = cursor
    return replies.json_response(body)


__all__ = [
    "Wish",
    "close_all",
    "create_tunnel",
    "delete_tunnel",
    "forget_all",
    "get_tunnel",
    "list_tunnels",
    "open_all",
    "open_tunnel",
    "parse",
    "tie",
]
