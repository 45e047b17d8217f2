"""Tunnels to a VM. A part of `AsyncVM`."""

from __future__ import annotations

from collections.abc import Sequence

import arker
from arker import models
from arker._protocol.calls import tunnels as tunnel_calls
from arker._protocol.pages import pages_of
from arker._vm.base import VmBase
from arker.errors import InvalidArgumentError
from arker.models import _checks as check


class Tunnels(VmBase):
    """The tunnel methods of `AsyncVM`."""

    def tunnel(
        self, port: int, *, auth_mode: models.AuthMode | None = None, wait: bool = True, deadline: float | None = None
    ) -> arker.AsyncTunnel:
        """Return a tunnel to a port of this VM for ``async with``. The block opens it, and deletes it at the end.

        Args:
            port: The port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: requests then need the tunnel's
                ``headers``.
            wait: Whether to wait until the tunnel is open.
            deadline: Seconds until the tunnel is open; None for no limit.
        """
        number = check.check_integer("port", port, minimum=1, what="a port number")
        if number > 65535:
            raise InvalidArgumentError("port", port, "expected a port number from 1 to 65535")
        bound = None if deadline is None else check.check_seconds("deadline", deadline)
        request = models.TunnelRequest(ports=(number,), auth_mode=auth_mode)
        return arker.AsyncTunnel(self._place, number, request, check.check_boolean("wait", wait), bound)

    async def create_tunnel(
        self,
        *,
        ports: Sequence[int] | None = None,
        auth_mode: models.AuthMode | None = None,
        deadline: float | None = None,
    ) -> models.Tunnel:
        """Create a tunnel to a port of this VM over HTTP and WebSocket. Its ``url`` is the public address.

        Args:
            ports: A list with the one port to reach.
            auth_mode: ``public`` (the server's default), or ``authenticated``: requests through the tunnel then need
                ``Authorization: Bearer {auth_token}`` with the token of this reply, which no later reply repeats.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The list does not have exactly one port.
            NetworkError: With ``outcome="unknown"`` the tunnel may exist; the request is not repeated.
        """
        request = models.TunnelRequest(ports=ports, auth_mode=auth_mode)
        return await self._place.send(tunnel_calls.create_tunnel(self._place, request), deadline=deadline)

    async def get_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.Tunnel:
        """Read a tunnel. The reply does not include its token.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        call = tunnel_calls.get_tunnel(self._place, check.check_id("tunnel_key", tunnel_key))
        return await self._place.send(call, deadline=deadline)

    async def list_tunnels(
        self,
        *,
        cursor: str | None = None,
        limit: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> models.ListTunnelsResponse:
        """List one page of this VM's tunnels, newest first.

        Args:
            cursor: Cursor of the page to fetch: ``next_cursor`` of the previous page.
            limit: Maximum number of tunnels on the page; the server's default is 50, its maximum 1,000.
            state: Only tunnels in this state or in one of these states.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            BadRequestError: The cursor does not belong to this list.
        """
        query = tunnel_calls.TunnelsQuery(cursor=cursor, limit=limit, state=state)
        return await self._place.send(tunnel_calls.list_tunnels(self._place, query), deadline=deadline)

    def iter_tunnels(
        self,
        *,
        cursor: str | None = None,
        page_size: int | None = None,
        state: models.TunnelState | str | Sequence[models.TunnelState | str] | None = None,
        deadline: float | None = None,
    ) -> arker.AsyncItems[models.Tunnel]:
        """Iterate over this VM's tunnels, newest first. Pages are fetched on demand.

        Args:
            cursor: Cursor of the first page: a ``next_cursor`` of this list, or `BadCursorError.resume_cursor`.
            page_size: Number of tunnels per page; the server's default is 50, its maximum 1,000.
            state: Only tunnels in this state or in one of these states.
            deadline: Seconds for each page; None for no limit.

        Raises:
            BadCursorError: The server rejected a cursor; the error says where to resume.
        """
        return pages_of(
            lambda at, size: self.list_tunnels(cursor=at, limit=size, state=state, deadline=deadline),
            lambda page: page.tunnels,
            cursor,
            page_size,
        )

    async def delete_tunnel(self, tunnel_key: str, *, deadline: float | None = None) -> models.DeleteTunnelResponse:
        """Delete a tunnel.

        Args:
            tunnel_key: The tunnel's key.
            deadline: Seconds for the whole call; None for no limit.

        Raises:
            NotFoundError: There is no such tunnel to this VM.
        """
        call = tunnel_calls.delete_tunnel(self._place, check.check_id("tunnel_key", tunnel_key))
        return await self._place.send(call, deadline=deadline)


__all__ = ["Tunnels"]
