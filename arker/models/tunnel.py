"""Tunnels to a port of a VM (contract, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from arker.errors import InvalidArgumentError
from arker.models import _checks as check
from arker.models._page import Page
from arker.models._reply import Reply, declared
from arker.models.network import Visibility

TunnelState: TypeAlias = Literal["starting", "open", "closed"]
AuthMode: TypeAlias = Literal["public", "authenticated"]


@frozen(kw_only=True)
class Tunnel(Reply):
    """A tunnel from outside to a port of a VM.

    Attributes:
        vm_id: The VM.
        port: The port inside the VM.
        url: Public URL of the tunnel; None until it is open.
        state: ``starting``, ``open`` or ``closed``; an unknown state is kept unchanged.
        tunnel_key: The tunnel's key, for later calls.
        auth_mode: ``public``, or ``authenticated``: requests then need ``Authorization: Bearer {auth_token}``.
        auth_token: That token; only the reply to the creation has it. A secret, so it is not in the repr.
    """

    vm_id: str | None = declared()
    port: int | None = declared()
    run_id: str | None = None
    visibility: Visibility | str | None = declared()
    protocol: str | None = declared()
    url: str | None = None
    state: TunnelState | str | None = declared()
    message: str | None = None
    started_at: str | None = None
    tunnel_key: str | None = None
    auth_mode: AuthMode | str | None = None
    auth_token: str | None = field(default=None, repr=False)
    vm_name: str | None = None
    source_org_id: str | None = None
    region: str | None = None
    provider: str | None = None


def _ports(value: Sequence[int] | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not check.is_array(value):
        raise InvalidArgumentError("ports", value, "expected a list with one port number")
    ports: list[int] = []
    for index, port in enumerate(value):
        number = check.check_integer(f"ports[{index}]", port, minimum=1, what="a port number")
        if number > 65535:
            raise InvalidArgumentError(f"ports[{index}]", port, "expected a port number from 1 to 65535")
        ports.append(number)
    return tuple(ports)


@frozen
class TunnelRequest:
    """A request to open a tunnel.

    Attributes:
        ports: A list with one port (the server accepts one port per tunnel).
        auth_mode: ``public`` (the default) or ``authenticated``.
    """

    ports: tuple[int, ...] | None = field(default=None, converter=_ports)
    auth_mode: AuthMode | None = field(
        default=None, validator=check.optional(check.one_of(("public", "authenticated")))
    )


def tunnel_request(argument: str, value: object) -> TunnelRequest:
    """Check a caller's tunnel request, an object or a mapping with the contract's fields."""
    if isinstance(value, TunnelRequest):
        return value
    given: Mapping[str, Any] = check.only_keys(argument, value, ("ports", "auth_mode"))
    return TunnelRequest(**given)


@frozen(kw_only=True)
class ListTunnelsResponse(Page[Tunnel], Reply):
    """A page of a VM's tunnels, newest first. There are more pages while ``next_cursor`` is set."""

    tunnels: tuple[Tunnel, ...]
    next_cursor: str | None = None

    def _items(self) -> tuple[Tunnel, ...]:
        return self.tunnels


@frozen(kw_only=True)
class DeleteTunnelResponse(Reply):
    """The reply to the deletion of a tunnel."""

    deleted: bool = declared(True)


__all__ = ["AuthMode", "DeleteTunnelResponse", "ListTunnelsResponse", "Tunnel", "TunnelRequest", "TunnelState"]
