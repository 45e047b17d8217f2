"""Tunnels to a VM (contract, section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from arker import models
from arker._protocol import routes
from arker._protocol.request import Address, Call

if TYPE_CHECKING:
    pass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arker.models import (
        DeleteTunnelResponse,
        ListTunnelsResponse,
        Tunnel,
        TunnelRequest,
    )
from arker._protocol.calls.shared import Query, create, delete, get

_TUNNEL: Final = ("tunnel_key", "url", "port")


def list_tunnels(at: Address, query: Query) -> Call[ListTunnelsResponse]:
    return get(
        "vm.list_tunnels",
        at.base_url,
        routes.tunnels(at.vm_id),
        models.ListTunnelsResponse,
        ("tunnels",),
        query,
        vm_id=at.vm_id,
    )


def create_tunnel(at: Address, request: TunnelRequest) -> Call[Tunnel]:
    return create(
        "vm.create_tunnel", at.base_url, routes.tunnels(at.vm_id), request, models.Tunnel, _TUNNEL, vm_id=at.vm_id
    )


def get_tunnel(at: Address, tunnel_key: str) -> Call[Tunnel]:
    return get(
        "vm.get_tunnel", at.base_url, routes.tunnel(at.vm_id, tunnel_key), models.Tunnel, _TUNNEL, vm_id=at.vm_id
    )


def delete_tunnel(at: Address, tunnel_key: str) -> Call[DeleteTunnelResponse]:
    gone = models.DeleteTunnelResponse(deleted=True)
    return delete("vm.delete_tunnel", at.base_url, routes.tunnel(at.vm_id, tunnel_key), gone, vm_id=at.vm_id)


__all__ = ["create_tunnel", "delete_tunnel", "get_tunnel", "list_tunnels"]
