"""Calls on tunnels to a VM (contract, section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from arker import models
from arker._protocol import routes
from arker._protocol.address import Address
from arker._protocol.calls.shared import create, delete, get
from arker._protocol.codec.hooks import Misfit
from arker._protocol.queries import PageQuery, choice
from arker._protocol.reader import Reader
from arker._protocol.request import Call, Lack

if TYPE_CHECKING:
    from arker._protocol.reader import Reader
    from arker.models import (
        DeleteTunnelResponse,
        ListTunnelsResponse,
        Tunnel,
        TunnelRequest,
    )


@frozen(kw_only=True)
class TunnelsQuery(PageQuery):
    """The query of a VM's tunnels."""

    state: str | Sequence[str] | None = choice()


_LACK: Final = Lack("1", "tunnels", "a port of a VM is reached at the VM's hostname, see AsyncVM.hostname")
_TUNNEL: Final = ("tunnel_key", "url", "port")


def list_tunnels(at: Address, query: TunnelsQuery) -> Call[ListTunnelsResponse]:
    call = get(
        "vm.list_tunnels",
        at.base_url,
        routes.tunnels(at.vm_id),
        models.ListTunnelsResponse,
        ("tunnels",),
        query,
        vm_id=at.vm_id,
    )
    return evolve(call, lack=_LACK)


def create_tunnel(at: Address, request: TunnelRequest) -> Call[Tunnel]:
    call = create(
        "vm.create_tunnel", at.base_url, routes.tunnels(at.vm_id), request, models.Tunnel, _TUNNEL, vm_id=at.vm_id
    )
    return evolve(call, decode=_tunnel, lack=_LACK)


def get_tunnel(at: Address, tunnel_key: str) -> Call[Tunnel]:
    call = get(
        "vm.get_tunnel", at.base_url, routes.tunnel(at.vm_id, tunnel_key), models.Tunnel, _TUNNEL, vm_id=at.vm_id
    )
    return evolve(call, decode=_tunnel, lack=_LACK)


def _tunnel(payload: dict[str, Any], reader: Reader) -> Tunnel:
    """Decode a tunnel. No single field is in every server's reply, but each reply has one of some."""
    if all(payload.get(name) is None for name in _TUNNEL):
        raise Misfit(f"has none of {', '.join(_TUNNEL)}", "$")
    return reader.structure(payload, models.Tunnel)


def delete_tunnel(at: Address, tunnel_key: str) -> Call[DeleteTunnelResponse]:
    gone = models.DeleteTunnelResponse(deleted=True)
    call = delete("vm.delete_tunnel", at.base_url, routes.tunnel(at.vm_id, tunnel_key), gone, vm_id=at.vm_id)
    return evolve(call, lack=_LACK)


__all__ = ["TunnelsQuery", "create_tunnel", "delete_tunnel", "get_tunnel", "list_tunnels"]
